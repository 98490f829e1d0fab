package lifecycle

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/liveness"
)

// decider decides about records by the table below. It holds what stays the same
// during one pass.
type decider struct {
	Cleaner // with its defaults filled in
	now     Heartbeat
	// compareBoot relates a boot to that of now.
	compareBoot func(bootid.ID) bootid.Relation
	// living has the text of each identity that was found alive in this pass,
	// which is asked for once: many records may track one process. Alive only
	// keeps a record, as it would have been kept a moment ago; what may stop one is
	// asked for each.
	living map[string]liveness.Verdict
	mu     sync.Mutex // guards living
}

// decider returns one for the present.
func (c Cleaner) decider() (*decider, error) {
	if c.Store == nil {
		return nil, fmt.Errorf("lifecycle: %w: Cleaner without a Store", ErrMisconfigured)
	}
	c.Owner = c.owner()
	if c.Liveness == nil {
		var err error
		if c.Liveness, err = liveness.New(liveness.Options{}); err != nil {
			return nil, fmt.Errorf("lifecycle: %w", err)
		}
	}
	return newDecider(c), nil
}

// bootComparer is a Liveness that relates a recorded boot to the running one by the
// rules of its Check, as [liveness.System] does.
type bootComparer interface {
	CompareBoot(bootid.ID) bootid.Relation
}

func newDecider(c Cleaner) *decider {
	d := &decider{Cleaner: c, now: Beat(c.Clock)}
	d.compareBoot = func(boot bootid.ID) bootid.Relation {
		relation := boot.Compare(d.now.Boot)
		if relation == bootid.OtherBoot && boot.Quality == bootid.Given {
			return bootid.Incomparable // two containers can run at the same time
		}
		return relation
	}
	// A Liveness of another boot than that of the Clock is no judge of ages.
	if comparer, ok := c.Liveness.(bootComparer); ok && comparer.CompareBoot(d.now.Boot) == bootid.SameBoot {
		d.compareBoot = comparer.CompareBoot
	}
	return d
}

// check judges the process of a record.
func (d *decider) check(id liveness.Identity) liveness.Verdict {
	text, verdict, known := d.known(id)
	if known {
		return verdict
	}
	verdict = d.Liveness.Check(id)
	if verdict.State == liveness.Alive {
		if text == "" {
			text = id.String()
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.living == nil {
			d.living = map[string]liveness.Verdict{}
		}
		d.living[text] = verdict
	}
	return verdict
}

// known returns the verdict on a process that was found alive in this pass. The text
// is that of the identity, or empty where no process was: a text costs more than
// many a check.
func (d *decider) known(id liveness.Identity) (text string, verdict liveness.Verdict, ok bool) {
	d.mu.Lock()
	none := len(d.living) == 0
	d.mu.Unlock()
	if none {
		return "", liveness.Verdict{}, false
	}
	text = id.String()
	d.mu.Lock()
	defer d.mu.Unlock()
	verdict, ok = d.living[text]
	return text, verdict, ok
}

// decide is the decision table. An error means that the record is not one that
// can be judged; it is kept.
func (d *decider) decide(record *Record) (Decision, error) {
	if err := record.validate(); err != nil {
		return Decision{}, err
	}
	if record.Owner != "" && record.Owner != d.Owner {
		return Decision{Reason: ReasonOtherOwner}, nil
	}
	own := d.asOwn(*record)
	switch record.Phase {
	case Launching:
		if d.launchFailed(own.Heartbeat) {
			return Decision{Stop: true, Reason: ReasonLaunchFailed}, nil
		}
		return Decision{Reason: ReasonLaunching}, nil
	case Inactive:
		if age, _ := d.age(own.Heartbeat); exceeds(age, d.InactiveAfter) {
			return Decision{Stop: true, Reason: ReasonInactive}, nil
		}
		return Decision{Reason: ReasonAtRest}, nil
	default:
		return d.decideRunning(&own)
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

func (d *decider) decideRunning(record *Record) (Decision, error) {
	var verdict liveness.Verdict
	tracked := !record.Identity.IsZero()
	if tracked {
		verdict = d.check(record.Identity)
	}
	decision := Decision{Verdict: verdict}
	switch verdict.State {
	case liveness.Alive:
		decision.Reason = ReasonAlive
		return decision, nil
	case liveness.Dead:
		decision.Stop, decision.Reason = true, exitReason(verdict.Reason)
		return decision, nil
	}
	if errors.Is(verdict.Err, liveness.ErrInvalid) {
		// What is wrong with the identity may be wrong with the rest.
		return decision, fmt.Errorf("%q: %w", record.Name, verdict.Err)
	}
	age, relation := d.age(record.Heartbeat)
	switch {
	case d.StaleAfter > 0 && (relation == bootid.OtherBoot || exceeds(age, d.StaleAfter)):
		decision.Stop, decision.Reason = true, ReasonStale
	case d.StaleAfter > 0 && relation == bootid.SameBoot:
		decision.Reason = ReasonHeartbeat
	case tracked:
		decision.Reason = verdict.Reason.String()
	default:
		decision.Reason = ReasonUntracked
	}
	return decision, nil
}

// launchFailed reports whether a launch that began with the given heartbeat
// can no longer succeed: the launching program is gone with its boot, or has had
// its time.
func (d *decider) launchFailed(began Heartbeat) bool {
	age, relation := d.age(began)
	return relation == bootid.OtherBoot || exceeds(age, d.LaunchTimeout)
}

// age says how much awake time has passed between h and now, at least. For a
// heartbeat of an earlier boot that is the time that this boot has been awake.
//
// Awake time does not go back within a boot: where it did, h is of another boot,
// even if the IDs are equal. Where two IDs of one quality may or may not be of one
// boot, the age is the lesser of both cases. Two views of one container, one with
// its own boot ID and one with the kernel's, have no age between them.
func (d *decider) age(h Heartbeat) (age time.Duration, relation bootid.Relation) {
	relation = d.compareBoot(h.Boot)
	if !h.Boot.Valid() || h.Boot.Boot == "" || d.now.Boot.Boot == "" {
		return 0, bootid.Incomparable
	}
	now := d.now.Awake
	if h.Awake > now { // it came after the pass had begun, if it is of this boot
		fresh, err := clockOf(d.Clock).Awake()
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
	case relation == bootid.Incomparable && h.Boot.Quality != d.now.Boot.Quality:
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
