package liveness

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/procfs"
)

// This file holds the rules of evidence. [scope.judge] applies them in order, and
// asks the probe of the system for a fact when a rule needs it. It makes no system
// call, so that its tests run everywhere.

// scope says which part of the world a view of the system can judge.
type scope struct {
	boot      bootid.ID
	namespace Namespace
	// exclusive and sameMachine are those of Options.
	exclusive, sameMachine bool
	// markerVariable is Options.MarkerVariable.
	markerVariable string
	// liveEnviron says that the environment that can be read is the one that
	// the process edits, so that a missing marker proves nothing.
	liveEnviron bool
	// startSlack is how far two readings of a start stamp may lie apart.
	startSlack uint64
	// highestPID is the highest number that the system gives to a process.
	highestPID int
	// bootsMayContinue says that an unequal boot ID may be of a boot whose
	// processes have survived: whether Windows raises the counter of the boot when
	// it wakes from hibernation, with all processes, is not known.
	bootsMayContinue bool
	// lastBoot is how the boot that was compared last relates to boot; nil
	// remembers none. Many records are of one boot.
	lastBoot *atomic.Pointer[comparedBoot]
	// starts are the start stamps that were read of pinned processes; nil
	// remembers none.
	starts *startCache
}

// unknownMachine stands for the machine of a view that may be of another machine
// than this one. No record has it.
const unknownMachine = "unknown"

type comparedBoot struct {
	boot     bootid.ID
	relation bootid.Relation
	err      error
}

// compareBoot relates a recorded boot to that of the view.
func (s *scope) compareBoot(boot *bootid.ID) (bootid.Relation, error) {
	if s.lastBoot == nil {
		compared := s.compareAnew(*boot)
		return compared.relation, compared.err
	}
	last := s.lastBoot.Load()
	if last == nil || last.boot != *boot {
		last = s.compareAnew(*boot)
		s.lastBoot.Store(last)
	}
	return last.relation, last.err
}

func (s *scope) compareAnew(boot bootid.ID) *comparedBoot {
	compared := &comparedBoot{boot: boot}
	if s.sameMachine {
		boot.Machine = "" // counts as this one
	}
	switch compared.relation = boot.Compare(s.boot); {
	case !compared.boot.Valid():
		compared.relation = bootid.Incomparable
		compared.err = fmt.Errorf("%w: boot %q: %w", ErrInvalid, compared.boot.String(), bootid.ErrInvalid)
	case compared.relation == bootid.OtherMachine && s.boot.Machine == unknownMachine:
		compared.relation, compared.err = bootid.Incomparable, errUnknownMachine
	case compared.relation == bootid.OtherBoot && boot.Quality == bootid.Given:
		// Two containers, of which each was given one, can run at the same time, and
		// even share a PID namespace.
		compared.relation = bootid.Incomparable
	}
	return compared
}

// facts is what the probe of a system tells about the process that has a PID.
type facts interface {
	// look looks at the process. If it finds none, it gives the verdict on
	// whatever process had the PID.
	look(pid int) (holder, Verdict, bool)
	// readEnviron returns the process's environment block.
	readEnviron(pid int) ([]byte, error)
	// wallStart tells in wall time when a process with the given start stamp
	// started.
	wallStart(stamp uint64) (wallStart, error)
	// gone judges a PID that may have lost its process by now.
	gone(pid int) (Verdict, bool)
}

// pins are facts about a process that is pinned while it is judged, by a pidfd of
// pidfs. They are cheaper than a look.
type pins interface {
	// pin pins the process that has the PID and returns its Unique. If that is 0
	// nothing was pinned: no process has the PID if the verdict is Dead, and otherwise
	// the process cannot be pinned.
	pin(pid int) (pin int, unique uint64, gone Verdict)
	unpin(pin int)
	// readStart returns the start stamp of the process that has the PID, 0 if it
	// cannot be read.
	readStart(pid int) uint64
	// judgePinned says whether the process, which has or had the PID, still lives.
	// The error says that this could not be read: no descriptors or memory are left.
	judgePinned(pin, pid int) (Verdict, error)
}

// holder is the process that has a PID, as far as it was looked at. Start and
// unique are those of Identity, 0 where the system gives none.
type holder struct {
	start, unique uint64
	exited        bool
	// borrowed says that its environment is that of its parent: it has executed no
	// program since it was forked.
	borrowed bool
}

// wallStart is the start of a process, and of the boot, by the wall clock of now.
type wallStart struct{ boot, process, now time.Time }

