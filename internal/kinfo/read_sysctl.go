//go:build (darwin && !ios) || dragonfly || freebsd || netbsd || openbsd

package kinfo

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Read returns the record of the process that has the PID, empty where the
// kernel shows none.
func (s *System) Read(pid int) ([]byte, error) {
	name, args := s.Query(pid)
	record, err := unix.SysctlRaw(name, args...)
	if err == unix.ESRCH {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("sysctl %s %v: %w", name, args, err)
	}
	return record, nil
}

// ReadAll returns the records of all processes that the kernel shows.
func (s *System) ReadAll() ([][]byte, error) {
	name, args := s.List()
	list, err := unix.SysctlRaw(name, args...)
	if err != nil {
		return nil, fmt.Errorf("sysctl %s %v: %w", name, args, err)
	}
	return s.Split(list)
}

// BootTime returns kern.boottime in microseconds since 1970.
func (s *System) BootTime() (int64, error) {
	const name = "kern.boottime"
	began, err := unix.SysctlTimeval(name)
	if err != nil {
		return 0, fmt.Errorf("sysctl %s: %w", name, err)
	}
	return s.bootMicros(int64(began.Sec), int64(began.Usec)), nil
}
