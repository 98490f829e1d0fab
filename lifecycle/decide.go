package lifecycle

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/liveness"
)

// Action is what is to be done with a record.
type Action uint8

const (
	// Keep leaves the record as it is.
	Keep Action = iota
	// Stopping stops it.
	Stopping
	// Skip leaves it to its owner.
	Skip
)

// String returns "keep", "stop" or "skip".
func (a Action) String() string {
	switch a {
	case Keep:
		return "keep"
	case Stopping:
		return "stop"
	case Skip:
		return "skip"
	default:
		return fmt.Sprintf("invalid(%d)", a)
	}
}

// The reasons for which a [Cleaner] keeps or skips a record. A record whose
// process could not be judged is kept for the reason of the verdict, such as
// "other_namespace".
const (
	ReasonAlive      = "alive"       // its process runs
	ReasonHeartbeat  = "heartbeat"   // no verdict, but its heartbeat is recent
	ReasonNoProcess  = "no_process"  // no process is tracked, and no age to judge by
	ReasonLaunching  = "launching"   // it may still come up
	ReasonAtRest     = "at_rest"     // it is inactive, and may stay so
	ReasonChanged    = "changed"     // it changed while it was judged
	ReasonOtherOwner = "other_owner" // it belongs to another machine or device
)

// Decision is what a [Cleaner] makes of one record, and why.
type Decision struct {
	Action Action
	// Reason is one of the reasons of this package, or the text of the
	// Verdict's Reason where nothing but that keeps the record.
	Reason string
	// Verdict is the answer about the process, where one was asked for.
	Verdict liveness.Verdict
}

// judge holds what stays the same during one pass.
type judge struct {
	Cleaner
	now Heartbeat
	// compareBoot relates a boot to that of now.
	compareBoot func(bootid.ID) bootid.Relation
	// living are the identities that were found alive in this pass, each asked
	// for once: many records may track one process. Alive only keeps a
	// record, as it would have been kept a moment ago; what may stop one is
	// asked for each.
	living map[liveness.Identity]liveness.Verdict
	mu     sync.Mutex // guards living
}

func newJudge(c Cleaner) *judge {
	j := &judge{Cleaner: c, now: Beat(c.Clock)}
	j.compareBoot = func(boot bootid.ID) bootid.Relation {
		relation := boot.Compare(j.now.Boot)
		if relation == bootid.OtherBoot && boot.Quality == bootid.Given {
			return bootid.Incomparable // two containers can run at the same time
		}
		return relation
	}
	// A Liveness of another boot than that of the Clock is no judge of ages.
	if comparer, ok := c.Liveness.(liveness.BootComparer); ok && comparer.CompareBoot(j.now.Boot) == bootid.SameBoot {
		j.compareBoot = comparer.CompareBoot
	}
	return j
}

// check judges the process of a record.
func (j *judge) check(id liveness.Identity) liveness.Verdict {
	j.mu.Lock()
	verdict, ok := j.living[id]
	j.mu.Unlock()
	if ok {
		return verdict
	}
	if verdict = j.Liveness.Check(id); verdict.State == liveness.Alive {
		j.mu.Lock()
		defer j.mu.Unlock()
		if j.living == nil {
			j.living = map[liveness.Identity]liveness.Verdict{}
		}
		j.living[id] = verdict
	}
	return verdict
}

// decide is the decision table. An error means that the record is not one that
// can be judged; it is kept.
func (j *judge) decide(record *Record) (Decision, error) {
	if err := record.validate(); err != nil {
		return Decision{}, err
	}
	if record.Owner != "" && record.Owner != j.Owner {
		return Decision{Action: Skip, Reason: ReasonOtherOwner}, nil
	}
	own := j.asOwn(*record)
	switch record.Phase {
	case Launching:
		if j.launchFailed(own.Heartbeat) {
			return Decision{Action: Stopping, Reason: ReasonLaunchFailed}, nil
		}
		return Decision{Reason: ReasonLaunching}, nil
	case Inactive:
		if age, _ := j.age(own.Heartbeat); exceeds(age, j.InactiveAfter) {
			return Decision{Action: Stopping, Reason: ReasonInactive}, nil
		}
		return Decision{Reason: ReasonAtRest}, nil
	default:
		return j.decideRunning(&own)
	}
}

