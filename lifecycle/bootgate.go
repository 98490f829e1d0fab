package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-go/rollcall/liveness"
)

// KV is where a [BootGate] keeps its state: a few small texts by key, shared
// by the processes that share the gate. Implementations are safe for
// concurrent use, also by several processes.
type KV interface {
	// Get returns the value of a key, the empty string where there is none.
	Get(ctx context.Context, key string) (value string, err error)
	// CompareAndSwap stores the new value if the key still has the old one,
	// in one step that survives a crash; an empty old value means that there
	// must be none. It reports whether it did. The new value is never empty.
	CompareAndSwap(ctx context.Context, key, old, new string) (swapped bool, err error)
}

// BootGate runs a function once per boot, whichever process comes first. It
// saves the cost of a pass at every start and is not what makes a pass safe:
// two passes at once, or one too many, do no harm.
//
// The gate is kept per boot and PID namespace, because a restarted container
// has the boot ID of its host and none of its processes, and per value of the
// environment variable SYSTEMD_SOFT_REBOOTS_COUNT. systemd (257) sets it for
// generators alone (systemd.generator(7)), so a service does not see a soft reboot
// unless its unit sets it, from "systemctl show -p SoftRebootsCount". Where soft
// reboots are used, do so, set Every, or call [Cleaner.Clean].
//
// KV is required; the zero value of every other field is usable. A BootGate is
// not changed by its methods, and safe for concurrent use.
type BootGate struct {
	// KV holds the state.
	KV KV
	// Name tells apart several gates over one KV; empty is "clean".
	Name string
	// Every opens the gate again after that much awake time. Zero keeps it
	// closed until the next boot.
	Every time.Duration
	// ClaimTimeout is how much awake time a claimer has to finish while it lives;
	// one that was suspended from its terminal, or hangs, does not. After that the
	// next caller runs the function as well. Zero is five minutes; negative is no
	// limit. A claimer that can be called neither alive nor dead has a minute at
	// most.
	ClaimTimeout time.Duration

	// Liveness judges the process that has claimed the gate; nil is
	// liveness.New(liveness.Options{}).
	Liveness liveness.Liveness
	// Clock is the clock of Every; nil is that of the running system.
	Clock Clock
	// Self returns the identity of this process; nil is liveness.Self.
	Self func() (liveness.Identity, error)
}

// Do runs the function unless it has been run in this boot. It reports whether
// it did, and returns the function's error or that of the KV.
//
// Do claims the gate for this process, runs the function, and closes the gate if
// the function returned nil; otherwise it opens it again. While the claimer lives
// others return at once, for as long as ClaimTimeout. When it dies the next caller
// takes over. A claim that could not be taken back because the KV failed is an
// error; it holds until the claimer calls Do again or ends, or ClaimTimeout has
// passed. Where the boot cannot be read, the function runs every time. A state from
// a later awake time than now is of another boot, and is ignored.
//
// A closed gate costs one reading of the boot ID, one of the clock and one Get.
func (g BootGate) Do(ctx context.Context, f func(context.Context) error) (ran bool, err error) {
	ran, _, err = g.do(ctx, f)
	return ran, err
}

// do is Do. The claimer is the process whose claim was found, while it lives.
func (g BootGate) do(ctx context.Context, f func(context.Context) error) (ran bool, claimer liveness.Identity, err error) {
	var nobody liveness.Identity
	if g.KV == nil {
		return false, nobody, fmt.Errorf("lifecycle: %w: BootGate without a KV", ErrMisconfigured)
	}
	if err := ctx.Err(); err != nil {
		return false, nobody, fmt.Errorf("lifecycle: boot gate: %w", err)
	}
	selfIdentity := g.Self
	if selfIdentity == nil {
		selfIdentity = liveness.Self
	}
	self, err := selfIdentity()
	if err != nil || self.Boot.Boot == "" {
		return true, nobody, f(ctx)
	}
	key := g.key(self)
	value, err := g.KV.Get(ctx, key)
	if err != nil {
		return false, nobody, fmt.Errorf("lifecycle: read boot gate: %w", err)
	}
	closed, claimer, err := g.closed(value, self)
	if closed || err != nil {
		return false, claimer, err
	}
	state := g.state(gateClaimed)
	state.run, state.claimer = uuid.Must(uuid.NewV7()).String(), self
	claim := state.String()
	claims.Store(state.run, true)
	defer claims.Delete(state.run)
	claimed, err := g.KV.CompareAndSwap(ctx, key, value, claim)
	if err != nil {
		return false, claimer, fmt.Errorf("lifecycle: claim boot gate: %w", err)
	}
	if !claimed {
		return false, nobody, nil // somebody else was quicker
	}

	// Whatever becomes of the function, the claim must not outlast it. A swap
	// that finds another value means that the claim was taken over.
	after := gateOpen
	defer func() {
		release := g.state(after).String()
		if _, swapErr := g.KV.CompareAndSwap(context.WithoutCancel(ctx), key, claim, release); swapErr != nil {
			err = errors.Join(err, fmt.Errorf("lifecycle: close boot gate: %w", swapErr))
		}
	}()
	if err := f(ctx); err != nil {
		return true, claimer, err
	}
	after = gateDone
	return true, claimer, nil
}