// judge applies the rules of evidence, from strong to weak. by is nil on a system
// that does not pin processes.
func (s *scope) judge(id *Identity, from facts, by pins) Verdict {
	verdict, sameBoot, decided := s.judgeRecord(id)
	if decided {
		if verdict.Reason == Rebooted && s.bootsMayContinue {
			return confirmReboot(id, from)
		}
		return verdict
	}
	return s.judgeProcess(id, sameBoot, from, by)
}

// confirmReboot judges a record of another boot whose processes may have survived. A
// process that was created at the very same 100 ns is no stranger.
func confirmReboot(id *Identity, from facts) Verdict {
	found, _, _ := from.look(id.PID) // which has no start if there is none
	if id.Start != 0 && found.start == id.Start && !found.exited {
		return Verdict{Reason: NoEvidence}
	}
	return Verdict{State: Dead, Reason: Rebooted}
}

// judgeProcess judges by the process that has the PID.
func (s *scope) judgeProcess(id *Identity, sameBoot bool, from facts, by pins) Verdict {
	var unique uint64
	if by != nil && id.Unique != 0 {
		verdict, found, decided := s.judgeUnique(id, sameBoot, by)
		if decided {
			return verdict
		}
		unique = found
	}
	found, verdict, ok := from.look(id.PID)
	if !ok {
		return verdict
	}
	found.unique = max(found.unique, unique)
	return s.judgeHolder(id, sameBoot, found, from)
}

// judgeUnique compares the Unique of the process that has the PID, and with an equal
// one the start, while the process is pinned. It does not decide when it cannot be
// pinned, as with no descriptors left or no permission, nor when the two agree and the
// boots cannot be compared.
func (s *scope) judgeUnique(id *Identity, sameBoot bool, by pins) (verdict Verdict, unique uint64, decided bool) {
	pin, unique, gone := by.pin(id.PID)
	if unique == 0 {
		return gone, 0, gone.State == Dead
	}
	defer by.unpin(pin)
	switch {
	case s.compare(id, holder{unique: unique}) == differs:
		return Verdict{State: Dead, Reason: PIDReused}, unique, true
	case !sameBoot:
		return Verdict{}, unique, false
	}
	numbers, start := agrees, uint64(0)
	if id.Start != 0 && !s.starts.known(unique, id.Start) {
		start = by.readStart(id.PID) // of the pinned process if that has its PID below
		numbers = s.compare(id, holder{start: start, unique: unique})
	}
	verdict, err := by.judgePinned(pin, id.PID)
	switch {
	case err != nil:
		return Verdict{}, 0, false
	case numbers == differs && verdict.Reason != NoProcess:
		verdict = Verdict{State: Dead, Reason: PIDReused}
	case verdict.State == Alive && start != 0:
		s.starts.remember(unique, start)
	}
	return verdict, unique, true
}

// judgeRecord decides what can be decided without a look at the PID. sameBoot says
// whether an equal Start, and Unique, of the record mean anything here.
func (s *scope) judgeRecord(id *Identity) (verdict Verdict, sameBoot, decided bool) {
	if id.PID == 0 && id.IsZero() {
		return Verdict{}, false, true
	}
	if err := id.validate(); err != nil {
		return unreadable(err), false, true
	}
	relation, err := s.compareBoot(&id.Boot)
	switch {
	case err != nil:
		return unreadable(err), false, true
	case relation == bootid.OtherMachine:
		return Verdict{Reason: OtherMachine}, false, true
	case relation == bootid.OtherBoot:
		return Verdict{State: Dead, Reason: Rebooted}, false, true
	case id.PID > s.highestPID:
		return Verdict{State: Dead, Reason: NoProcess}, false, true
	}
	sameBoot = relation == bootid.SameBoot
	switch namespace := id.Namespace.relate(&s.namespace, sameBoot); {
	case namespace == otherNamespace && s.namespace.PID == 0:
		return unreadable(errNoNamespace), false, true
	case namespace == goneNamespace, namespace == otherNamespace && s.exclusive:
		return Verdict{State: Dead, Reason: OtherNamespace}, false, true
	case namespace == otherNamespace:
		return Verdict{Reason: OtherNamespace}, false, true
	}
	return Verdict{}, sameBoot, false
}

var (
	errUnknownMachine = errors.New("the procfs may be that of another machine")
	errNoNamespace    = errors.New("the PID namespace to compare with could not be read")
)

type namespaceRelation uint8

const (
	sameNamespace namespaceRelation = iota
	otherNamespace
	goneNamespace // another one, which is proven to be gone
)

