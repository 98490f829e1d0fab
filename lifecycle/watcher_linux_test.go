package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"
	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/liveness"
)

// watched is the number of processes of TestManyRecordsAreWatched.
func watched(t *testing.T) int {
	t.Helper()
	text, ok := os.LookupEnv("ROLLCALL_WATCHED")
	if !ok {
		return 100
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 10 {
		t.Fatalf("ROLLCALL_WATCHED=%q is not a number of at least 10 processes", text)
	}
	return n
}

// sleeper starts a process that this one keeps no handle of.
func sleeper(t *testing.T, path string) (liveness.Identity, error) {
	t.Helper()
	cmd := exec.Command(path, "1000000")
	if err := cmd.Start(); err != nil {
		return liveness.Identity{}, err
	}
	pid := cmd.Process.Pid
	id, err := liveness.CaptureProcess(cmd.Process)
	_ = cmd.Process.Release()
	t.Cleanup(func() {
		_ = unix.Kill(pid, unix.SIGKILL) // its number is its own until it is waited for
		for {
			if _, err := unix.Wait4(pid, nil, 0, nil); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	})
	return id, err
}

func descriptors(c *qt.C) int {
	c.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	c.Assert(err, qt.IsNil)
	return len(entries)
}

func cpu(c *qt.C) time.Duration {
	c.Helper()
	var usage unix.Rusage
	c.Assert(unix.Getrusage(unix.RUSAGE_SELF, &usage), qt.IsNil)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// It is not parallel: it counts descriptors. With ROLLCALL_WATCHED it also tells
// how long a stop took and what waiting costs.
func TestManyRecordsAreWatched(t *testing.T) {
	c := qt.New(t)
	path, err := exec.LookPath("sleep")
	c.Assert(err, qt.IsNil)
	n, store := watched(t), new(memstore.Store)
	ids := make([]liveness.Identity, n)
	for i := range ids {
		ids[i], err = sleeper(t, path)
		c.Assert(err, qt.IsNil)
		put(c, store, lifecycle.Record{Name: fmt.Sprint(i), Phase: lifecycle.Running, Identity: ids[i]})
	}
	before := descriptors(c)
	stops := make(chan time.Time, n)
	ctx, cancel := context.WithCancel(t.Context())
	watcher := lifecycle.Watcher{
		Cleaner: lifecycle.Cleaner{Store: store, OnStopped: func(lifecycle.Stop) { stops <- time.Now() }},
		Poll:    time.Hour, // nothing is found by polling
		Every:   time.Hour,
		OnReport: func(_ lifecycle.Report, err error) {
			if ctx.Err() == nil { // the last pass may still be under way at the end
				c.Check(err, qt.IsNil)
			}
		},
	}
	ended := make(chan error, 1)
	go func() { ended <- watcher.Run(ctx) }()

	delays := make([]time.Duration, n/10)
	for i := range delays {
		killed := time.Now()
		c.Assert(unix.Kill(ids[i].PID, unix.SIGKILL), qt.IsNil)
		delays[i] = (<-stops).Sub(killed)
	}
	slices.Sort(delays[1:]) // the first waited for the first pass
	idle := time.Duration(0)
	if os.Getenv("ROLLCALL_WATCHED") != "" {
		used := cpu(c)
		<-time.After(10 * time.Second)
		idle = cpu(c) - used
	}
	began := time.Now()
	for _, id := range ids[n/10:] {
		c.Assert(unix.Kill(id.PID, unix.SIGKILL), qt.IsNil)
	}
	for range n - n/10 {
		<-stops
	}
	t.Logf("%d processes: from kill to stop median %v, p99 %v; 10 s of waiting took %v of the processor; the last %d at once took %v",
		n, delays[1:][len(delays)/2], delays[len(delays)*99/100], idle, n-n/10, time.Since(began))
	c.Check(names(c, store), qt.HasLen, 0)
	c.Check(stopped(c, store), qt.HasLen, n)
	cancel()
	c.Check(<-ended, qt.ErrorIs, context.Canceled)
	c.Check(descriptors(c) <= before, qt.IsTrue, qt.Commentf("%d, before %d", descriptors(c), before))
}
