package liveness

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// hides: of what security.models.extensions.curtain hides, kill(2) tells that it
// exists (sys/secmodel/extensions/secmodel_extensions.c).
func (runningKernel) hides() (jailed bool, rule string, err error) { return false, "", nil }

func (runningKernel) environ(pid int) ([]byte, error) {
	const name, env = "kern.proc_args", 3 // KERN_PROC_ENV
	environ, err := unix.SysctlRaw(name, pid, env)
	if err != nil {
		return nil, fmt.Errorf("sysctl %s.%d.%d: %w", name, pid, env, err)
	}
	return environ, nil
}
