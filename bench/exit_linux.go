package main

import (
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	medianMs = "ms-median"
	p99Ms    = "ms-p99"
	// afterMs is the time after the program in C that killed a process was
	// itself told of its exit: what stalls the machine stalls both.
	afterMs   = "ms-p99-after-C"
	idleMs    = "cpu-ms/s-idle"
	cpuNsExit = "cpu-ns/exit"
)

// exitRows are about the time from a kill until one is told of it, where n
// processes are watched, and until the record of the process is stopped. Another
// program started and kills them. program is that of floor/exits.c, idle what
// each process runs.
func exitRows(program, idle string, n int) []row {
	e := exits{program: program, idle: idle, watched: n, deaths: max(1, n/10), nothing: time.Duration(min(n, 10_000)) * time.Millisecond}
	watched, deaths := fmt.Sprint(e.watched), fmt.Sprint(e.deaths)
	floor := side{inC, e.bench(func() *exec.Cmd { return exec.Command(program, "watch", watched, deaths) })}
	return []row{{
		name:  fmt.Sprintf("exit=notified/watched=%d", n),
		sides: []side{floor, {ours, e.bench(func() *exec.Cmd { return self("notified", watched, deaths) })}},
		targets: []target{
			{unit: medianMs, most: 0.25},
			{unit: p99Ms, most: 5},
			{unit: idleMs, most: 0.15},
			{unit: cpuNsExit, most: 200_000},
		},
	}, {
		name:    fmt.Sprintf("exit=stopped/watched=%d", n),
		sides:   []side{floor, {ours, e.bench(func() *exec.Cmd { return self("stopped", watched, deaths) })}},
		targets: []target{{unit: afterMs, most: 5}, {unit: idleMs, most: 0.15}},
	}}
}

// exits are the deaths of some of many processes.
type exits struct {
	program, idle   string
	watched, deaths int
	nothing         time.Duration // during which none dies
}

// bench is a benchmark of a process that watches the others. It does what
// "exits watch" does in C.
func (e exits) bench(command func() *exec.Cmd) func(*testing.B) {
	return func(b *testing.B) {
		var cpu, idle time.Duration
		var took, after []float64
		for range b.N {
			r, err := e.run(command())
			if err != nil {
				b.Fatal(err)
			}
			idle, cpu = idle+r.idle, cpu+r.cpu
			took, after = append(took, r.took...), append(after, r.after...)
		}
		slices.Sort(took)
		slices.Sort(after)
		b.ReportMetric(took[len(took)/2]/1e6, medianMs)
		b.ReportMetric(took[len(took)*99/100]/1e6, p99Ms)
		b.ReportMetric(after[len(after)*99/100]/1e6, afterMs)
		b.ReportMetric(1e3*float64(idle)/float64(e.nothing)/float64(b.N), idleMs)
		b.ReportMetric(float64(cpu)/float64(len(took)), cpuNsExit)
	}
}

// exitResult is what a process that watched has needed.
type exitResult struct {
	idle, cpu time.Duration
	took      []float64 // ns from each kill
	after     []float64 // and from when the one who killed was told
}

func (e exits) run(watch *exec.Cmd) (r exitResult, err error) {
	driver, err := startTalk(exec.Command(e.program, "drive", e.idle, fmt.Sprint(e.watched), fmt.Sprint(e.deaths)))
	if err != nil {
		return r, err
	}
	defer driver.close() //nolint:errcheck // it has answered
	pids, err := driver.answer.ReadString('\n')
	if err != nil {
		return r, err
	}
	watcher, err := startTalk(watch)
	if err != nil {
		return r, err
	}
	defer watcher.close() //nolint:errcheck // it has answered
	if _, err := io.WriteString(watcher.stdin, pids); err != nil {
		return r, err
	}
	if line, err := watcher.answer.ReadString('\n'); err != nil || line != "ready\n" {
		return r, fmt.Errorf("%v said %q: %w", watch, line, err)
	}
	start := cpuTimeOf(watch.Process.Pid)
	time.Sleep(e.nothing)
	dying := cpuTimeOf(watch.Process.Pid)
	if _, err := fmt.Fprintln(driver.stdin); err != nil {
		return r, err
	}
	killed, err := driver.numbers(2 * e.deaths) // and told
	if err != nil {
		return r, err
	}
	told, err := watcher.numbers(e.deaths)
	if err != nil {
		return r, err
	}
	r.idle, r.cpu = dying-start, cpuTimeOf(watch.Process.Pid)-dying
	for i := range told {
		r.took = append(r.took, told[i]-killed[2*i])
		r.after = append(r.after, told[i]-killed[2*i+1])
	}
	return r, nil
}

// numbers reads a line of so many numbers.
func (t *talk) numbers(n int) ([]float64, error) {
	line, err := t.answer.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("%v: %w", t.cmd, err)
	}
	fields := strings.Fields(line)
	if len(fields) != n {
		return nil, fmt.Errorf("%v answered %d numbers, not %d", t.cmd, len(fields), n)
	}
	numbers := make([]float64, n)
	for i, field := range fields {
		if numbers[i], err = strconv.ParseFloat(field, 64); err != nil {
			return nil, err
		}
	}
	return numbers, nil
}

func monotonic() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // it has no error for a clock that there is
	return t.Nano()
}
