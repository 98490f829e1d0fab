package liveness

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rollcall-go/rollcall/bootid"
)

// This file holds the rules of evidence. They are pure: each system's probe
// reads the facts and asks them here.

// scope says which part of the world a view of the system can judge.
type scope struct {
	boot      bootid.ID
	namespace Namespace
	exclusive bool // Options.ExclusiveNamespace
	// foreignBoot says that boot was read in a view whose machine is not
	// known, and that may be another than that of the record.
	foreignBoot bool
	// markerVariable is Options.MarkerVariable.
	markerVariable string
	// liveEnviron says that the environment that can be read is the one that
	// the process edits, so that a missing marker proves nothing.
	liveEnviron bool
	// startSlack is how far two readings of a start stamp may lie apart.
	startSlack uint64
}

// initialPIDNamespace is the number of the PID namespace in which Linux boots,
// the same in every boot (PROC_PID_INIT_INO, include/linux/proc_ns.h).
const initialPIDNamespace = 4026531836

// judge decides what can be decided without a look at the PID. sameBoot says
// whether an equal Start, and Unique, of the record mean anything here.
func (s *scope) judge(id *Identity) (verdict Verdict, sameBoot, decided bool) {
	if id.PID == 0 && id.IsZero() {
		return Verdict{}, false, true
	}
	if err := id.validate(); err != nil {
		return unreadable(err), false, true
	}
	relation := id.Boot.Compare(s.boot)
	if relation == bootid.OtherMachine {
		return Verdict{Reason: OtherMachine}, false, true
	}
	if relation == bootid.OtherBoot && s.doubtsBoot(id) {
		relation = bootid.Incomparable
	}
	namespace := id.Namespace.relate(s.namespace, relation == bootid.SameBoot)
	switch {
	case relation == bootid.OtherBoot && (namespace != otherNamespace || s.exclusive):
		return Verdict{State: Dead, Reason: Rebooted}, false, true
	case namespace == otherNamespace && s.namespace.PID == 0:
		return unreadable(errNoNamespace), false, true
	case namespace == goneNamespace, namespace == otherNamespace && s.exclusive:
		return Verdict{State: Dead, Reason: OtherNamespace}, false, true
	case namespace == otherNamespace:
		// Includes an unequal boot ID that was read in another namespace: a
		// container can have been given a boot ID of its own, so that proves
		// no reboot.
		return Verdict{Reason: OtherNamespace}, false, true
	}
	return Verdict{}, relation == bootid.SameBoot, false
}

// doubtsBoot reports whether an unequal boot ID may be one of two that are seen
// in the same boot. A container can have been given one of its own, which a
// program in it that has another procfs does not see; a PID namespace that is
// the same in every respect, and is not the one that each boot has, tells so.
func (s *scope) doubtsBoot(id *Identity) bool {
	inner := id.Namespace.PID != 0 && id.Namespace.PID != initialPIDNamespace
	return s.foreignBoot && id.Boot.Machine != "" ||
		inner && id.Namespace == s.namespace && id.Namespace.InitStart != 0
}

var errNoNamespace = errors.New("the PID namespace to compare with could not be read")

type namespaceRelation uint8

const (
	sameNamespace namespaceRelation = iota
	otherNamespace
	goneNamespace // another one, and proven to exist no more
)

// relate compares the recorded namespace with that of now. A namespace that
// was not recorded counts as this one.
//
// Two namespaces that exist at the same time never share an inode number. So
// a record that has our number is either ours, or of a namespace that is gone
// together with its processes; a PID that nobody has is dead in both cases.
func (n Namespace) relate(now Namespace, sameBoot bool) namespaceRelation {
	switch {
	case n.PID == 0:
		return sameNamespace
	case n.PID != now.PID:
		return otherNamespace
	case !sameBoot:
		return sameNamespace
	case n.PIDUnique != 0 && now.PIDUnique != 0:
		if n.PIDUnique != now.PIDUnique {
			return goneNamespace
		}
	case n.InitStart != 0 && now.InitStart != 0 && n.Time != 0 && n.Time == now.Time:
		if n.InitStart != now.InitStart {
			return goneNamespace
		}
	}
	return sameNamespace
}

// judgeStart compares start stamps. They count from another zero in another time
// namespace; where that of the record is not known, equal stamps decide and
// unequal ones do not.
func (s *scope) judgeStart(id *Identity, start uint64) (same, decided bool) {
	if id.Start == 0 || start == 0 {
		return false, false
	}
	same = max(id.Start, start)-min(id.Start, start) <= s.startSlack
	return same, id.Namespace.Time == s.namespace.Time || id.Namespace.Time == 0 && same
}