// key names the gate of this boot, PID namespace and soft reboot.
func (g BootGate) key(self liveness.Identity) string {
	name := g.Name
	if name == "" {
		name = "clean"
	}
	var space [160]byte // on the stack; fmt would take longer than a system call
	key := append(space[:0], "rollcall/"...)
	key = append(append(key, name...), '/')
	key = append(append(key, self.Boot.Boot...), '/')
	key = append(strconv.AppendUint(key, self.Namespace.PID, 10), '.')
	key = append(strconv.AppendUint(key, self.Namespace.PIDUnique, 10), '.')
	key = append(strconv.AppendUint(key, self.Namespace.InitStart, 10), '/')
	return string(append(key, os.Getenv("SYSTEMD_SOFT_REBOOTS_COUNT")...))
}

// claims has the runs of this process that are under way. A claim by this
// process that is not among them was left behind by a run that could not take
// it back: the liveness check alone would have it hold for as long as the
// process lives.
var claims sync.Map

// unjudgedClaim is how much awake time a claim holds whose claimer can neither
// be called alive nor dead.
const unjudgedClaim = time.Minute

// defaultClaimTimeout is what ClaimTimeout is if it is zero.
const defaultClaimTimeout = 5 * time.Minute

// closed reports whether the value says that the function has run, or that a
// living claimer is running it. The claimer is returned also after its time is up.
func (g BootGate) closed(value string, self liveness.Identity) (closed bool, claimer liveness.Identity, err error) {
	state, ok := parseGateState(value)
	if !ok {
		return false, claimer, nil // never run, or nothing that this version understands
	}
	age, known := g.age(state)
	if known && age < 0 {
		return false, claimer, nil // awake time does not go back: another boot with the same ID
	}
	switch state.state {
	case gateDone:
		return g.Every <= 0 || !known || age < g.Every, claimer, nil
	case gateClaimed:
		verdict, err := g.checkClaimer(state, self)
		if err != nil {
			return false, claimer, err
		}
		limit := g.ClaimTimeout
		switch {
		case limit == 0:
			limit = defaultClaimTimeout
		case limit < 0:
			limit = math.MaxInt64
		}
		switch verdict {
		case liveness.Alive:
			return !known || age < limit, state.claimer, nil
		case liveness.Dead:
			return false, claimer, nil
		default:
			if known && age < min(unjudgedClaim, limit) {
				return true, state.claimer, nil
			}
			return false, claimer, nil
		}
	default:
		return false, claimer, nil
	}
}

// checkClaimer says whether the claimer still runs the function.
func (g BootGate) checkClaimer(state gateState, self liveness.Identity) (liveness.State, error) {
	if state.claimer == self {
		if _, underWay := claims.Load(state.run); underWay {
			return liveness.Alive, nil
		}
		return liveness.Dead, nil
	}
	system := g.Liveness
	if system == nil {
		var err error
		if system, err = liveness.New(liveness.Options{}); err != nil {
			return 0, fmt.Errorf("lifecycle: boot gate: %w", err)
		}
	}
	return system.Check(state.claimer).State, nil
}

// age is how much awake time has passed since the state was written. It is not
// known where either clock could not be read.
func (g BootGate) age(state gateState) (age time.Duration, known bool) {
	awake, err := clockOf(g.Clock).Awake()
	return awake - state.awake, err == nil && state.awake >= 0
}

// unknownAwake stands in a state for a clock that could not be read.
const unknownAwake = -1

func (g BootGate) state(name string) gateState {
	awake, err := clockOf(g.Clock).Awake()
	if err != nil {
		awake = unknownAwake
	}
	return gateState{state: name, awake: awake}
}

// The states of a gate, as they stand in the KV.
const (
	gateOpen    = "open"    // the last run failed
	gateClaimed = "claimed" // a run is under way
	gateDone    = "done"    // a run was completed
)

// gateState is a value of the KV: state, awake time in nanoseconds (negative
// where it could not be read) and, for a claim, an ID of the run, which is never
// used twice, and the claimer's identity.
type gateState struct {
	state   string
	awake   time.Duration
	run     string
	claimer liveness.Identity
}

func (s gateState) String() string {
	text := s.state + " " + strconv.FormatInt(int64(s.awake), 10)
	if s.state == gateClaimed {
		text += " " + s.run + " " + s.claimer.String()
	}
	return text
}

func parseGateState(text string) (gateState, bool) {
	name, rest, _ := strings.Cut(text, " ")
	number, rest, _ := strings.Cut(rest, " ")
	awake, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return gateState{}, false
	}
	state := gateState{state: name, awake: time.Duration(awake)}
	switch name {
	case gateOpen, gateDone:
		return state, true
	case gateClaimed:
		state.run, rest, _ = strings.Cut(rest, " ")
		state.claimer, err = liveness.Parse(rest)
		return state, err == nil && !state.claimer.IsZero()
	default:
		return gateState{}, false
	}
}
