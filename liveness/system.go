package liveness

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"strings"

	"github.com/google/uuid"

	"github.com/rollcall-go/rollcall/bootid"
)

// System is the [Liveness] of the running system, and does what else this
// package does by the same [Options]. [New] makes it. It is safe for concurrent
// use. What it rests on differs:
//
// Linux and Android: pidfds and /proc. Where the kernel has pidfs (Linux 6.9), a
// check of a living process costs pidfd_open(2), fstat(2), ppoll(2) and close(2),
// and, the first time, one read of /proc/PID/stat. Before that, and with an
// [Options.Root] that shows another PID namespace, there is no Unique, and the start
// stamp decides. hidepid hides the processes of other users from /proc: they are told
// apart by Unique where there is one, and Unknown elsewhere.
//
// macOS, FreeBSD, OpenBSD, NetBSD and DragonFly BSD: the process records that
// sysctl(3) gives. Start is in microseconds, and no step of the clock moves it: on
// FreeBSD and OpenBSD it is the time since boot, computed as the published start
// less kern.boottime, which move together; on macOS, NetBSD and DragonFly it is
// the wall time that the kernel noted when the process was forked, on NetBSD to a
// clock tick of 10 ms. There is no Unique.
//
// These kernels prove that no process has a PID if they show no record of it and
// kill(2) finds none. On FreeBSD a jail, and rules such as
// security.bsd.see_other_uids (security(7)), hide processes from both: Unknown,
// unless the rules are off and this process is in no jail, or
// [Options.ExclusiveNamespace] says that the records are of the jail's own. Markers
// are read from the environment with which the process started its program, which it
// may edit; macOS keeps those of Apple's own programs to itself, DragonFly gives none.
//
// Windows: process handles. Start is the creation time of GetProcessTimes, a
// FILETIME; Unique is ProcessStartKey where Windows gives it (Windows 10). A wait for
// the handle tells whether a process has exited, not its exit code. A process that
// may not be opened exists; its creation time is found in the list of all processes.
// Markers are read from the environment of processes of the same user and the same
// word size. In a container, which Windows marks by the value ContainerType of
// HKLM\SYSTEM\CurrentControlSet\Control, processes outside of it are not shown: a
// PID that no process seems to have is Unknown there, unless ExclusiveNamespace is
// set.
//
// On any other system verdicts are Unknown, and all else fails, with an error
// that matches [errors.ErrUnsupported]. The zero System is not usable: its verdicts
// are Unknown, and it opens nothing.
type System struct{ view }

var (
	_ Liveness = (*System)(nil)
	_ Opener   = (*System)(nil)
)

// Options are the choices of [New]. The zero value is right for a program that
// judges processes of its own PID namespace.
type Options struct {
	// Root is where procfs is mounted; empty is "/proc". With another root,
	// such as a host's /proc inside a container, PIDs are looked up in that
	// procfs and nowhere else; it is kept open, and so mounted, for as long
	// as the System is in use. Linux and Android only.
	Root string

	// ExclusiveNamespace says that one PID namespace at a time uses the
	// records, as when a store lies on the volume of a single container. A
	// record of another PID namespace is then Dead, because its namespace
	// was that of an earlier container; otherwise it is Unknown. In a jail of
	// FreeBSD, and in a container of Windows, it says that all records are of
	// that jail or container.
	ExclusiveNamespace bool

	// SameMachine says that all records are of this machine, whatever its
	// machine ID was when they were written: some systems make a new one at
	// each boot, and images bring theirs along. Without it a record with
	// another machine ID is Unknown, unless its boot is the running one.
	SameMachine bool

	// MarkerVariable is the environment variable that carries markers; empty is
	// ROLLCALL_MARKER.
	MarkerVariable string
}