// judgeMarker looks for the variable in an environment block: entries of
// NAME=value, each ended by a NUL. An entry with the recorded value is proof
// of the same process; a well-formed block without it is proof of another one.
// An empty or garbled block decides nothing: a process may overwrite it. Nor
// does a marker with a NUL, which no environment can have held.
func judgeMarker(environ []byte, variable, marker string) (same, decided bool) {
	if len(environ) == 0 || environ[len(environ)-1] != 0 || strings.IndexByte(marker, 0) >= 0 {
		return false, false
	}
	for entry := range bytes.SplitSeq(environ[:len(environ)-1], []byte{0}) {
		equals := bytes.IndexByte(entry, '=')
		if equals <= 0 {
			return false, false
		}
		if string(entry[:equals]) == variable && string(entry[equals+1:]) == marker {
			same = true
		}
	}
	return same, true
}

// windowTolerance is how far a start may lie outside NotBefore and NotAfter.
// Recorders round to whole seconds, and the conversion of a start stamp to
// wall time is good to a clock tick at best.
const windowTolerance = 2 * time.Second

// judgeWindow holds the wall time at which the PID's holder started against
// the bounds of the record. boot is the wall time at which this boot began.
//
// NotAfter alone can prove the same process: whoever has the PID now and had
// it at a time when the recorded process had it, is that process. NotBefore
// alone can only rule out a holder that is too old. boot only says why a start
// is too late: in a time namespace it may lie after the start of a process
// from outside.
func judgeWindow(id *Identity, boot, start time.Time) (verdict Verdict, decided bool) {
	tooLate := !id.NotAfter.IsZero() && start.After(id.NotAfter.Add(windowTolerance))
	switch {
	case tooLate && boot.After(id.NotAfter.Add(windowTolerance)):
		return Verdict{State: Dead, Reason: Rebooted}, true
	case tooLate, !id.NotBefore.IsZero() && start.Before(id.NotBefore.Add(-windowTolerance)):
		return Verdict{State: Dead, Reason: PIDReused}, true
	case !id.NotAfter.IsZero():
		return Verdict{State: Alive, Reason: SameProcess}, true
	}
	return Verdict{}, false
}

// evidence is what a system reads of the process that has a PID, if asked.
type evidence interface {
	// readEnviron returns the process's environment block.
	readEnviron(pid int) ([]byte, error)
	// wallStart tells in wall time when this boot began, and a process with
	// the given start stamp.
	wallStart(stamp uint64) (boot, start time.Time, err error)
	// gone judges a PID that may have lost its process by now.
	gone(pid int) (Verdict, bool)
}

// judgeHolder judges a record against the process that has its PID, by the
// evidence from the start stamp down.
func (s *scope) judgeHolder(id *Identity, sameBoot bool, start uint64, exited bool, from evidence) Verdict {
	// If the recorded process lives, and on this machine, then so does its boot, and
	// its stamp is what it was: an unequal one is proof even where the boots cannot
	// be compared.
	if same, decided := s.judgeStart(id, start); decided && (sameBoot || !same && !s.foreignBoot) {
		return verdictOf(same, exited)
	}
	if exited {
		// The recorded process is this one or has lost its PID: dead anyhow.
		return Verdict{State: Dead, Reason: Zombie}
	}
	var cause error
	if id.Marker != "" {
		environ, err := from.readEnviron(id.PID)
		if err == nil {
			if same, decided := judgeMarker(environ, s.markerVariable, id.Marker); decided && (same || !s.liveEnviron) {
				return verdictOf(same, false)
			}
		} else if verdict, gone := from.gone(id.PID); gone {
			return verdict
		}
		cause = err
	}
	if !id.NotBefore.IsZero() || !id.NotAfter.IsZero() {
		boot, began, err := from.wallStart(start)
		if err == nil {
			if verdict, decided := judgeWindow(id, boot, began); decided {
				return verdict
			}
		}
		cause = errors.Join(cause, err)
	}
	if cause != nil {
		return unreadable(cause)
	}
	return Verdict{Reason: NoEvidence}
}

// verdictOf turns an answer about a PID's holder into a verdict.
func verdictOf(same, exited bool) Verdict {
	switch {
	case !same:
		return Verdict{State: Dead, Reason: PIDReused}
	case exited:
		return Verdict{State: Dead, Reason: Zombie}
	default:
		return Verdict{State: Alive, Reason: SameProcess}
	}
}

var errNobody = errors.New("no process has its PID")

func unreadable(err error) Verdict { return Verdict{Reason: Unreadable, Err: err} }

func invalidPID(pid int) error { return fmt.Errorf("%w: PID %d", ErrInvalid, pid) }
