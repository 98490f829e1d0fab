//go:build (darwin && !ios) || dragonfly || freebsd || netbsd || openbsd

package bootid

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/internal/kinfo"
)

func current() (ID, error) {
	system, ok := kinfo.Of(runtime.GOOS, runtime.GOARCH)
	if !ok {
		return ID{}, fmt.Errorf("boot ID on %s/%s: %w", runtime.GOOS, runtime.GOARCH, errors.ErrUnsupported)
	}
	kernel := runningKernel{system}
	machine, err := machine.get(func() (string, error) { return sysctlMachine(system, kernel) })
	if err != nil {
		return ID{}, err
	}
	id, err := sysctlBoot(system, kernel)
	id.Machine = machine
	return id, err
}

// runningKernel is the kernel that this process runs on.
type runningKernel struct{ kinfo.System }

func (runningKernel) text(name string) (string, error) {
	text, err := unix.Sysctl(name)
	return text, missing(err)
}

func (runningKernel) raw(name string) ([]byte, error) {
	raw, err := unix.SysctlRaw(name)
	return raw, missing(err)
}

func missing(err error) error {
	switch err {
	case unix.ENOENT, unix.ENXIO, unix.EOPNOTSUPP:
		return fmt.Errorf("%w: %w", errMissing, err)
	}
	return err
}

func (k runningKernel) init() (start initStart, err error) {
	if start.before, err = k.BootTime(); err != nil {
		return initStart{}, err
	}
	if name, args, ok := k.InitThread(); ok {
		var records []byte
		if records, err = unix.SysctlRaw(name, args...); err != nil {
			return initStart{}, fmt.Errorf("sysctl %s %v: %w", name, args, err)
		}
		start.process, start.thread, err = k.DecodeInitThread(records)
	} else {
		var record []byte
		record, err = k.Read(1)
		if err == nil && len(record) > 0 {
			start.process, err = k.Decode(record)
		}
	}
	if err != nil {
		return initStart{}, err
	}
	start.after, err = k.BootTime()
	return start, err
}

func awake() (time.Duration, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(awakeClock, &now); err != nil {
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return time.Duration(now.Nano()), nil
}