// New returns the System for the options. It reads what cannot change while this
// process runs, such as the boot ID, once; make one and keep it.
//
// New fails where the process has no descriptors left to look around. The error
// matches [ErrInvalid] when Root is not a procfs, or MarkerVariable is no
// name of a variable.
func New(options Options) (*System, error) {
	if options.MarkerVariable == "" {
		options.MarkerVariable = defaultVariable
	}
	if strings.ContainsAny(options.MarkerVariable, "=\x00") {
		return nil, fmt.Errorf("liveness: %w: MarkerVariable %q", errInvalidOptions, options.MarkerVariable)
	}
	view, err := newView(options)
	if err != nil {
		return nil, fmt.Errorf("liveness: %w", err)
	}
	return &System{view}, nil
}

var errNotMade = errors.New("the System was not made by New")

// Check implements [Liveness].
func (s *System) Check(id Identity) Verdict {
	if s.highestPID == 0 {
		return unreadable(errNotMade)
	}
	return s.check(&id)
}

// CompareBoot relates a recorded boot to the running one, by the rules of Check. A
// heartbeat, which has a boot and no process, is judged by it: with
// [Options.SameMachine] the machine IDs are not compared, and two boot IDs that were
// given to containers prove nothing. Package lifecycle asks any [Liveness] for this
// method, so a Liveness that wraps a System passes it on.
func (s *System) CompareBoot(boot bootid.ID) bootid.Relation {
	relation, _ := s.compareBoot(&boot)
	return relation
}

// Open implements [Opener]: it is [Open] by the options of the System.
func (s *System) Open(id Identity) (*Process, error) {
	if s.highestPID == 0 {
		return nil, openError(id, &verdictError{unreadable(errNotMade)})
	}
	return openProcess(&s.view, id)
}

// Self returns the identity of the running process, as the function [Self] does.
func (s *System) Self() (Identity, error) { return Self() }

// Capture returns the identity of the process that has the PID now, in the PID
// namespace of this process whatever the Root is, as the function [Capture] does.
func (s *System) Capture(pid int) (Identity, error) { return Capture(pid) }

// CaptureProcess returns the identity of a started process, as the function
// [CaptureProcess] does.
func (s *System) CaptureProcess(process *os.Process) (Identity, error) {
	return CaptureProcess(process)
}

// Plant puts a new marker into the environment that cmd will start with, as the
// function [Plant] does, in the variable of [Options.MarkerVariable].
func (s *System) Plant(cmd *exec.Cmd) string { return plant(cmd, s.markerVariable) }

// NewWatch returns a Watch whose processes this System judges, as the function
// [NewWatch] does.
func (s *System) NewWatch() (*Watch, error) {
	if s.highestPID == 0 {
		return nil, fmt.Errorf("liveness: watch: %w", errNotMade)
	}
	return watchBy(&s.view)
}

// Marked lists the processes that carry a marker in the variable of
// [Options.MarkerVariable], as the function [Marked] does.
func (s *System) Marked(ctx context.Context) iter.Seq2[MarkedProcess, error] {
	if s.highestPID == 0 {
		return func(yield func(MarkedProcess, error) bool) {
			yield(MarkedProcess{}, fmt.Errorf("liveness: list marked processes: %w", errNotMade))
		}
	}
	return markedBy(ctx, &s.view)
}

// defaultVariable is what an empty Options.MarkerVariable is.
const defaultVariable = "ROLLCALL_MARKER"

// Plant puts a new marker, a UUIDv7, into the environment that cmd will start
// with, as ROLLCALL_MARKER, and returns it for [Identity.Marker]. Call it before cmd.Start. Other
// variables stay as they are; a marker planted earlier, or inherited, is
// replaced. A host with an [Options.MarkerVariable] of its own uses
// [System.Plant].
func Plant(cmd *exec.Cmd) string { return plant(cmd, defaultVariable) }

func plant(cmd *exec.Cmd, variable string) string {
	marker := uuid.Must(uuid.NewV7()).String()
	cmd.Env = append(cmd.Environ(), variable+"="+marker)
	return marker
}
