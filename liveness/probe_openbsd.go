package liveness

import (
	"fmt"
	"syscall"
	"unsafe"
)

// hides: OpenBSD shows each process to everybody.
func (runningKernel) hides() (jailed bool, rule string, err error) { return false, "", nil }

// environ asks for KERN_PROC_ARGS, which x/sys has no name for.
func (k runningKernel) environ(pid int) ([]byte, error) {
	mib := [4]int32{1, 55, int32(pid), 3} // CTL_KERN, KERN_PROC_ARGS, KERN_PROC_ENV
	const argMax = 512 << 10              // ARG_MAX, sys/sys/syslimits.h
	block := make([]byte, argMax)
	size := uintptr(len(block))
	_, _, errno := syscall.Syscall6(syscall.SYS___SYSCTL, uintptr(unsafe.Pointer(&mib[0])), uintptr(len(mib)),
		uintptr(unsafe.Pointer(&block[0])), uintptr(unsafe.Pointer(&size)), 0, 0)
	if errno != 0 {
		return nil, fmt.Errorf("sysctl KERN_PROC_ARGS of %d: %w", pid, errno)
	}
	base := uint64(uintptr(unsafe.Pointer(&block[0])))
	return k.ParseEnvVector(block[:min(size, argMax)], base, int(unsafe.Sizeof(size)))
}
