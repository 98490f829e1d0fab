package liveness

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func (runningKernel) hides() (jailed bool, rule string, err error) {
	return freebsdHides(os.Geteuid(), func(name string) (value uint32, exists bool, err error) {
		value, err = unix.SysctlUint32(name)
		if errors.Is(err, unix.ENOENT) {
			return 0, false, nil
		}
		return value, err == nil, err
	})
}

func (runningKernel) environ(pid int) ([]byte, error) {
	const name = "kern.proc.env"
	environ, err := unix.SysctlRaw(name, pid)
	if err != nil {
		return nil, fmt.Errorf("sysctl %s.%d: %w", name, pid, err)
	}
	return environ, nil
}
