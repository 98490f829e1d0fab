package liveness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/rollcall-go/rollcall/internal/pinned"
	"github.com/rollcall-go/rollcall/internal/signals"
)

// Opener is a [Liveness] that can also open the processes it judges. [System]
// does; what its Options say holds for Open too.
type Opener interface {
	// Open is [Open] by this Liveness.
	Open(Identity) (*Process, error)
}

// Open opens the recorded process, so that what is done through the [Process]
// is done to that one and to no other, even if its PID passes on. The process is
// pinned first and judged then, so that the one that was judged is the one that is
// pinned. To act on it is as safe as the evidence on record is strong: where that
// takes another process for the recorded one, see [Identity], the other is opened.
// Open judges with the zero Options; for others call [System.Open].
//
// Only a process whose verdict is Alive is opened. Otherwise the error is that of
// [Verdict.Refusal]: it matches [ErrNoProcess] when the recorded process is dead and
// [ErrUndecided] when that is not known. The zero Identity and one that
// no process can have give an error that matches [ErrInvalid] too. Opening sends
// nothing.
//
// Linux: a pidfd (pidfd_open(2)). The error matches [errors.ErrUnsupported] when
// the kernel has none (before 5.3), and where the Root of the Liveness shows
// another PID namespace. Windows: a handle with the right to terminate; without
// that right the error wraps ERROR_ACCESS_DENIED. macOS and the BSDs: a kqueue(2)
// that tells of the process's end, see [Process.Signal]. Elsewhere the error
// matches errors.ErrUnsupported.
func Open(id Identity) (*Process, error) {
	system, err := New(Options{})
	if err != nil {
		return nil, openError(id, err)
	}
	return system.Open(id)
}

// verdictError says that a process is not opened, because it is not known to be alive.
type verdictError struct{ Verdict Verdict }

func (e *verdictError) Error() string { return e.Verdict.String() }

func (e *verdictError) Is(target error) bool {
	return e.Verdict.State == Dead && target == ErrNoProcess || e.Verdict.State == Unknown && target == ErrUndecided
}

func (e *verdictError) Unwrap() error { return e.Verdict.Err }

// Refusal returns the error with which [Open] refuses a process of this verdict: nil if
// it is Alive. The error matches [ErrNoProcess] when the verdict is Dead,
// [ErrUndecided] when it is Unknown, and whatever Err matches. Its text is that of
// String. It is for an [Opener] that judges by itself.
func (v Verdict) Refusal() error {
	if v.State == Alive {
		return nil
	}
	return &verdictError{v}
}

// Process is one living process that was on record, opened by [Open].
//
//	process, err := liveness.Open(id)
//	if errors.Is(err, liveness.ErrNoProcess) {
//		return // it is gone already
//	}
//	defer process.Close()
//	err = process.Terminate(ctx, 10*time.Second)
//
// Close it when it is no longer needed. It is safe for concurrent use; after Close its
// methods return an error that matches [os.ErrClosed].
//
// A Process keeps one descriptor, on macOS and the BSDs three, on Windows one
// handle, until it is closed. On Windows the handle also keeps the PID from being
// given to another process.
type Process struct {
	id   Identity
	hold pinned.Process
}

// NewProcess makes a Process of a hold on it, which must not be nil. It is for an [Opener]
// of another kind than [System], such as the scripted one of package livenesstest.
// The methods of the hold are those of Process, without the prefix of their errors;
// WaitGroup returns when no process of the group runs any more.
func NewProcess(id Identity, hold pinned.Process) *Process { return &Process{id, hold} }

// processes is what a system gives beyond verdicts. The views of the systems
// implement it.
type processes interface {
	// open pins the recorded process. The error is a verdictError when its
	// verdict is not Alive.
	open(*Identity) (pinned.Process, error)
	newMultiplexer() (multiplexer, error)
	// findMarked lists the processes that carry a marker, and says whose
	// environment could not be read. Inherited is not set.
	findMarked(context.Context) (found []MarkedProcess, unread []error, err error)
}

func openProcess(system processes, id Identity) (*Process, error) {
	if id.IsZero() {
		return nil, openError(id, &verdictError{unreadable(errZeroIdentity)})
	}
	hold, err := system.open(&id)
	if err != nil {
		return nil, openError(id, err)
	}
	return NewProcess(id, hold), nil
}

var errZeroIdentity = fmt.Errorf("%w: no process is recorded", ErrInvalid)

func openError(id Identity, err error) error {
	return fmt.Errorf("liveness: open PID %d: %w", id.PID, err)
}

func (p *Process) wrap(action string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("liveness: %s PID %d: %w", action, p.id.PID, err)
}

// Identity returns the identity by which the process was opened.
func (p *Process) Identity() Identity { return p.id }

