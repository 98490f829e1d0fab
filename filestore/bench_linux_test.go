package filestore_test

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BenchmarkGateFloor is the least that a gate in a file can cost: the three
// system calls, without the runtime of Go.
func BenchmarkGateFloor(b *testing.B) {
	path, _ := newGate(b)
	name := append([]byte(path), 0)
	var buf [4096]byte
	const atFdcwd = unix.AT_FDCWD
	dir := atFdcwd // a variable, because the negative constant has no uintptr
	for b.Loop() {
		fd, _, errno := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(&name[0])), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
		if errno != 0 {
			b.Fatal(errno)
		}
		n, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
		if errno != 0 || n == 0 {
			b.Fatal(n, errno)
		}
		_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
	}
}
