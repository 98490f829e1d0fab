package bootid

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/internal/exhausted"
	"github.com/rollcall-go/rollcall/internal/procfs"
)

const (
	bootIDFile    = "/proc/sys/kernel/random/boot_id"
	machineIDFile = "/etc/machine-id"
)

// A machine ID that cannot be read for the moment must not look like a missing one,
// which counts as this machine. There is no ID at all then.
func current() (ID, error) {
	machine, err := machine.get(func() (string, error) { return readMachine(machineIDFile) })
	if err != nil {
		return ID{}, err
	}
	return readBoot(bootIDFile, machine)
}

func readBoot(file, machine string) (ID, error) {
	id := ID{Machine: machine}
	var space [64]byte // longer than a UUID
	n, quality, err := readStart(file, space[:])
	if err != nil {
		return id, err
	}
	boot, ok := parseUUID(space[:n], 36)
	if !ok {
		return id, fmt.Errorf("%s: no UUID: %q", file, space[:n])
	}
	id.Boot, id.Quality = boot.String(), quality
	return id, nil
}

// readStart reads the start of a file, as much as fits, and tells by its file
// system whether the kernel wrote it. os.ReadFile takes three times as long: it
// tries to register the file with the poller and asks for its size. Each start of
// a program pays for that.
func readStart(file string, buf []byte) (n int, quality Quality, err error) {
	fd, err := ignoringEINTR(func() (int, error) { return unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return 0, 0, &os.PathError{Op: "open", Path: file, Err: err}
	}
	defer unix.Close(fd)
	quality, err = fileQuality(fd)
	if err != nil {
		return 0, 0, &os.PathError{Op: "fstatfs", Path: file, Err: err}
	}
	n, err = ignoringEINTR(func() (int, error) { return unix.Read(fd, buf) })
	if err != nil {
		return 0, 0, &os.PathError{Op: "read", Path: file, Err: err}
	}
	return n, quality, nil
}

// fileQuality is Native for a file of procfs. One that was bound over it is of
// another file system: a tmpfs under systemd-nspawn and LXC.
func fileQuality(fd int) (Quality, error) {
	var fs unix.Statfs_t
	_, err := ignoringEINTR(func() (int, error) { return 0, unix.Fstatfs(fd, &fs) })
	switch {
	case err != nil:
		return 0, err
	case fs.Type == unix.PROC_SUPER_MAGIC:
		return Native, nil
	default:
		return Given, nil
	}
}

func ignoringEINTR(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// readMachine returns "" when there is no machine ID, when it may not be read,
// or when it reads "uninitialized" as it does in the first boot of an image.
func readMachine(file string) (string, error) {
	var space [64]byte // longer than it and its newline
	n, _, err := readStart(file, space[:])
	if exhausted.Is(err) {
		return "", err
	}
	id, ok := parseUUID(space[:n], 32)
	if err != nil || !ok {
		return "", nil
	}
	return hashMachine(id), nil
}

func awake() (time.Duration, error) {
	offset, err := ownOffset()
	if err != nil {
		return 0, err
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return time.Duration(now.Nano()) - offset, nil
}

// offsetCache is filled once: a process with several threads, such as any Go program,
// cannot enter another time namespace (setns(2)).
var offsetCache atomic.Pointer[time.Duration]

func ownOffset() (time.Duration, error) {
	if cached := offsetCache.Load(); cached != nil {
		return *cached, nil
	}
	offset, err := monotonicOffset("/proc/self")
	if err == nil {
		offsetCache.Store(&offset)
	}
	return offset, err
}

// monotonicOffset returns what the time namespace of a process adds to
// CLOCK_MONOTONIC; dir is the directory of the process in /proc. Kernels before 5.6
// have no time namespaces and no such file. That dir exists tells them from a missing
// /proc, and from one of a PID namespace without this process.
func monotonicOffset(dir string) (time.Duration, error) {
	own, linkErr := os.Readlink(dir + "/ns/time")
	if own == procfs.InitialTimeLink { // which adds nothing
		return 0, nil
	}
	file := dir + "/timens_offsets"
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if _, dirErr := os.Stat(dir); dirErr == nil {
			return 0, nil
		}
	}
	if err != nil {
		return 0, err
	}
	offset, ok := procfs.MonotonicOffset(text)
	if !ok {
		return 0, fmt.Errorf("%s: no monotonic offset: %q", file, text)
	}
	// The file is about the time namespace of future children.
	if linkErr != nil {
		return 0, linkErr
	}
	children, err := os.Readlink(dir + "/ns/time_for_children")
	if err != nil {
		return 0, err
	}
	if own != children {
		return 0, fmt.Errorf("%s is about %s, which is to be that of children, not about %s", file, children, own)
	}
	return offset, nil
}