// Signal sends a signal to the process, and to no other process. The error
// matches [ErrNoProcess] when the process is gone. One that has exited and was
// not waited for may still take signals, which do nothing.
//
// Linux: pidfd_send_signal(2); sig is a [syscall.Signal], 0 sends nothing and
// tells whether it could be sent. Windows: only [os.Kill], which is
// TerminateProcess with exit code 1, as package os does it; everything else
// gives an error that matches [errors.ErrUnsupported], because Windows has no
// request that reaches one process only.
//
// macOS and the BSDs can only signal a number. The kqueue is asked whether the
// process has ended, and the process is judged, just before kill(2). For some
// microseconds after that it can still end, be waited for by its parent, and its
// PID pass to a new process: a signal could reach the new one.
func (p *Process) Signal(sig os.Signal) error { return p.wrap("signal", p.hold.Signal(sig)) }

// SignalGroup sends a signal to the process group that the process leads. It
// does nothing, and the error says so, when the process does not lead one or the
// calling process is in it ([ErrNoGroup]), or when it is gone ([ErrNoProcess]).
//
// Linux 6.9 and later: pidfd_send_signal(2) with PIDFD_SIGNAL_PROCESS_GROUP,
// which reaches the group also when its leader has exited and been waited for,
// and never another group. Earlier kernels know a group by its number only. It
// is the leader's until the leader has been waited for, which is looked at just
// before kill(2); in between, another process can wait for it and the number
// pass to a new group. After that the error matches [errors.ErrUnsupported] if
// some group has the number.
//
// macOS and the BSDs: as on earlier kernels of Linux.
//
// Windows has no process groups. The group is the tree of processes that the
// process started: those that have its PID as their parent's and were not
// created before it, their children likewise, and so on; a child whose parent
// has exited before is not found. Only [os.Kill] is possible, as with Signal.
// The job that the processes may belong to is left alone: it has no name by
// which to open it, and may hold others.
func (p *Process) SignalGroup(sig os.Signal) error {
	return p.wrap("signal the group of", p.hold.SignalGroup(sig))
}

// Wait returns nil when the process has exited, whether or not its parent has
// waited for it. It need not be a child of the caller, and stays for its parent
// to wait for. When ctx is done first, the error wraps ctx.Err().
//
// Waiting takes no processor time. On macOS and the BSDs it takes a thread, elsewhere
// none. A process that executes another program stays the same one.
func (p *Process) Wait(ctx context.Context) error { return p.wrap("wait for", p.hold.Wait(ctx)) }

// Terminate ends the process: it sends SIGTERM and, if the process is still
// there after the grace, SIGKILL, and returns nil when it has exited. A process
// that is gone already is no error. With no grace it sends SIGKILL at once. After
// SIGTERM it sends SIGCONT, because a process that was stopped would not come to
// handle the request.
//
// When ctx is done first, the error wraps ctx.Err(); within the grace, SIGKILL
// is not sent then. On Windows, where a process cannot be asked, it is
// terminated at once: a program that has its own way to ask does so, calls Wait
// with a deadline, and then this.
func (p *Process) Terminate(ctx context.Context, grace time.Duration) error {
	return p.wrap("terminate", terminate(ctx, grace, p.hold.Signal, p.hold.Wait))
}

// TerminateGroup ends the process group that the process leads, on Windows the
// tree of processes that it started, as Terminate ends one process, and returns
// nil when no process of it runs any more. What processes of the group start
// meanwhile is ended with them. The errors are those of [Process.SignalGroup],
// but a group that is gone already is no error. On macOS and the BSDs it has ended
// when no process has its number any more, not even a zombie. On Linux the processes of
// the group are found in /proc, without which the error matches
// [errors.ErrUnsupported]; one that may not be signalled, such as another
// user's, is waited for until ctx is done, and one that hidepid hides is not waited
// for.
func (p *Process) TerminateGroup(ctx context.Context, grace time.Duration) error {
	return p.wrap("terminate the group of", terminate(ctx, grace, p.hold.SignalGroup, p.hold.WaitGroup))
}

func terminate(ctx context.Context, grace time.Duration, signal func(os.Signal) error, wait func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if grace > 0 {
		err := signal(syscall.SIGTERM)
		if err == nil && signals.Continue != nil {
			_ = signal(signals.Continue) // if it is gone, the wait says so
		}
		switch {
		case err == nil:
			gentle, cancel := context.WithTimeout(ctx, grace)
			defer cancel()
			if err := wait(gentle); err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
				return err
			}
		case errors.Is(err, ErrNoProcess):
			return nil
		case !errors.Is(err, errors.ErrUnsupported):
			return err
		}
	}
	if err := signal(os.Kill); err != nil {
		if errors.Is(err, ErrNoProcess) {
			return nil
		}
		return err
	}
	return wait(ctx)
}

// Close gives up the hold on the process. The process goes on. A Wait that is
// under way returns.
func (p *Process) Close() error { return p.wrap("close", p.hold.Close()) }
