package main

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// repeat is a benchmark of a function, with the CPU time of the whole process:
// what the garbage collector does is a cost of what leaves garbage behind.
func repeat(f func() error) func(*testing.B) {
	return func(b *testing.B) {
		b.ReportAllocs()
		start := cpuTime()
		for b.Loop() {
			if err := f(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(cpuTime()-start)/float64(b.N), cpuNsOp)
	}
}

func cpuTime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t) // it has no error for a clock that there is
	return time.Duration(t.Nano())
}

// cpuTimeOf is that of another process. Its clock is the one that
// clock_getcpuclockid(3) gives.
func cpuTimeOf(pid int) time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(int32(^pid<<3|2), &t) // it has no error for a process that there is
	return time.Duration(t.Nano())
}
