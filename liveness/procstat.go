package liveness

import (
	"bytes"
	"errors"
)

// procStat is what this package needs of /proc/PID/stat (proc_pid_stat(5)).
type procStat struct {
	pid     uint64 // field 1
	state   byte   // field 3
	parent  uint64 // field 4, ppid; 0 for one outside of the PID namespace
	group   uint64 // field 5, pgrp; likewise
	flags   uint64 // field 9
	threads uint64 // field 20, num_threads
	start   uint64 // field 22, starttime, in clock ticks since boot
}

// exited reports whether the process has ended. A process whose leading
// thread has exited while others run shows state Z too, with its threads
// counted.
func (s procStat) exited() bool { return s.threadExited() && s.threads == 1 }

// replaced reports whether the line is of a leading thread that was taken out
// of its process while the line was written: the process has been reaped, or
// another of its threads has executed a program and is the leading one now
// (de_thread in fs/exec.c). The kernel then counts no threads (do_task_stat in
// fs/proc/array.c), so the line says nothing about the process. gVisor counts one,
// and knows no number for the thread that was taken out (promoteLocked in
// pkg/sentry/kernel/task_exec.go).
func (s procStat) replaced() bool { return s.threadExited() && (s.threads == 0 || s.pid == 0) }

func (s procStat) threadExited() bool { return s.state == 'Z' || s.state == 'X' || s.state == 'x' }

// borrowed reports whether the process has executed no program since it was forked, so
// that its memory, and with it its environment, is that of its parent, or a copy
// (PF_FORKNOEXEC in include/linux/sched.h).
//
// It can be so when os/exec's Start has returned: Start waits until the kernel closes
// the child's descriptors, and some kernels do that before they give the child its new
// memory. Linux 6.1.192 of Debian does, 6.18 was not seen to. The flag is cleared after
// both. gVisor always writes 0 for the flags; there Start waits until the new program
// is in place, unless the child gets a user namespace.
func (s procStat) borrowed() bool { return s.flags&0x40 != 0 }

var errBadStat = errors.New("malformed stat line")

// The command name, in parentheses, may hold parentheses, spaces and newlines.
// It has at most 15 bytes, a kernel worker's up to 63, and no later field has a
// parenthesis: its end is the last one within this distance of the line's
// start.
const maxCommEnd = 96

// parseProcStat reads the line up to field 22. A line that is cut short is an
// error, because a number cut short would be another number.
func parseProcStat(line []byte) (procStat, error) {
	end := bytes.LastIndexByte(line[:min(len(line), maxCommEnd)], ')')
	if end < 0 || len(line) < end+4 || line[end+1] != ' ' || line[end+3] != ' ' {
		return procStat{}, errBadStat
	}
	stat := procStat{state: line[end+2]}
	number, _, _ := bytes.Cut(line, []byte(" "))
	var ok bool
	if stat.pid, ok = parseDecimal(number); !ok {
		return procStat{}, errBadStat
	}
	rest := line[end+4:]
	for field := 4; field <= 22; field++ {
		space := bytes.IndexByte(rest, ' ')
		if space <= 0 {
			return procStat{}, errBadStat
		}
		switch field {
		case 4:
			if stat.parent, ok = parseDecimal(rest[:space]); !ok {
				return procStat{}, errBadStat
			}
		case 5: // -1 when the process has just been reaped
			if stat.group, ok = parseDecimal(rest[:space]); !ok && string(rest[:space]) != "-1" {
				return procStat{}, errBadStat
			}
		case 9:
			if stat.flags, ok = parseDecimal(rest[:space]); !ok {
				return procStat{}, errBadStat
			}
		case 20:
			if stat.threads, ok = parseDecimal(rest[:space]); !ok {
				return procStat{}, errBadStat
			}
		case 22:
			if stat.start, ok = parseDecimal(rest[:space]); !ok {
				return procStat{}, errBadStat
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