// relate compares the recorded PID namespace with that of now. A namespace that
// was not recorded counts as this one.
//
// Within a boot the kernel's ID decides. Two namespaces that exist at the same
// time never share an inode number. So a record that has our number is either
// ours, or of a namespace that is gone together with its processes; the ID or the
// start of PID 1 may tell which. A PID that no process has is dead in both cases.
func (n *Namespace) relate(now *Namespace, sameBoot bool) namespaceRelation {
	known := n.PIDUnique != 0 && now.PIDUnique != 0
	switch {
	case n.PID == 0, sameBoot && known && n.PIDUnique == now.PIDUnique:
		return sameNamespace
	case n.PID != now.PID:
		return otherNamespace
	case known && n.PIDUnique != now.PIDUnique:
		return goneNamespace
	case known || n.InitStart == 0 || now.InitStart == 0 || n.InitStart == now.InitStart:
		return sameNamespace
	case n.sameClock(now):
		return goneNamespace
	default:
		return sameNamespace
	}
}

// sameClock reports whether start stamps that were read in n and now count from
// one zero. The inode number of a time namespace that is gone is given to a new
// one soon, so an equal number counts only for the first one, which is never
// gone, or where PID 1 of the same PID namespace shows the same start in both.
func (n *Namespace) sameClock(now *Namespace) bool {
	switch {
	case n.TimeUnique != 0 && now.TimeUnique != 0:
		return n.TimeUnique == now.TimeUnique
	case n.Time != now.Time:
		return false
	case n.Time == 0 || n.Time == procfs.InitialTimeNamespace:
		return true
	default:
		return n.PID == now.PID && n.InitStart != 0 && n.InitStart == now.InitStart
	}
}

// agreement is what the numbers of a record and of a process say together.
type agreement uint8

const (
	silent agreement = iota // none of them can be compared
	agrees
	differs
)

// compare holds Unique and Start against the process that has the PID. One
// number that differs is enough: whatever both sides have must agree.
func (s *scope) compare(id *Identity, holder holder) agreement {
	found := silent
	if id.Unique != 0 && holder.unique != 0 {
		if id.Unique != holder.unique {
			return differs
		}
		found = agrees
	}
	if id.Start == 0 || holder.start == 0 {
		return found
	}
	same := max(id.Start, holder.start)-min(id.Start, holder.start) <= s.startSlack
	switch sameClock := id.Namespace.sameClock(&s.namespace); {
	case same && (sameClock || id.Namespace.Time == 0): // also if no clock is on record
		return agrees
	case !same && sameClock:
		return differs
	default:
		return found
	}
}

// judgeHolder judges by all that is known of the process that has the PID.
func (s *scope) judgeHolder(id *Identity, sameBoot bool, found holder, from facts) Verdict {
	numbers := s.compare(id, found)
	switch {
	// If the recorded process lives, then so does its boot, and its numbers are what
	// they were: an unequal one is proof even where the boots cannot be compared.
	case numbers == differs:
		return Verdict{State: Dead, Reason: PIDReused}
	case numbers == agrees && sameBoot:
		return verdictOf(found.exited)
	case found.exited:
		// The recorded process is this one or has lost its PID: dead anyhow.
		return Verdict{State: Dead, Reason: Zombie}
	}
	verdict, markerErr := s.judgeMarker(id, found.borrowed, from)
	if verdict.Reason != NoEvidence {
		return verdict
	}
	verdict, windowErr := judgeBounds(id, numbers, found.start, from)
	if verdict.Reason != NoEvidence {
		return verdict
	}
	cause := markerErr
	if windowErr != nil {
		cause = errors.Join(markerErr, windowErr)
	}
	if cause != nil {
		return unreadable(cause)
	}
	return Verdict{Reason: NoEvidence}
}

// judgeMarker holds the marker against the environment of the process. NoEvidence,
// with the cause if there is one, is no decision.
//
// A process that executes a program with another environment loses its marker, and
// keeps its numbers. One that has executed none shows its parent's environment, which
// need not have the marker.
func (s *scope) judgeMarker(id *Identity, borrowed bool, from facts) (Verdict, error) {
	if id.Marker == "" {
		return Verdict{}, nil
	}
	environ, err := from.readEnviron(id.PID)
	if err != nil {
		if verdict, gone := from.gone(id.PID); gone {
			return verdict, nil
		}
		return Verdict{}, err
	}
	present, wellFormed := lookForMarker(environ, s.markerVariable, id.Marker)
	switch {
	case present:
		return verdictOf(false), nil
	case wellFormed && !s.liveEnviron && !borrowed && id.Start == 0 && id.Unique == 0:
		return Verdict{State: Dead, Reason: PIDReused}, nil
	default:
		return Verdict{}, nil
	}
}

