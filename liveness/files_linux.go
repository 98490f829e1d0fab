package liveness

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
	"unsafe"

	"github.com/tklauser/go-sysconf"
	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/internal/procfs"
)

// maxStatReads is how often a stat line is read while it is that of a replaced thread.
// A process would have to execute a program at each of them.
const maxStatReads = 100

var errReplaced = errors.New("its leading thread is replaced again and again")

// readStat reads and parses /proc/PID/stat without allocating. If the line says that
// the process has exited, it is read again: gVisor may write it while a thread is
// replaced, with the number from before and the state from after.
func (v *procView) readStat(pid int) (procfs.Stat, error) {
	var buf [512]byte // field 22 ends within 400 bytes
	exited := false
	for range maxStatReads {
		n, err := v.read(pid, "/stat", buf[:])
		if err != nil {
			return procfs.Stat{}, v.pathError(pid, "/stat", err)
		}
		stat, err := procfs.ParseStat(buf[:n])
		if err != nil {
			return procfs.Stat{}, v.pathError(pid, "/stat", err)
		}
		switch {
		case stat.Replaced():
		case stat.Exited() && !exited:
			exited = true
		default:
			return stat, nil
		}
	}
	return procfs.Stat{}, v.pathError(pid, "/stat", errReplaced)
}

func (v *procView) pathError(pid int, file string, err error) error {
	return &os.PathError{Op: "read", Path: v.root + "/" + strconv.Itoa(pid) + file, Err: err}
}

// read reads the beginning of a file of a process in one system call. In our
// own namespace it makes the path on the stack and calls openat(2) itself,
// because unix.Open would copy the path to the heap.
func (v *procView) read(pid int, file string, buf []byte) (int, error) {
	var fd int
	if v.dir != nil {
		f, err := v.dir.Open(strconv.Itoa(pid) + file)
		if err != nil {
			return 0, errors.Unwrap(err)
		}
		defer f.Close()
		fd = int(f.Fd())
		return unix.Read(fd, buf)
	}
	var space [128]byte
	path := append(space[:0], v.root...)
	path = strconv.AppendInt(append(path, '/'), int64(pid), 10)
	path = append(append(path, file...), 0)
	const atFdcwd = unix.AT_FDCWD
	dir := atFdcwd // a variable, because the negative constant has no uintptr
	opened, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(&path[0])), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	fd = int(opened)
	n, err := unix.Read(fd, buf)
	unix.Close(fd)
	return max(n, 0), err
}

// An environment is read in one system call, into a buffer that it does not
// fill: the memory of the process cannot be exchanged meanwhile. If it was read in
// parts, and the process executed a program in between, it would end early and look
// whole. The kernel starts no program with more than 6 MiB (execve(2)), but a
// process may point the range at any part of its memory (PR_SET_MM_ENV_START,
// prctl(2)).
const (
	commonEnviron = 64 << 10
	maxEnviron    = 8 << 20
)

func (v *procView) readEnviron(pid int) ([]byte, error) {
	environ, err := v.readEnvironFile(pid, "/environ")
	if err == nil && len(environ) > 0 {
		return environ, nil
	}
	// A leading thread that has exited has no memory; that of the others is the
	// process's.
	stat, statErr := v.readStat(pid)
	if statErr != nil || !stat.ThreadExited() || stat.Threads < 2 {
		return environ, err
	}
	threads, listErr := v.listNumbers(strconv.Itoa(pid) + "/task")
	if listErr != nil {
		return environ, err
	}
	for _, thread := range threads {
		file := "/task/" + strconv.Itoa(thread) + "/environ"
		if environ, err := v.readEnvironFile(pid, file); err == nil && len(environ) > 0 {
			return environ, nil
		}
	}
	return environ, err
}

func (v *procView) readEnvironFile(pid int, file string) ([]byte, error) {
	for _, size := range []int{commonEnviron, maxEnviron} {
		buf := make([]byte, size)
		n, err := v.read(pid, file, buf)
		if err != nil {
			return nil, v.pathError(pid, file, err)
		}
		if n < size {
			return buf[:n], nil
		}
	}
	return nil, v.pathError(pid, file, fmt.Errorf("longer than %d bytes", maxEnviron))
}

// listNumbers returns the names that are numbers in a directory of the procfs:
// processes, or the threads of one.
func (v *procView) listNumbers(name string) ([]int, error) {
	var dir *os.File
	var err error
	if v.dir != nil {
		dir, err = v.dir.Open(name)
	} else {
		dir, err = os.Open(v.root + "/" + name)
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(0)
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, name := range names {
		if number, err := strconv.Atoi(name); err == nil {
			numbers = append(numbers, number)
		}
	}
	return numbers, nil
}

// wallStart converts a start stamp to wall time by the clocks of now. A step of
// the wall clock since the start moves it, and the start of the boot.
func (v *procView) wallStart(ticks uint64) (wallStart, error) {
	perSecond, err := sysconf.Sysconf(sysconf.SC_CLK_TCK)
	if err != nil {
		return wallStart{}, fmt.Errorf("clock tick: %w", err)
	}
	var uptime unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &uptime); err != nil {
		return wallStart{}, os.NewSyscallError("clock_gettime", err)
	}
	now := time.Now()
	boot := now.Add(-time.Duration(uptime.Nano()))
	hz := uint64(perSecond)
	sinceBoot := time.Duration(ticks/hz)*time.Second + time.Duration(ticks%hz)*time.Second/time.Duration(hz)
	return wallStart{boot: boot, process: boot.Add(sinceBoot), now: now}, nil
}
