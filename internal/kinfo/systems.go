package kinfo

import (
	"encoding/binary"
	"math"
)

// Of returns the system of a GOOS and GOARCH. Not found are those without such
// records: iOS denies them to applications.
func Of(goos, goarch string) (System, bool) {
	switch goos {
	case "darwin":
		return darwin, true
	case "dragonfly":
		return dragonfly, true
	case "freebsd":
		switch goarch {
		case "386":
			return freebsd386, true
		case "arm":
			return freebsdARM, true
		default:
			return freebsd, true
		}
	case "netbsd":
		return netbsd, true
	case "openbsd":
		system := openbsd
		switch goarch {
		case "386": // 8-byte integers lie at multiples of 4 there
			system.sizes, system.thread = []int{612}, field{604, 4}
		case "mips64", "ppc64":
			system.order = binary.BigEndian
		}
		return system, true
	}
	return System{}, false
}

// darwin: struct kinfo_proc, bsd/sys/sysctl.h of xnu-11417 (macOS 15), the same
// as unix.KinfoProc. p_starttime is written when the process is forked and
// copied by exec, bsd/kern/kern_fork.c; zombies are listed,
// bsd/kern/kern_sysctl.c.
var darwin = System{
	Name:   "darwin",
	MaxPID: math.MaxInt32,
	query:  "kern.proc.pid",
	order:  binary.LittleEndian,
	sizes:  []int{648},
	fields: fields{
		pid:     40,
		parent:  560,
		seconds: field{0, 8},
		micros:  field{8, 4},
		status:  field{36, 1},
		zombie:  []uint64{5}, // SZOMB
	},
}

// freebsd: struct kinfo_proc, sys/sys/user.h of FreeBSD 12 to 15, whose size
// never changes (KINFO_PROC_SIZE); here on 64-bit machines. ki_start is
// p_start, the time since boot at the fork, plus that of getboottime, which
// kern.boottime publishes too, sys/kern/kern_proc.c.
var freebsd = System{
	Name:         "freebsd",
	MaxPID:       99999, // PID_MAX, sys/sys/proc.h
	AddsBootTime: true,
	query:        "kern.proc.pid",
	order:        binary.LittleEndian,
	sizes:        []int{1088},
	fields: fields{
		size:    field{0, 4},
		pid:     72,
		parent:  76,
		seconds: field{336, 8},
		micros:  field{344, 8},
		status:  field{388, 1},
		zombie:  []uint64{5}, // SZOMB
	},
}

var freebsd386 = System{
	Name:         "freebsd",
	MaxPID:       99999, // PID_MAX, sys/sys/proc.h
	AddsBootTime: true,
	query:        "kern.proc.pid",
	order:        binary.LittleEndian,
	sizes:        []int{768},
	fields: fields{
		size:    field{0, 4},
		pid:     40,
		parent:  44,
		seconds: field{280, 4},
		micros:  field{284, 4},
		status:  field{308, 1},
		zombie:  []uint64{5}, // SZOMB
	},
}

var freebsdARM = System{
	Name:         "freebsd",
	MaxPID:       99999, // PID_MAX, sys/sys/proc.h
	AddsBootTime: true,
	query:        "kern.proc.pid",
	order:        binary.LittleEndian,
	sizes:        []int{816},
	fields: fields{
		size:    field{0, 4},
		pid:     40,
		parent:  44,
		seconds: field{280, 8},
		micros:  field{288, 4},
		status:  field{324, 1},
		zombie:  []uint64{5}, // SZOMB
	},
}

// dragonfly: struct kinfo_proc, sys/sys/kinfo.h; its end has grown twice. kp_start
// is the wall time that fork read, sys/kern/kern_fork.c. Zombies are not found
// by their number, sys/kern/kern_proc.c.
var dragonfly = System{
	Name:          "dragonfly",
	MaxPID:        math.MaxInt32,
	NoEnviron:     true,
	HidesZombies:  true,
	bootTimeNanos: true, // kern.boottime is a timespec, sys/kern/kern_clock.c
	query:         "kern.proc.pid",
	order:         binary.LittleEndian,
	sizes:         []int{960, 976, 992},
	fields: fields{
		pid:     220,
		parent:  224,
		seconds: field{96, 8},
		micros:  field{104, 8},
		status:  field{12, 4},
		zombie:  []uint64{4}, // SZOMB
	},
}

// netbsd: struct kinfo_proc2, sys/sys/sysctl.h of NetBSD 7 to 10, the same on
// all machines. p_ustart is the wall time of the last clock tick when the
// process was forked, sys/kern/kern_fork.c; it is left out, and p_uvalid 0, of
// zombies and of a living process while it executes a program. Only p_realstat
// tells which, sys/kern/kern_proc.c.
var netbsd = System{
	Name:          "netbsd",
	MaxPID:        math.MaxInt32,
	bootTimeNanos: true, // kern.boottime is a timespec, sys/kern/init_sysctl.c
	query:         "kern.proc2",
	wantsSize:     true,
	order:         binary.LittleEndian,
	sizes:         []int{680},
	fields: fields{
		pid:     116,
		parent:  120,
		seconds: field{456, 4},
		micros:  field{460, 4},
		status:  field{632, 8},
		zombie:  []uint64{5, 6}, // SZOMB, SDEAD
		valid:   field{448, 8},
	},
}

// openbsd: struct kinfo_proc, sys/sys/sysctl.h of OpenBSD 7, cut
// before fields that came later: the kernel refuses to write more than it has.
// p_ustart is the time since boot at the fork plus the boot time, both with
// nanoseconds; it and kern.boottime are cut to microseconds, so that their
// difference is one of two neighbours, sys/kern/kern_sysctl.c. p_ustart is left
// out, and p_uvalid 0, of zombies.
var openbsd = System{
	Name:         "openbsd",
	MaxPID:       math.MaxInt32,
	AddsBootTime: true,
	Slack:        1,
	query:        "kern.proc",
	wantsSize:    true,
	order:        binary.LittleEndian,
	sizes:        []int{616},
	thread:       field{608, 4},
	fields: fields{
		pid:     108,
		parent:  112,
		seconds: field{408, 8},
		micros:  field{416, 4},
		status:  field{304, 1},
		zombie:  []uint64{6}, // SDEAD
		valid:   field{400, 8},
	},
}
