//go:build !ios

package bootid

import (
	"unsafe"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// awakeClock stops while the machine sleeps (clock_gettime(3)).
const awakeClock = unix.CLOCK_UPTIME_RAW

func (runningKernel) platformUUID() (uuid.UUID, error) {
	var id uuid.UUID
	wait := unix.Timespec{Sec: 1}                                                                                      // for the drivers, at boot; zero waits forever
	_, _, errno := unix.Syscall(unix.SYS_GETHOSTUUID, uintptr(unsafe.Pointer(&id)), uintptr(unsafe.Pointer(&wait)), 0) //nolint:staticcheck // libSystem's wrapper needs cgo
	if errno != 0 {                                                                                                    // a sandbox, or a machine without one: EWOULDBLOCK after the wait
		return uuid.Nil, nil
	}
	return id, nil
}
