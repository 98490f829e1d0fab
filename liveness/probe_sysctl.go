//go:build (darwin && !ios) || dragonfly || freebsd || netbsd || openbsd

package liveness

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/kinfo"
)

// view is what a System is here.
type view = sysctlView

// runningKernel is the kernel that this process runs on.
type runningKernel struct{ kinfo.System }

func newView(options Options) (sysctlView, error) {
	system, ok := kinfo.Of(runtime.GOOS, runtime.GOARCH)
	if !ok {
		return sysctlView{}, fmt.Errorf("liveness on %s/%s: %w", runtime.GOOS, runtime.GOARCH, errors.ErrUnsupported)
	}
	return newSysctlView(system, runningKernel{system}, options)
}

func (runningKernel) boot() (bootid.ID, error) { return bootid.Current() }

func (k runningKernel) record(pid int) ([]byte, error) { return k.Read(pid) }

func (k runningKernel) records() ([][]byte, error) { return k.ReadAll() }

func (k runningKernel) bootTime() (int64, error) { return k.BootTime() }

func (runningKernel) kqueue() (kqueue, error) { return openKqueue() }

func (runningKernel) find(pid int) error {
	err := unix.Kill(pid, 0)
	if err == unix.ESRCH {
		return errNobody
	}
	return os.NewSyscallError("kill", err)
}

func capture(pid int) (Identity, error) {
	view, err := newView(Options{})
	if err != nil {
		return Identity{}, err
	}
	return view.capture(pid)
}

func self() (Identity, error) { return capture(os.Getpid()) }

// captureProcess relies on that the PID of a child is not given away until it
// is waited for: these systems have no handles.
func captureProcess(process *os.Process) (Identity, error) {
	id, err := capture(process.Pid)
	switch signalErr := process.Signal(unix.Signal(0)); {
	case errors.Is(signalErr, os.ErrProcessDone):
		return Identity{}, fmt.Errorf("%w: %w", ErrNoProcess, signalErr)
	case err != nil:
		return Identity{}, err
	case signalErr != nil && !errors.Is(signalErr, unix.EPERM):
		return Identity{}, signalErr
	}
	return id, nil
}
