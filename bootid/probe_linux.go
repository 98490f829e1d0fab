package bootid

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	bootIDFile    = "/proc/sys/kernel/random/boot_id"
	machineIDFile = "/etc/machine-id"
	timensFile    = "/proc/self/timens_offsets"
)

// machine is read once: it does not change while a process runs.
var machine = sync.OnceValue(func() string { return readMachine(machineIDFile) })

func current() (ID, error) {
	return readBoot(bootIDFile, machine())
}

func readBoot(file, machine string) (ID, error) {
	id := ID{Machine: machine}
	text, err := os.ReadFile(file)
	if err != nil {
		return id, err
	}
	boot, ok := parseUUID(text, 36)
	if !ok {
		return id, fmt.Errorf("%s: no UUID: %q", file, text)
	}
	id.Boot, id.Quality = boot.String(), Native
	return id, nil
}

// readMachine returns "" when there is no machine ID, or when it reads
// "uninitialized" as it does in the first boot of an image.
func readMachine(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	id, ok := parseUUID(text, 32)
	if !ok {
		return ""
	}
	return hashMachine(id)
}

func awake() (time.Duration, error) {
	offset, err := monotonicOffset(timensFile)
	if err != nil {
		return 0, err
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return time.Duration(now.Nano()) - offset, nil
}

// monotonicOffset returns what this time namespace adds to CLOCK_MONOTONIC.
// Kernels before 5.6 have no time namespaces and no such file, which is told
// from a missing /proc, and from that of a PID namespace without this process,
// by following /proc/self.
func monotonicOffset(file string) (time.Duration, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if _, selfErr := os.Stat("/proc/self"); selfErr == nil {
			return 0, nil
		}
	}
	if err != nil {
		return 0, err
	}
	offset, ok := parseMonotonicOffset(text)
	if !ok {
		return 0, fmt.Errorf("%s: no monotonic offset: %q", file, text)
	}
	return offset, nil
}
