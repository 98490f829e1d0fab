// Package liveness says what to record about a process, and whether that very
// process still lives.
//
// A PID alone cannot say so: after a reboot, or once the numbers have wrapped
// around, it belongs to somebody else. An [Identity] holds the PID together
// with evidence of which process it was. A [Liveness] compares the evidence
// with the running system and gives a [Verdict] of three values: alive, dead,
// unknown.
//
//	id, err := liveness.CaptureProcess(cmd.Process) // after cmd.Start
//	// keep id.String() in a file or a column; later, in any process:
//	id, err = liveness.Parse(text)
//	system, err := liveness.New(liveness.Options{})
//	fmt.Println(system.Check(id)) // dead: the machine has rebooted since
//
// # Evidence
//
// From strong to weak: the boot, the kernel's unique number of the process,
// its start stamp, a marker planted in its environment, bounds on its start in
// wall time.
//
//   - Proof of another boot of this machine is Dead, without a look at the PID.
//   - A PID that no process has, or that none can have, is Dead.
//   - A PID that a process has proves nothing by itself: without evidence the
//     verdict is Unknown.
//   - What the record and the process both have must agree: one number that
//     differs is another process, whatever the others say.
//   - What cannot be read or compared is Unknown, never Dead.
//
// # Guarantees
//
// A living process whose Identity this package captured is not called Dead,
// and a dead one is not called Alive, within the limits below.
//
// # Acting
//
// [Open] pins a recorded process, so that a signal or a wait is for that one and
// no other, whoever gets its PID meanwhile; it refuses one that is not known to be
// alive. A [Watch] tells of the deaths of many. [Marked] finds processes that carry
// a marker, such as those that a host started and did not come to record.
//
//	process, err := liveness.Open(id)
//	if errors.Is(err, liveness.ErrNoProcess) {
//		return // it is gone already
//	}
//	defer process.Close()
//	err = process.Terminate(ctx, 10*time.Second)
//
// # Limits
//
//   - To act on a process is as safe as the evidence on record is strong: where
//     it decides for a stranger, see below, that stranger is the one opened.
//   - Linux before 6.9 gives no unique number. There the start stamp decides,
//     and it counts in steps of 10 ms: a PID that is reused within the very
//     step in which the recorded process started looks alive. The same holds
//     for a [Options.Root] that shows another PID namespace, on any kernel.
//   - Numbers of another PID namespace cannot be looked up: Unknown, unless
//     [Options.ExclusiveNamespace] is set.
//   - Machines are told apart by their machine ID. Where records are shared by
//     machines of which one has none, or which were cloned with theirs, the
//     processes of the others look as if they were of an earlier boot. A
//     sandbox with a kernel of its own is such a machine.
//   - gVisor makes a boot ID for each procfs that is mounted: programs of one
//     sandbox that see different ones look like programs of another boot to each
//     other.
//   - A boot ID that repeats comes with PIDs and unique numbers that repeat:
//     there the start stamp alone tells, and nothing where it was recorded in
//     another time namespace.
//   - A virtual machine restored from a snapshot carries boot ID, start stamps
//     and unique numbers of the moment of the snapshot; its clones share them.
//   - Markers are readable for the same user only, inherited by children, and
//     lost when a process executes a program with another environment. A process
//     that was forked and has executed no program shows the environment of its
//     parent: a missing marker proves nothing there. gVisor does not tell such
//     processes from others; their marker looks missing.
//   - Except on Linux a process may edit the very environment that can be read:
//     a missing marker proves nothing there. On Windows, macOS, NetBSD and
//     DragonFly the start stamp is a wall time, which a clock set back can
//     repeat in principle. PIDs of another Windows container may look like
//     nobody's.
//   - FreeBSD can hide processes so that they look like none, see [System].
//   - Where the boot ID is derived, see package bootid, two boots can have the same
//     one: then an equal start stamp is proof only as far as it does not repeat.
//   - NotBefore and NotAfter trust the wall clock.
//   - hidepid hides other users' processes from /proc. They are still told
//     apart where the kernel has pidfs; elsewhere they are Unknown.
//
// # Implementations
//
// A [System] judges by pidfds and /proc on Linux and Android, by sysctl(3) on
// macOS, FreeBSD, OpenBSD, NetBSD and DragonFly, and by process handles on
// Windows. On every other system captures fail and verdicts are Unknown, both
// with an error that matches [errors.ErrUnsupported].
//
// # Errors
//
// Errors match [ErrInvalid], [ErrNoProcess], [ErrUndecided], [ErrNotLeader],
// [os.ErrClosed] or [errors.ErrUnsupported], or wrap the error of the failed system call or of the
// context.
package liveness

import (
	"fmt"
	"os"
)

// Liveness judges whether recorded processes still live. Implementations are
// safe for concurrent use. [New] returns that of the running system, by /proc, by
// sysctl(3) or by Windows' process handles, see [System]; package livenesstest has
// a scripted one for tests.
type Liveness interface {
	// Check says whether the recorded process lives, at some instant between
	// call and return. It never fails: what it cannot find out is Unknown,
	// with the cause in Err.
	Check(Identity) Verdict
}

