package bootid

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/google/uuid"

	"github.com/rollcall-go/rollcall/internal/kinfo"
)

// This file names boots and machines of macOS and the BSDs. It makes no system call
// and has no build tag, so that its tests run everywhere; probe_sysctl.go makes them.

// kernel is what is asked of the kernel.
type kernel interface {
	// text and raw return the value of a sysctl(3); the error matches
	// errMissing if the system has none of the name, or no value yet.
	text(name string) (string, error)
	raw(name string) ([]byte, error)
	// init looks at PID 1.
	init() (initStart, error)
	// platformUUID is gethostuuid(2) of macOS. It is nil where a sandbox
	// denies it.
	platformUUID() (uuid.UUID, error)
}

var errMissing = errors.New("no such value")

// sysctlBoot names the boot.
func sysctlBoot(system kinfo.System, kernel kernel) (ID, error) {
	switch system.Name {
	case "darwin":
		const name = "kern.bootsessionuuid"
		text, err := kernel.text(name)
		if err != nil {
			return ID{}, fmt.Errorf("sysctl %s: %w", name, err)
		}
		return parseBootSession(text)
	case "freebsd":
		// FreeBSD before 13 has none, and there is none before the kernel has
		// gathered randomness.
		const name = "kern.boot_id"
		raw, err := kernel.raw(name)
		if err == nil {
			return parseBootID(raw)
		}
		if !errors.Is(err, errMissing) {
			return ID{}, fmt.Errorf("sysctl %s: %w", name, err)
		}
	}
	const attempts = 3
	for attempt := 1; ; attempt++ {
		start, err := kernel.init()
		if err != nil {
			return ID{}, fmt.Errorf("PID 1: %w", err)
		}
		id, err := start.derive(system)
		if attempt == attempts || !errors.Is(err, errClockStepped) {
			return id, err
		}
	}
}

// sysctlMachine returns the hashed UUID of the machine, "" where there is none.
//
// kern.uuid of macOS is none: it is that of the kernel's build, the same on many
// machines and another one after an update. The UUID that NetBSD reads from the
// firmware is for root only, and an ID that depends on who asks is none either.
// DragonFly has no UUID.
func sysctlMachine(system kinfo.System, kernel kernel) (string, error) {
	var name string
	switch system.Name {
	case "darwin":
		id, err := kernel.platformUUID()
		if err != nil || id == uuid.Nil {
			return "", err
		}
		return hashMachine(id), nil
	case "freebsd":
		name = "kern.hostuuid"
	case "openbsd":
		name = "hw.uuid"
	default:
		return "", nil
	}
	text, err := kernel.text(name)
	if errors.Is(err, errMissing) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("sysctl %s: %w", name, err)
	}
	return parseHostUUID(text), nil
}

// parseBootSession reads kern.bootsessionuuid of macOS
// (bsd/kern/kern_sysctl.c of xnu).
func parseBootSession(text string) (ID, error) {
	id, ok := parseUUID([]byte(text), 36)
	if !ok {
		return ID{}, fmt.Errorf("kern.bootsessionuuid: no UUID: %q", text)
	}
	return ID{Boot: id.String(), Quality: Native}, nil
}

// parseBootID reads kern.boot_id of FreeBSD: 16 random bytes
// (sys/kern/kern_mib.c).
func parseBootID(raw []byte) (ID, error) {
	id, err := uuid.FromBytes(raw)
	if err != nil || id == uuid.Nil {
		return ID{}, fmt.Errorf("kern.boot_id: not 16 random bytes: %x", raw)
	}
	return ID{Boot: id.String(), Quality: Native}, nil
}

var (
	errNoInit       = errors.New("PID 1 is not shown, as in a jail")
	errClockStepped = errors.New("the clock was stepped meanwhile")
)

// initStart is PID 1 as the kernel published it, between two readings of
// kern.boottime in microseconds, and the ID of its main thread where threads can
// be listed, otherwise 0.
type initStart struct {
	process       kinfo.Process
	thread        uint32
	before, after int64
}

// derive names a boot by what its PID 1 keeps throughout the boot: on OpenBSD the ID of
// its thread, one of 2^19 at random, otherwise its start. Where the kernel publishes
// the start as time since boot, two boots of a machine may have the same.
func (i initStart) derive(system kinfo.System) (ID, error) {
	start := i.process.Start
	switch {
	case i.process.PID != 1:
		return ID{}, errNoInit
	case i.thread != 0:
		return ID{Boot: "thread-" + strconv.FormatUint(uint64(i.thread), 10), Quality: Derived}, nil
	case system.AddsBootTime && i.before != i.after:
		return ID{}, errClockStepped
	case system.AddsBootTime:
		start -= i.before
	}
	if start <= 0 {
		return ID{}, fmt.Errorf("PID 1: no start: %d us", start)
	}
	return ID{Boot: "init-" + strconv.FormatInt(start, 10), Quality: Derived}, nil
}

// parseHostUUID reads what a system calls the UUID of the machine; "" where it
// has none: an unset one is nil, or a word such as "Not Set".
func parseHostUUID(text string) string {
	id, ok := parseUUID([]byte(text), 36)
	if !ok {
		return ""
	}
	return hashMachine(id)
}
