package livenesstest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/liveness"
)

// This file states the rules of evidence of package liveness once more, in the
// plainest form. A test there compares the two.

var (
	noEvidence = liveness.Verdict{}
	alive      = liveness.Verdict{State: liveness.Alive, Reason: liveness.SameProcess}
)

func dead(reason liveness.Reason) liveness.Verdict {
	return liveness.Verdict{State: liveness.Dead, Reason: reason}
}

func unreadable(err error) liveness.Verdict {
	return liveness.Verdict{Reason: liveness.Unreadable, Err: err}
}

const (
	// maxPID is the largest number that an Identity can have, highestPID the
	// largest that Linux gives to a process.
	maxPID     = min(math.MaxUint32, math.MaxInt)
	highestPID = 1 << 22
	// tolerance is that of bounds in wall time.
	tolerance = 2 * time.Second
)

// CompareBoot tells how a recorded boot relates to that of the [View], as
// [liveness.System.CompareBoot] does.
func (w *World) CompareBoot(boot bootid.ID) bootid.Relation {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.compareBoot(boot)
}

func (w *World) compareBoot(boot bootid.ID) bootid.Relation {
	if w.sameMachine && boot.Valid() {
		boot.Machine = ""
	}
	relation := boot.Compare(w.view.Boot)
	if relation == bootid.OtherBoot && boot.Quality == bootid.Given {
		return bootid.Incomparable // it may be of a container that runs beside this one
	}
	return relation
}

// Check implements [liveness.Liveness].
func (w *World) Check(id liveness.Identity) liveness.Verdict {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.check(id)
}

func (w *World) check(id liveness.Identity) liveness.Verdict {
	switch {
	case id.IsZero():
		return noEvidence
	case id.PID < 1 || id.PID > maxPID:
		return unreadable(fmt.Errorf("%w: PID %d", liveness.ErrInvalid, id.PID))
	case !id.Boot.Valid():
		return unreadable(fmt.Errorf("%w: boot %q: %w", liveness.ErrInvalid, id.Boot.String(), bootid.ErrInvalid))
	}
	relation := w.compareBoot(id.Boot)
	sameBoot := relation == bootid.SameBoot
	switch {
	case relation == bootid.OtherMachine:
		return liveness.Verdict{Reason: liveness.OtherMachine}
	case relation == bootid.OtherBoot:
		return dead(liveness.Rebooted)
	case id.PID > highestPID:
		return dead(liveness.NoProcess)
	}
	elsewhere, gone := w.compareNamespace(id.Namespace, sameBoot)
	switch {
	case elsewhere && w.view.Namespace.PID == 0:
		return unreadable(fmt.Errorf("read PID namespace: %w", ErrDenied))
	case elsewhere && w.exclusive, gone:
		return dead(liveness.OtherNamespace)
	case elsewhere:
		return liveness.Verdict{Reason: liveness.OtherNamespace}
	}
	p := w.processes[id.PID]
	switch {
	case p == nil:
		return dead(liveness.NoProcess)
	case p.denied:
		return unreadable(ErrDenied)
	}
	return w.judge(id, sameBoot, p)
}

// match compares two numbers, of which 0 is none. Both answers are false if one
// is missing.
func match(recorded, now uint64) (equal, unequal bool) {
	known := recorded != 0 && now != 0
	return known && recorded == now, known && recorded != now
}

// compareNamespace tells whether a recorded PID namespace is another one than
// that of the view, or a gone one whose number the view's has now.
func (w *World) compareNamespace(recorded liveness.Namespace, sameBoot bool) (elsewhere, gone bool) {
	now := w.seen(w.view.Namespace)
	sameID, otherID := match(recorded.PIDUnique, now.PIDUnique)
	_, otherInit := match(recorded.InitStart, now.InitStart)
	switch {
	case recorded.PID == 0, sameID && sameBoot:
		return false, false
	case recorded.PID != now.PID:
		return true, false
	default: // without IDs PID 1 tells, where its starts can be compared
		return false, otherID || !sameID && otherInit && sameClock(recorded, now)
	}
}

// sameClock reports whether start stamps of two views count from one zero.
func sameClock(recorded, now liveness.Namespace) bool {
	if sameID, otherID := match(recorded.TimeUnique, now.TimeUnique); sameID || otherID {
		return sameID
	}
	if recorded.Time != now.Time {
		return false
	}
	if recorded.Time == 0 || recorded.Time == initialTimeNamespace {
		return true
	}
	// Another namespace may have been given the number: PID 1 is the witness.
	sameInit, _ := match(recorded.InitStart, now.InitStart)
	return sameInit && recorded.PID == now.PID
}

// judge compares the evidence with the process that has the PID.
func (w *World) judge(id liveness.Identity, sameBoot bool, p *process) liveness.Verdict {
	same, other := w.compareNumbers(id, p)
	marker := id.Marker
	if strings.Contains(marker, "\x00") {
		marker = "" // no environment can have held it
	}
	switch {
	case other:
		return dead(liveness.PIDReused)
	case p.exited:
		return dead(liveness.Zombie)
	case same && sameBoot:
		return alive
	case marker != "" && slices.Contains(p.environ, markerVariable+"="+marker):
		return alive
	case marker != "" && id.Start == 0 && id.Unique == 0 && wellFormed(p.environ):
		return dead(liveness.PIDReused) // it was started without
	}
	verdict := w.judgeBounds(id, p)
	if verdict.State == liveness.Dead && same {
		return noEvidence // two proofs that contradict each other
	}
	return verdict
}

// compareNumbers tells whether a number is proof that the process is the recorded
// one, if the boot is, and whether one is proof that it is not.
func (w *World) compareNumbers(id liveness.Identity, p *process) (same, other bool) {
	now := w.identity(p, w.view.Namespace)
	sameUnique, otherUnique := match(id.Unique, now.Unique)
	sameStart, otherStart := match(id.Start, now.Start)
	clock := sameClock(id.Namespace, now.Namespace)
	// Without a clock on record equal stamps count, and unequal ones do not.
	sameStart = sameStart && (clock || id.Namespace.Time == 0)
	otherStart = otherStart && clock
	return sameUnique || sameStart, otherUnique || otherStart
}

// wellFormed reports whether an environment is whole. One that is empty, or has an
// entry without a name, may have been written over.
func wellFormed(environ []string) bool {
	hasName := func(entry string) bool { return strings.Index(entry, "=") > 0 }
	return len(environ) > 0 && !slices.ContainsFunc(environ, func(entry string) bool { return !hasName(entry) })
}

// judgeBounds judges by the bounds of the start in wall time.
func (w *World) judgeBounds(id liveness.Identity, p *process) liveness.Verdict {
	lower, upper := id.NotBefore, id.NotAfter
	boot := w.wall.Add(-w.awake - w.suspended)
	farAfter := func(t, bound time.Time) bool {
		return !t.IsZero() && !bound.IsZero() && t.After(bound.Add(tolerance))
	}
	beforeBoot := farAfter(boot, upper)
	wrong := farAfter(lower, w.wall) || farAfter(upper, w.wall) || // in the future
		farAfter(lower, upper) || // nothing lies between them
		beforeBoot && id.Boot.Boot != "" // though it ran in this one
	tooOld, tooYoung := farAfter(lower, p.began), farAfter(p.began, upper)
	switch {
	case wrong:
		return noEvidence
	case tooYoung && beforeBoot:
		return dead(liveness.Rebooted)
	case tooYoung, tooOld:
		return dead(liveness.PIDReused)
	case !upper.IsZero(): // it had the PID when the recorded process had it
		return alive
	default:
		return noEvidence
	}
}