// lookForMarker looks for the variable in an environment block: entries of
// NAME=value, each ended by a NUL. An entry with the recorded value is proof of
// the same process, whatever else stands there. A well-formed block without it
// can be proof of another one; an empty or garbled block decides nothing, because
// a process may overwrite it. Nor does a marker with a NUL, which no environment
// can have held.
func lookForMarker(environ []byte, variable, marker string) (present, wellFormed bool) {
	if len(environ) == 0 || strings.IndexByte(marker, 0) >= 0 {
		return false, false
	}
	wellFormed = environ[len(environ)-1] == 0
	for entry := range terminated(environ) {
		name, value, ok := bytes.Cut(entry, []byte("="))
		if !ok || len(name) == 0 {
			wellFormed = false
		}
		if ok && string(name) == variable && string(value) == marker {
			return true, wellFormed
		}
	}
	return false, wellFormed
}

// terminated yields the entries of an environment block that a NUL ends. What
// stands after the last one may have been cut short.
func terminated(environ []byte) func(yield func(entry []byte) bool) {
	return func(yield func([]byte) bool) {
		for {
			entry, rest, ok := bytes.Cut(environ, []byte{0})
			if !ok || !yield(entry) {
				return
			}
			environ = rest
		}
	}
}

// windowTolerance is how far a start may lie outside NotBefore and NotAfter.
// Recorders round to whole seconds, and the conversion of a start stamp to
// wall time is good to a clock tick at best.
const windowTolerance = 2 * time.Second

// judgeBounds judges by NotBefore and NotAfter, as far as the numbers leave it open.
// NoEvidence, with the cause if there is one, is no decision.
func judgeBounds(id *Identity, numbers agreement, stamp uint64, from facts) (Verdict, error) {
	if id.NotBefore.IsZero() && id.NotAfter.IsZero() {
		return Verdict{}, nil
	}
	began, err := from.wallStart(stamp)
	if err != nil {
		return Verdict{}, err
	}
	verdict, _ := judgeWindow(id, began)
	if verdict.State == Dead && numbers == agrees {
		return Verdict{}, nil // two proofs that contradict each other are none
	}
	return verdict, nil
}

// judgeWindow holds the wall time at which the PID's holder started against
// the bounds of the record.
//
// NotAfter alone can prove the same process: the process that has the PID now, if
// it had it when the recorded process had it, is that one. NotBefore
// alone can only rule out a holder that is too old. Bounds that cannot be right,
// because they lie in the future, exclude each other, or end before the boot in
// which the record says that the process ran, were written by a clock that was
// set since: they prove nothing. The start of the boot only says why a start is
// too late: in a time namespace it may lie after the start of a process from
// outside.
func judgeWindow(id *Identity, began wallStart) (verdict Verdict, decided bool) {
	earliest, latest := id.NotBefore.Add(-windowTolerance), id.NotAfter.Add(windowTolerance)
	lower, upper := !id.NotBefore.IsZero(), !id.NotAfter.IsZero()
	inFuture := began.now.Add(windowTolerance)
	switch {
	case lower && id.NotBefore.After(inFuture), upper && id.NotAfter.After(inFuture),
		lower && upper && id.NotBefore.After(latest),
		upper && id.Boot.Boot != "" && began.boot.After(latest):
		return Verdict{}, false
	}
	tooLate := upper && began.process.After(latest)
	switch {
	case tooLate && began.boot.After(latest):
		return Verdict{State: Dead, Reason: Rebooted}, true
	case tooLate, lower && began.process.Before(earliest):
		return Verdict{State: Dead, Reason: PIDReused}, true
	case upper:
		return Verdict{State: Alive, Reason: SameProcess}, true
	}
	return Verdict{}, false
}

// verdictOf is the verdict on the recorded process.
func verdictOf(exited bool) Verdict {
	if exited {
		return Verdict{State: Dead, Reason: Zombie}
	}
	return Verdict{State: Alive, Reason: SameProcess}
}

var errNobody = errors.New("no process has its PID")

func unreadable(err error) Verdict { return Verdict{Reason: Unreadable, Err: err} }

func invalidPID(pid int) error { return fmt.Errorf("%w: PID %d", ErrInvalid, pid) }
