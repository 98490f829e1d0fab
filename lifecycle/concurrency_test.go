package lifecycle_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

// goroutine names the running goroutine, as in a stack trace.
func goroutine() string {
	buffer := make([]byte, 64)
	name, _, _ := strings.Cut(string(buffer[:runtime.Stack(buffer, false)]), "[")
	return name
}

func TestWithoutConcurrencyAllHappensInTheCallersGoroutine(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, concurrency := range []int{-1, 0, 1} {
		w := livenesstest.New()
		caller, calls := goroutine(), 0
		here := func() {
			calls++
			c.Check(goroutine(), qt.Equals, caller)
		}
		store := yielding(newDead(w, "a"), newDead(w, "b"))
		store.onStop = func(context.Context, lifecycle.Record, lifecycle.Cause) (lifecycle.Outcome, error) {
			here()
			return lifecycle.Stopped, nil
		}
		cleaner := lifecycle.Cleaner{Store: store, Clock: w, Concurrency: concurrency}
		cleaner.Liveness = livenessFunc(func(id liveness.Identity) liveness.Verdict { here(); return w.Check(id) })
		cleaner.OnStopped = func(lifecycle.Stop) { here() }
		cleaner.OnProgress = func(int, int) { here() }
		_, err := cleaner.Clean(c.Context())
		c.Assert(err, qt.IsNil)
		c.Assert(calls, qt.Equals, 7)
	}
}

// None of the workers goes on.
func TestACancelledConcurrentPassJudgesNoMoreRecords(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	var records []lifecycle.Record
	for i := range 256 {
		records = append(records, tracking(w, fmt.Sprint(i), w.Start()))
	}
	const workers, enough = 4, 10
	ctx, cancel := context.WithCancel(c.Context())
	var asked atomic.Int64
	cleaner := lifecycle.Cleaner{Store: yielding(records...), Clock: w, Concurrency: workers}
	cleaner.Liveness = livenessFunc(func(id liveness.Identity) liveness.Verdict {
		if asked.Add(1) == enough {
			cancel()
		}
		return w.Check(id)
	})
	report, err := cleaner.Clean(ctx)
	c.Check(err, qt.ErrorIs, context.Canceled)
	c.Check(asked.Load() < enough+workers, qt.IsTrue, qt.Commentf("%d were asked for", asked.Load()))
	c.Check(report.Examined < enough+workers, qt.IsTrue, qt.Commentf("%d were examined", report.Examined))
}

func TestConcurrentPassesJudgeEachRecordOnce(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, concurrency := range []int{4, 16} {
		for _, n := range []int{0, 1, 3, 256, 257, 1000} {
			w, store := livenesstest.New(), new(memstore.Store)
			for i := range n {
				record := tracking(w, fmt.Sprint(i), w.Start())
				if i%2 == 0 {
					w.Exit(record.Identity.PID)
				}
				put(c, store, record)
			}
			var mu sync.Mutex
			judged := map[int]int{}
			caller, listed := goroutine(), 0
			cleaner := newCleaner(w, store)
			cleaner.Concurrency = concurrency
			cleaner.Liveness = livenessFunc(func(id liveness.Identity) liveness.Verdict {
				mu.Lock()
				defer mu.Unlock()
				judged[id.PID]++
				return w.Check(id)
			})
			cleaner.OnStopped = func(lifecycle.Stop) {
				listed++
				c.Check(goroutine(), qt.Equals, caller)
			}
			report, err := cleaner.Clean(c.Context())
			c.Assert(err, qt.IsNil)
			c.Assert(report.Examined, qt.Equals, n)
			c.Assert(report.Stopped, qt.Equals, (n+1)/2)
			c.Assert(listed, qt.Equals, report.Stopped)
			c.Assert(stopped(c, store), qt.HasLen, report.Stopped)
			for _, times := range judged {
				c.Assert(times, qt.Equals, 1)
			}
		}
	}
}

// gathering answers when n callers have come together, and counts how many
// there were at most.
type gathering struct {
	mu            sync.Mutex
	n             int
	in, most      int
	together      chan struct{}
	alreadyOpened bool
}

func (g *gathering) Check(liveness.Identity) liveness.Verdict {
	g.mu.Lock()
	g.in++
	g.most = max(g.most, g.in)
	if g.in == g.n && !g.alreadyOpened {
		g.alreadyOpened = true
		close(g.together)
	}
	g.mu.Unlock()
	<-g.together
	g.mu.Lock()
	g.in--
	g.mu.Unlock()
	return liveness.Verdict{State: liveness.Dead, Reason: liveness.NoProcess}
}

func TestConcurrencyIsReachedAndNotExceeded(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	var records []lifecycle.Record
	for i := range 100 {
		records = append(records, tracking(w, fmt.Sprint(i), w.Start()))
	}
	g := &gathering{n: 4, together: make(chan struct{})}
	cleaner := lifecycle.Cleaner{Store: yielding(records...), Liveness: g, Clock: w, Concurrency: 4}
	_, err := cleaner.Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(g.most, qt.Equals, 4)
}

func TestManyCleanersStopEachRecordOnce(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w, store := livenesstest.New(), new(memstore.Store)
	for i := range 200 {
		put(c, store, newDead(w, fmt.Sprint(i)))
	}
	var mu sync.Mutex
	var total, already int
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			cleaner := newCleaner(w, store)
			cleaner.Concurrency = 2
			report, err := cleaner.Clean(c.Context())
			mu.Lock()
			defer mu.Unlock()
			c.Check(err, qt.IsNil)
			total += report.Stopped
			already += report.Examined - report.AlreadyStopped - report.Stopped
		})
	}
	wg.Wait()
	c.Assert(total, qt.Equals, 200)
	c.Assert(already, qt.Equals, 0)
	c.Assert(stopped(c, store), qt.HasLen, 200)
}
