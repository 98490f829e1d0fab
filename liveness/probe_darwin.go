//go:build !ios

package liveness

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/internal/kinfo"
)

// hides: macOS has no jails, and shows each process to everybody.
func (runningKernel) hides() (jailed bool, rule string, err error) { return false, "", nil }

// environ returns nothing for programs that Apple protects
// (bsd/kern/kern_sysctl.c of xnu).
func (runningKernel) environ(pid int) ([]byte, error) {
	const name = "kern.procargs2"
	block, err := unix.SysctlRaw(name, pid)
	if err != nil {
		return nil, fmt.Errorf("sysctl %s.%d: %w", name, pid, err)
	}
	return kinfo.ParseProcArgs(block)
}
