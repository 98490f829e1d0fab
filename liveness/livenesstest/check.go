package livenesstest

import (
	"fmt"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/liveness"
)

// This file follows the rules of evidence of package liveness, in the plainest
// form. A test there compares the two.

var (
	noEvidence = liveness.Verdict{}
	alive      = liveness.Verdict{State: liveness.Alive, Reason: liveness.SameProcess}
)

func dead(reason liveness.Reason) liveness.Verdict {
	return liveness.Verdict{State: liveness.Dead, Reason: reason}
}

// Check implements [liveness.Liveness].
func (w *World) Check(id liveness.Identity) liveness.Verdict {
	if id.IsZero() {
		return noEvidence
	}
	if id.PID < 1 || id.PID > maxPID {
		return liveness.Verdict{Reason: liveness.Unreadable, Err: fmt.Errorf("%w: PID %d", liveness.ErrInvalid, id.PID)}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := view(w.namespace)
	relation := id.Boot.Compare(w.bootID())
	if relation == bootid.OtherBoot && id.Namespace == now && id.Namespace.PID != firstNamespace {
		relation = bootid.Incomparable // two boot IDs in one container
	}
	other := id.Namespace.PID != 0 && id.Namespace.PID != now.PID
	switch {
	case relation == bootid.OtherMachine:
		return liveness.Verdict{Reason: liveness.OtherMachine}
	case relation == bootid.OtherBoot && (!other || w.exclusive):
		return dead(liveness.Rebooted)
	case other && w.exclusive, relation == bootid.SameBoot && !other && successor(id.Namespace, now):
		return dead(liveness.OtherNamespace)
	case other:
		return liveness.Verdict{Reason: liveness.OtherNamespace}
	}
	p := w.processes[id.PID]
	switch {
	case p == nil:
		return dead(liveness.NoProcess)
	case p.denied:
		return liveness.Verdict{Reason: liveness.Unreadable, Err: ErrDenied}
	}
	return w.judge(id, relation == bootid.SameBoot, p)
}

// successor reports whether the number of the recorded namespace was given to
// the one of now.
func successor(recorded, now liveness.Namespace) bool {
	switch {
	case recorded.PID == 0:
		return false
	case recorded.PIDUnique != 0:
		return recorded.PIDUnique != now.PIDUnique
	default:
		return recorded.InitStart != 0 && recorded.Time == now.Time && recorded.InitStart != now.InitStart
	}
}

// judge compares the evidence with the process that has the PID.
func (w *World) judge(id liveness.Identity, sameBoot bool, p *process) liveness.Verdict {
	sameClock := id.Namespace.Time == timeNamespace
	switch {
	case sameBoot && id.Unique != 0 && !w.noUnique:
		return verdict(id.Unique == p.unique, p.zombie)
	case id.Start != 0 && sameClock && id.Start != p.start:
		return dead(liveness.PIDReused)
	case sameBoot && id.Start != 0 && (sameClock || id.Namespace.Time == 0 && id.Start == p.start):
		return verdict(id.Start == p.start, p.zombie)
	case p.zombie:
		return dead(liveness.Zombie)
	case id.Marker != "":
		return verdict(id.Marker == p.marker, false)
	}
	boot := w.wall.Add(-w.awake - w.suspended)
	latest, earliest := id.NotAfter.Add(windowTolerance), id.NotBefore.Add(-windowTolerance)
	switch tooLate := !id.NotAfter.IsZero() && p.began.After(latest); {
	case tooLate && boot.After(latest):
		return dead(liveness.Rebooted)
	case tooLate, !id.NotBefore.IsZero() && p.began.Before(earliest):
		return dead(liveness.PIDReused)
	case !id.NotAfter.IsZero():
		return alive
	default:
		return noEvidence
	}
}

func verdict(same, zombie bool) liveness.Verdict {
	switch {
	case !same:
		return dead(liveness.PIDReused)
	case zombie:
		return dead(liveness.Zombie)
	default:
		return alive
	}
}
