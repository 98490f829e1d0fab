package liveness

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// openSelfPidfd opens a pidfd of this process. On Android before 12 the system
// call kills its caller with SIGSYS, which package os knows how to avoid.
func openSelfPidfd() (int, error) {
	if runtime.GOOS != "android" {
		return unix.PidfdOpen(os.Getpid(), 0)
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return -1, err
	}
	defer self.Release()
	fd := -1
	if handleErr := self.WithHandle(func(handle uintptr) { fd, err = unix.FcntlInt(handle, unix.F_DUPFD_CLOEXEC, 0) }); handleErr != nil {
		return -1, fmt.Errorf("%w: %w", unix.ENOSYS, handleErr)
	}
	return fd, err
}

func isPidfs(fd int) bool {
	var fs unix.Statfs_t
	return unix.Fstatfs(fd, &fs) == nil && fs.Type == unix.PID_FS_MAGIC
}

// uniqueOf reads the number of the process behind a pidfd on pidfs. A 32-bit
// kernel cuts inode numbers to 32 bits; the file handle has all of it (Linux
// 6.14, pidfs_encode_fh in fs/pidfs.c).
func uniqueOf(fd int) (uint64, error) {
	if strconv.IntSize == 32 {
		handle, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH)
		if err != nil {
			return 0, err
		}
		if handle.Size() != 8 {
			return 0, unix.EOPNOTSUPP
		}
		return binary.NativeEndian.Uint64(handle.Bytes()), nil
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return 0, err
	}
	return stat.Ino, nil
}

// The system calls of a check return at once. Package unix tells the scheduler before
// and after each, which takes a fifth of a check's time where system calls are cheap.
// fstat(2) differs between architectures, and is left to unix.

// rawPidfdOpen is pidfd_open(2).
func rawPidfdOpen(pid int) (int, unix.Errno) {
	fd, _, errno := unix.RawSyscall(unix.SYS_PIDFD_OPEN, uintptr(pid), 0, 0)
	return int(fd), errno
}

func rawClose(fd int) { _, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0) }

// exited reports whether a pidfd says that its process has ended, reaped or not.
// ppoll(2), which every architecture has, fails if the limit on descriptors is 0.
func exited(pidfd int) (bool, error) {
	fd := unix.PollFd{Fd: int32(pidfd), Events: unix.POLLIN}
	var noWait [2]int64 // a timespec of any architecture
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fd)), 1, uintptr(unsafe.Pointer(&noWait)), 0, 0, 0)
		switch errno {
		case 0:
			return n == 1, nil
		case unix.EINTR:
		default:
			return false, os.NewSyscallError("ppoll", errno)
		}
	}
}

// reaped reports whether the process of the pidfd has lost its PID.
func reaped(pidfd int) bool { return unix.PidfdSendSignal(pidfd, 0, nil, 0) == unix.ESRCH }
