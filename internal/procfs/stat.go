package procfs

import (
	"bytes"
	"errors"
)

// Stat is what this module needs of /proc/PID/stat (proc_pid_stat(5)).
type Stat struct {
	PID     uint64 // field 1
	State   byte   // field 3
	Parent  uint64 // field 4, ppid; 0 for one outside of the PID namespace
	Group   uint64 // field 5, pgrp; likewise
	Flags   uint64 // field 9
	Threads uint64 // field 20, num_threads
	Start   uint64 // field 22, starttime, in clock ticks since boot
}

// number is where the number of a field goes, nil for a field that is skipped.
func (s *Stat) number(field int) *uint64 {
	switch field {
	case 4:
		return &s.Parent
	case 5:
		return &s.Group
	case 9:
		return &s.Flags
	case 20:
		return &s.Threads
	case 22:
		return &s.Start
	default:
		return nil
	}
}

// Exited reports whether the process has ended. A process whose leading
// thread has exited while others run shows state Z too, with its threads
// counted.
func (s Stat) Exited() bool { return s.ThreadExited() && s.Threads == 1 }

// Replaced reports whether the line is of a leading thread that was taken out
// of its process while the line was written: the process has been reaped, or
// another of its threads has executed a program and is the leading one now
// (de_thread in fs/exec.c). The kernel then counts no threads (do_task_stat in
// fs/proc/array.c), so the line says nothing about the process. gVisor counts one,
// and knows no number for the thread that was taken out (promoteLocked in
// pkg/sentry/kernel/task_exec.go).
func (s Stat) Replaced() bool { return s.ThreadExited() && (s.Threads == 0 || s.PID == 0) }

// ThreadExited reports whether the leading thread has exited.
func (s Stat) ThreadExited() bool { return s.State == 'Z' || s.State == 'X' || s.State == 'x' }

// Borrowed reports whether the process has executed no program since it was forked.
// Its memory, and with it its environment, is then that of its parent, or a copy
// (PF_FORKNOEXEC in include/linux/sched.h).
//
// It can be so when os/exec's Start has returned: Start waits until the kernel closes
// the child's descriptors, and some kernels do that before they give the child its new
// memory. Linux 6.1.192 of Debian does, 6.18 was not seen to. The flag is cleared after
// both. gVisor always writes 0 for the flags; there Start waits until the new program
// is in place, unless the child gets a user namespace.
func (s Stat) Borrowed() bool { return s.Flags&0x40 != 0 }

var errBadStat = errors.New("malformed stat line")

// The command name, in parentheses, may hold parentheses, spaces and newlines.
// It has at most 15 bytes, a kernel worker's up to 63, and no later field has a
// parenthesis: its end is the last one within this distance of the line's
// start.
const maxCommEnd = 96

// ParseStat reads the line up to field 22, without allocating. A line that is cut
// short is an error, because a number cut short would be another number.
func ParseStat(line []byte) (Stat, error) {
	end := bytes.LastIndexByte(line[:min(len(line), maxCommEnd)], ')')
	if end < 0 || len(line) < end+4 || line[end+1] != ' ' || line[end+3] != ' ' {
		return Stat{}, errBadStat
	}
	stat := Stat{State: line[end+2]}
	number, _, _ := bytes.Cut(line, []byte(" "))
	var ok bool
	if stat.PID, ok = parseDecimal(number); !ok {
		return Stat{}, errBadStat
	}
	rest := line[end+4:]
	for field := 4; field <= 22; field++ {
		space := bytes.IndexByte(rest, ' ')
		if space <= 0 {
			return Stat{}, errBadStat
		}
		if into := stat.number(field); into != nil {
			*into, ok = parseDecimal(rest[:space])
			reaped := field == 5 && string(rest[:space]) == "-1" // it has no group any more
			if !ok && !reaped {
				return Stat{}, errBadStat
			}
		}
		rest = rest[space+1:]
	}
	return stat, nil
}

// parseDecimal is strconv.ParseUint for bytes, which would have to copy them.
func parseDecimal(digits []byte) (uint64, bool) {
	if len(digits) == 0 || len(digits) > 20 {
		return 0, false
	}
	var n uint64
	for _, c := range digits {
		d := uint64(c - '0')
		if d > 9 || n > (1<<64-1-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}
