package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

// watch runs a Watcher for the rest of a test with synthetic time.
func watch(t *testing.T, watcher lifecycle.Watcher) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- watcher.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
	synctest.Wait()
}

// counted is a memstore that counts how often its records are read.
type counted struct {
	*memstore.Store
	reads atomic.Int64
}

func (s *counted) Candidates(ctx context.Context) iter.Seq2[lifecycle.Record, error] {
	s.reads.Add(1)
	return s.Store.Candidates(ctx)
}

// A scripted machine cannot be waited for, so these are about polling.

func TestWatcherPollsWhatItCannotWaitFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := qt.New(t)
		w, store := livenesstest.New(), new(memstore.Store)
		process := w.Start()
		put(c, store, tracking(w, "a", process), newDead(w, "b"))
		watch(t, lifecycle.Watcher{Cleaner: newCleaner(w, store)})
		c.Check(stopped(c, store), qt.DeepEquals, []string{"b exit:died"}, qt.Commentf("at once"))
		w.Exit(process.PID)
		time.Sleep(999 * time.Millisecond)
		synctest.Wait()
		c.Check(names(c, store), qt.DeepEquals, []string{"a"})
		time.Sleep(time.Millisecond)
		synctest.Wait()
		c.Check(stopped(c, store), qt.DeepEquals, []string{"b exit:died", "a exit:died"})
	})
}

func TestWatcherReadsTheStoreWhenThereIsSomethingNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := qt.New(t)
		w, store := livenesstest.New(), &counted{Store: new(memstore.Store)}
		notify := make(chan struct{}, 1)
		watcher := lifecycle.Watcher{Cleaner: newCleaner(w, store), Poll: time.Second, Every: time.Hour, Notify: notify}
		watch(t, watcher)
		c.Check(store.reads.Load(), qt.Equals, int64(1))
		time.Sleep(100 * time.Second)
		synctest.Wait()
		c.Check(store.reads.Load(), qt.Equals, int64(1), qt.Commentf("nothing new"))

		put(c, store.Store, newDead(w, "a"))
		time.Sleep(time.Second)
		synctest.Wait()
		c.Check(store.reads.Load(), qt.Equals, int64(2))
		c.Check(names(c, store.Store), qt.HasLen, 0)

		notify <- struct{}{}
		synctest.Wait()
		c.Check(store.reads.Load(), qt.Equals, int64(3), qt.Commentf("at once"))
		time.Sleep(time.Hour)
		synctest.Wait()
		c.Check(store.reads.Load() > 3, qt.IsTrue, qt.Commentf("in any case"))
	})
}

func TestWatcherReadsAStoreThatCannotTellEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := qt.New(t)
		w, store := livenesstest.New(), &counted{Store: new(memstore.Store)}
		watch(t, lifecycle.Watcher{Cleaner: newCleaner(w, oneByOneStore{store}), Poll: time.Second})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		c.Check(store.reads.Load(), qt.Equals, int64(11))
	})
}

func TestWatcherStopsTheStaleToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := qt.New(t)
		w, store := livenesstest.New(), new(memstore.Store)
		put(c, store, newRecord(w, "a"))
		cleaner := newCleaner(w, store)
		cleaner.StaleAfter = time.Hour
		watch(t, lifecycle.Watcher{Cleaner: cleaner, Every: time.Minute})
		w.Advance(2 * time.Hour)
		time.Sleep(time.Minute)
		synctest.Wait()
		c.Check(stopped(c, store), qt.DeepEquals, []string{"a stale"})
	})
}

func TestWatcherTellsOfErrorsAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := qt.New(t)
		w, store := livenesstest.New(), new(memstore.Store)
		put(c, store, newDead(w, "a"))
		fails := 2
		failing := &intercepted{Store: store, before: func(lifecycle.Record) {}}
		failed := errors.New("failed")
		var told []string
		watch(t, lifecycle.Watcher{
			Cleaner: newCleaner(w, stopErr{failing, func() error {
				if fails--; fails >= 0 {
					return failed
				}
				return nil
			}}),
			OnReport: func(report lifecycle.Report, err error) {
				told = append(told, fmt.Sprint(report.Stopped, report.Failed, errors.Is(err, failed)))
			},
		})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		c.Check(told, qt.DeepEquals, []string{"0 1 true", "0 1 true", "1 0 false"})
		c.Check(names(c, store), qt.HasLen, 0)
	})
}

// A host that is shut down in the middle of a pass is told so by Run alone.
func TestWatcherDoesNotReportItsOwnEnd(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	store := yielding(newDead(w, "a"))
	store.onStop = func(ctx context.Context, _ lifecycle.Record, _ lifecycle.Cause) (lifecycle.Outcome, error) {
		cancel()
		return 0, ctx.Err()
	}
	watcher := lifecycle.Watcher{
		Cleaner:  newCleaner(w, store),
		OnReport: func(report lifecycle.Report, err error) { c.Errorf("reported %+v and %v", report, err) },
	}
	c.Check(watcher.Run(ctx), qt.ErrorIs, context.Canceled)
}

// stopErr is a Store whose stops may fail.
type stopErr struct {
	lifecycle.Store
	err func() error
}

func (s stopErr) Stop(ctx context.Context, record lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	if err := s.err(); err != nil {
		return 0, err
	}
	return s.Store.Stop(ctx, record, cause)
}

func TestMisconfiguredWatcherDoesNotRun(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	c.Check(lifecycle.Watcher{}.Run(t.Context()), qt.ErrorIs, lifecycle.ErrMisconfigured)
	dry := lifecycle.Cleaner{Store: new(memstore.Store), DryRun: true}
	c.Check(lifecycle.Watcher{Cleaner: dry}.Run(t.Context()), qt.ErrorIs, lifecycle.ErrMisconfigured)
}

func TestManyDeathsAtOnceAreStoppedByBatches(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	var died []liveness.Identity
	records := map[string][]lifecycle.Record{}
	total := 0
	for i := range 600 {
		record := newDead(w, fmt.Sprint(i))
		died = append(died, record.Identity)
		text := record.Identity.String()
		for range 1 + 299*(i%2) { // some processes have many records
			records[text] = append(records[text], record)
			total++
		}
	}
	for _, n := range lifecycle.StopInBatches(died, records) {
		c.Check(n < 256+300, qt.IsTrue, qt.Commentf("%d in a batch", n))
		total -= n
	}
	c.Check(total, qt.Equals, 0, qt.Commentf("records not stopped"))
	c.Check(records, qt.HasLen, 0)
}

// A closed channel has nothing to say, and must not make pass after pass.
func TestWatcherOutlivesAClosedNotify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := qt.New(t)
		w := livenesstest.New()
		store := &counted{Store: new(memstore.Store)}
		notify := make(chan struct{})
		close(notify)
		watch(t, lifecycle.Watcher{Cleaner: newCleaner(w, store), Notify: notify, Every: time.Hour})
		time.Sleep(time.Minute)
		synctest.Wait()
		c.Check(store.reads.Load(), qt.Equals, int64(1))
	})
}