// asOwn returns the record without the machine IDs if it names the owner that
// the Cleaner has: it is of this machine then, whatever machine ID that had.
func (c Cleaner) asOwn(record Record) Record {
	if record.Owner != "" && record.Owner == c.Owner {
		record.Identity.Boot.Machine, record.Heartbeat.Boot.Machine = "", ""
	}
	return record
}

func (j *judge) decideRunning(record *Record) (Decision, error) {
	var verdict liveness.Verdict
	tracked := !record.Identity.IsZero()
	if tracked {
		verdict = j.check(record.Identity)
	}
	decision := Decision{Verdict: verdict}
	switch verdict.State {
	case liveness.Alive:
		decision.Reason = ReasonAlive
		return decision, nil
	case liveness.Dead:
		decision.Action, decision.Reason = Stopping, exitReason(verdict.Reason)
		return decision, nil
	}
	if errors.Is(verdict.Err, liveness.ErrInvalid) {
		// What is wrong with the identity may be wrong with the rest.
		return decision, fmt.Errorf("%q: %w", record.Name, verdict.Err)
	}
	age, relation := j.age(record.Heartbeat)
	switch {
	case j.StaleAfter > 0 && (relation == bootid.OtherBoot || exceeds(age, j.StaleAfter)):
		decision.Action, decision.Reason = Stopping, ReasonStale
	case j.StaleAfter > 0 && relation == bootid.SameBoot:
		decision.Reason = ReasonHeartbeat
	case tracked:
		decision.Reason = verdict.Reason.String()
	default:
		decision.Reason = ReasonNoProcess
	}
	return decision, nil
}

// launchFailed reports whether a launch that began with the given heartbeat
// can no longer succeed: whoever was launching it is gone with its boot, or
// has had its time.
func (j *judge) launchFailed(began Heartbeat) bool {
	age, relation := j.age(began)
	return relation == bootid.OtherBoot || exceeds(age, j.LaunchTimeout)
}

// age says how much awake time has passed between h and now, at least. For a
// heartbeat of an earlier boot that is what this boot has been awake. Awake time
// does not go back within a boot: where it did, that is another boot, whatever the
// IDs say. Where it is not known whether two IDs of one quality are of one boot, the
// age is the lesser of what it would be in either case. Between two views of one
// container, one with its own boot ID and one with the kernel's, there is none.
func (j *judge) age(h Heartbeat) (age time.Duration, relation bootid.Relation) {
	relation = j.compareBoot(h.Boot)
	if !h.Boot.Valid() || h.Boot.Boot == "" || j.now.Boot.Boot == "" {
		return 0, bootid.Incomparable
	}
	now := j.now.Awake
	if h.Awake > now { // it came after the pass had begun, if it is of this boot
		fresh, err := clockOf(j.Clock).Awake()
		if err != nil {
			return 0, bootid.Incomparable
		}
		now = fresh
	}
	switch {
	case relation == bootid.OtherMachine:
		return 0, relation
	case relation == bootid.OtherBoot || h.Awake > now:
		return now, bootid.OtherBoot
	case relation == bootid.Incomparable && h.Boot.Quality != j.now.Boot.Quality:
		return 0, relation
	default:
		return now - h.Awake, relation
	}
}

// exceeds reports whether an age is over a limit; a limit of zero is none.
func exceeds(age, limit time.Duration) bool { return limit > 0 && age > limit }

func exitReason(reason liveness.Reason) string {
	switch reason {
	case liveness.Rebooted, liveness.OtherNamespace:
		return ReasonReboot
	case liveness.PIDReused, liveness.NotAProcess:
		return ReasonPIDReused
	case liveness.Zombie:
		return ReasonZombie
	default:
		return ReasonDied
	}
}