// State is the answer of a [Verdict].
type State uint8

const (
	// Unknown, the zero value, means that the question could not be decided.
	// It is not a kind of dead.
	Unknown State = iota
	// Alive means that the recorded process runs.
	Alive
	// Dead means that the recorded process does not run and never will again.
	Dead
)

var stateNames = [...]string{Unknown: "unknown", Alive: "alive", Dead: "dead"}

// String returns "unknown", "alive" or "dead".
func (s State) String() string { return name(stateNames[:], int(s)) }

// Reason says why a [Verdict] is what it is.
type Reason uint8

const (
	// NoEvidence, the zero value: a process has the PID, and nothing was
	// recorded by which to tell whose it is. Unknown.
	NoEvidence Reason = iota
	// SameProcess: the evidence matches the process that has the PID. Alive.
	SameProcess
	// Rebooted: the process ran in an earlier boot of this machine. Dead.
	Rebooted
	// NoProcess: nobody has the PID. Dead.
	NoProcess
	// PIDReused: another process has the PID now. Dead.
	PIDReused
	// Zombie: the process has exited, and its parent has not waited for it
	// yet, or on Windows somebody still has a handle to it. Dead.
	Zombie
	// NotAProcess: the number is now that of a thread of another process.
	// Dead.
	NotAProcess
	// OtherMachine: the record is from another machine. Unknown.
	OtherMachine
	// OtherNamespace: the record is from another PID namespace. Dead when
	// that namespace is proven or declared to be gone, otherwise Unknown.
	OtherNamespace
	// Unreadable: the evidence could not be read. Unknown, with the cause in
	// Err.
	Unreadable
)

var reasonNames = [...]string{
	NoEvidence: "no_evidence", SameProcess: "same_process", Rebooted: "rebooted", NoProcess: "no_process",
	PIDReused: "pid_reused", Zombie: "zombie", NotAProcess: "not_a_process", OtherMachine: "other_machine",
	OtherNamespace: "other_namespace", Unreadable: "unreadable",
}

var reasonSentences = [...]string{
	NoEvidence:     "nothing recorded tells whose PID it is now",
	SameProcess:    "the recorded process runs",
	Rebooted:       "the machine has rebooted since",
	NoProcess:      "no process has its PID",
	PIDReused:      "its PID belongs to another process now",
	Zombie:         "it has exited and waits to be reaped",
	NotAProcess:    "its PID is now the number of a thread",
	OtherMachine:   "it was recorded on another machine",
	OtherNamespace: "it was recorded in another PID namespace",
	Unreadable:     "the evidence could not be read",
}

// String returns the reason in lower case with underscores, as in "pid_reused".
func (r Reason) String() string { return name(reasonNames[:], int(r)) }

func name(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("invalid(%d)", i)
}

// Verdict is the answer of [Liveness.Check]. The zero Verdict is Unknown,
// NoEvidence.
type Verdict struct {
	// State is the answer, Reason why it is that.
	State  State
	Reason Reason
	// Err is what kept the evidence from being read, when something did. It
	// matches [ErrInvalid] when the Identity itself is not a possible one.
	Err error
}

// String returns a sentence, such as "dead: its PID belongs to another process
// now".
func (v Verdict) String() string {
	s := v.State.String() + ": " + name(reasonSentences[:], int(v.Reason))
	if v.Err != nil {
		s += " (" + v.Err.Error() + ")"
	}
	return s
}

// Self returns the identity of the running process.
func Self() (Identity, error) {
	id, err := self()
	if err != nil {
		return Identity{}, fmt.Errorf("liveness: capture self: %w", err)
	}
	return id, nil
}

// Capture returns the identity of the process that has the PID now. Between
// the moment the caller learned the PID and this call the number can have
// passed to another process: for a child use [CaptureProcess], which has no
// such gap.
//
// A part that the system does not give is left empty. The error matches
// [ErrNoProcess] when no process has the PID, and [ErrInvalid] when none can.
// Where the PID namespace or the evidence cannot be read, as with no descriptors
// left, there is an error and no Identity: without a /proc, nothing
// can be captured.
func Capture(pid int) (Identity, error) {
	id, err := capture(pid)
	if err != nil {
		return Identity{}, fmt.Errorf("liveness: capture PID %d: %w", pid, err)
	}
	return id, nil
}

// CaptureProcess returns the identity of a started process. It reads through
// the handle that package os holds, so the PID cannot pass to another process
// meanwhile; where there is no handle, the same holds for a child that has not
// been waited for. Call it before Wait. A process that has exited but was not
// waited for still has an identity; on OpenBSD and NetBSD one without Start, on
// DragonFly none.
//
// The error matches [ErrNoProcess] when the process is gone, and
// [os.ErrProcessDone] too when it has been waited for.
func CaptureProcess(process *os.Process) (Identity, error) {
	if process == nil {
		return Identity{}, fmt.Errorf("liveness: capture process: %w: nil process", ErrInvalid)
	}
	id, err := captureProcess(process)
	if err != nil {
		return Identity{}, fmt.Errorf("liveness: capture PID %d: %w", process.Pid, err)
	}
	return id, nil
}
