// Package liveness says what to record about a process, and whether that very
// process still lives.
//
// A PID alone cannot say so: after a reboot, or once the numbers have wrapped
// around, it belongs to another process. An [Identity] holds the PID together with
// evidence of which process had it. [Liveness.Check] compares the evidence with the
// running system.
//
//	id, err := liveness.CaptureProcess(cmd.Process) // after cmd.Start
//	// Keep id.String() in a file or a column. Later, in any program:
//	id, err = liveness.Parse(text)
//	system, err := liveness.New(liveness.Options{})
//	verdict := system.Check(id)
//	if verdict.State == liveness.Dead {
//		fmt.Println(verdict) // dead: the machine has rebooted since
//	}
//
// A living process that was captured is not called Dead, nor a dead one Alive, except
// where the evidence is too weak to tell, see [Identity]. In doubt the verdict is
// Unknown, which is not a kind of dead. A [Process], from [Open], acts on the recorded
// process and on no other; a [Watch] tells of deaths; [Marked] finds children that
// nobody recorded, by the marker that [Plant] gave them. [Detach] has a child outlive
// the terminal and its parent.
//
// [New] returns a [System]. It is the implementation of [Liveness] by pidfds and
// /proc on Linux and Android (*_linux.go), by sysctl(3) on macOS and the BSDs
// (sysctl.go, kqueue.go), by process handles on Windows (*_windows.go). On any other
// system verdicts are Unknown, and errors match [errors.ErrUnsupported]. The rules
// that all of them share are in judge.go.
//
// Errors match [ErrInvalid], [ErrNoProcess], [ErrUndecided], [ErrNoGroup],
// [os.ErrClosed] or errors.ErrUnsupported, or wrap that of the system call or context.
package liveness

import (
	"fmt"
	"os"
)

// Liveness judges whether recorded processes still live. Implementations are
// safe for concurrent use. [System] is that of the running system; package
// livenesstest has a scripted one for tests.
//
// The rules of evidence, from strong to weak:
//
//   - Proof of another boot of this machine is Dead, without a look at the PID.
//   - A PID that no process has, or that none can have, is Dead.
//   - A PID that a process has proves nothing by itself: without evidence the
//     verdict is Unknown.
//   - What the record and the process both have must agree: one number that
//     differs is another process, whatever the others say.
//   - The marker, and the bounds on the start in wall time, decide where the numbers
//     do not.
//   - What cannot be read or compared is Unknown, never Dead.
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
	// NoProcess: no process has the PID. Dead.
	NoProcess
	// PIDReused: another process has the PID now. Dead.
	PIDReused
	// Zombie: the process has exited, and its parent has not waited for it
	// yet, or on Windows a handle to it is still open. Dead.
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
// Capture fails where the PID namespace or the evidence cannot be read, as without a
// /proc or with no descriptors left.
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
