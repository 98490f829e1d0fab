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

// sysctls is the running kernel.
type sysctls struct{ kinfo.System }

func newView(options Options) (sysctlView, error) {
	system, ok := kinfo.Of(runtime.GOOS, runtime.GOARCH)
	if !ok {
		return sysctlView{}, fmt.Errorf("liveness on %s/%s: %w", runtime.GOOS, runtime.GOARCH, errors.ErrUnsupported)
	}
	return newSysctlView(system, sysctls{system}, options)
}

func (sysctls) boot() (bootid.ID, error) { return bootid.Current() }

func (k sysctls) record(pid int) ([]byte, error) { return k.Read(pid) }

func (k sysctls) bootTime() (int64, error) { return k.BootTime() }

func (sysctls) find(pid int) error {
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
