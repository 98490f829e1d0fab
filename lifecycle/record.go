package lifecycle

import (
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/liveness"
)

// Record is what a host keeps about one thing that it runs. Its JSON form is
// the one that snapshots are stored in.
type Record struct {
	// Name is the host's name for it. One record at a time has it.
	Name string `json:"name"`
	// Incarnation tells this registration of Name from earlier and later
	// ones. Any text that is never used twice for a Name will do; the stores
	// of this module make a UUIDv7.
	Incarnation string `json:"incarnation"`
	// Owner is the machine or device that the record belongs to. Empty is
	// this one.
	//
	// It alone tells apart machines that have no machine ID, or were cloned with
	// one. A sandbox with a kernel of its own, such as gVisor's, is a machine in
	// this sense: where several share a store at once each needs an owner, or the
	// heartbeats and launches of one look to the others like those of an earlier
	// boot.
	Owner string `json:"owner,omitempty"`
	// Phase says which rule the record is judged by.
	Phase Phase `json:"phase"`
	// Identity is the process. Zero: no process is tracked, and only
	// Heartbeat tells whether the thing still works.
	Identity liveness.Identity `json:"identity"`
	// CreatedAt is the wall time of the registration, for people. Nothing is
	// decided by it.
	CreatedAt time.Time `json:"created_at"`
	// Heartbeat is the last sign of life. A registration counts as one.
	Heartbeat Heartbeat `json:"heartbeat"`
	// Parent is the Name of the record that this one is stopped with, whatever
	// its own state or owner; empty for none.
	Parent string `json:"parent,omitempty"`
	// Data is the host's own, any JSON value of at most 1,000 levels of arrays
	// and objects, as it will want it back from the snapshot; nil for none. A
	// store may take out the space between values, and nothing else.
	Data json.RawMessage `json:"data,omitempty"`
}

// Validate returns an error that matches [ErrInvalidRecord], or
// [liveness.ErrInvalid] for the identity, if a store should refuse the record.
func (r Record) Validate() error {
	if err := r.validate(); err != nil {
		return err
	}
	for _, text := range []string{r.Name, r.Incarnation, r.Owner, r.Parent} {
		if !utf8.ValidString(text) {
			return fmt.Errorf("%w: %q: %q is not UTF-8", ErrInvalidRecord, r.Name, text)
		}
	}
	if err := validateData(r.Name, r.Data); err != nil {
		return err
	}
	if _, err := r.Identity.MarshalText(); err != nil {
		return fmt.Errorf("%w: %q: %w", ErrInvalidRecord, r.Name, err)
	}
	if _, err := r.Heartbeat.Boot.MarshalText(); err != nil {
		return fmt.Errorf("%w: %q: heartbeat: %w", ErrInvalidRecord, r.Name, err)
	}
	return nil
}

// validate is what judging needs.
func (r Record) validate() error {
	switch {
	case r.Name == "":
		return fmt.Errorf("%w: no name", ErrInvalidRecord)
	case r.Incarnation == "":
		return fmt.Errorf("%w: %q: no incarnation", ErrInvalidRecord, r.Name)
	case int(r.Phase) >= len(phaseNames):
		return fmt.Errorf("%w: %q: phase %d", ErrInvalidRecord, r.Name, r.Phase)
	}
	return nil
}

// SameState reports whether r and other agree in Phase, Identity and Heartbeat,
// on which a [Decision] rests; see [Cause.Holds].
func (r Record) SameState(other Record) bool {
	return r.Phase == other.Phase && r.Identity.String() == other.Identity.String() &&
		r.Heartbeat.Boot == other.Heartbeat.Boot && r.Heartbeat.Awake == other.Heartbeat.Awake &&
		r.Heartbeat.Wall.Equal(other.Heartbeat.Wall)
}

// Phase is how far a record has come.
type Phase uint8

const (
	// Running, the zero value, is judged by its process, or else by its
	// heartbeat.
	Running Phase = iota
	// Launching was registered before its process was started, and is judged
	// by how long ago.
	Launching
	// Inactive has no process by intention, and is judged by how long ago it
	// became so.
	Inactive
)

var phaseNames = [...]string{Running: "running", Launching: "launching", Inactive: "inactive"}

// String returns "running", "launching" or "inactive".
func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return fmt.Sprintf("invalid(%d)", p)
}

// MarshalText returns the text of String, or an error that matches
// [ErrInvalidRecord].
func (p Phase) MarshalText() ([]byte, error) {
	if int(p) >= len(phaseNames) {
		return nil, fmt.Errorf("lifecycle: %w: phase %d", ErrInvalidRecord, p)
	}
	return []byte(phaseNames[p]), nil
}

// UnmarshalText reads the text of String. Its error matches [ErrInvalidRecord].
func (p *Phase) UnmarshalText(text []byte) error {
	for i, name := range phaseNames {
		if name == string(text) {
			*p = Phase(i)
			return nil
		}
	}
	return fmt.Errorf("lifecycle: %w: phase %q", ErrInvalidRecord, text)
}

// Heartbeat is a moment, in the clock by which ages are judged: the time that
// a boot has been awake. Neither a step of the wall clock nor a suspend makes
// a heartbeat older. [Beat] makes one.
//
// The zero Heartbeat is none, and has no age. Nor has one from a container of LXC
// or systemd-nspawn for a program that sees the kernel's boot ID in place of the
// container's, or the other way round.
type Heartbeat struct {
	// Boot is the boot in which it happened.
	Boot bootid.ID `json:"boot"`
	// Awake is how long that boot had been awake, see [bootid.Awake].
	Awake time.Duration `json:"awake_ns"`
	// Wall is the wall time, for people. Nothing is decided by it.
	Wall time.Time `json:"wall"`
}

// IsZero reports whether h is no heartbeat at all.
func (h Heartbeat) IsZero() bool { return h == Heartbeat{} }

// Clock tells the boot and its awake time. A nil Clock in this package means
// that of the running system, package bootid.
type Clock interface {
	// Boot is [bootid.Current].
	Boot() (bootid.ID, error)
	// Awake is [bootid.Awake].
	Awake() (time.Duration, error)
}

// Beat returns a heartbeat of now. Where the clock cannot be read it holds the
// wall time alone; such a heartbeat has no age and is never stale.
func Beat(clock Clock) Heartbeat {
	h := Heartbeat{Wall: time.Now()}
	c := clockOf(clock)
	boot, err := c.Boot()
	if err != nil {
		return h
	}
	awake, err := c.Awake()
	if err != nil {
		return h
	}
	h.Boot, h.Awake = boot, awake
	return h
}

func clockOf(clock Clock) Clock {
	if clock == nil {
		return systemClock{}
	}
	return clock
}

type systemClock struct{}

func (systemClock) Boot() (bootid.ID, error)      { return bootid.Current() }
func (systemClock) Awake() (time.Duration, error) { return bootid.Awake() }
