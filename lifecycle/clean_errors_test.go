package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

var errDisk = errors.New("disk on fire")

func TestOneBadRecordNeverKeepsTheOthersFromBeingHandled(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range invalid {
		if !test.judge {
			continue
		}
		c.Run(test.name, func(c *qt.C) {
			w := livenesstest.New()
			bad := newDead(w, "bad")
			test.spoil(&bad)
			store := yielding(newDead(w, "first"), bad, newDead(w, "last"))
			report, err := newCleaner(w, store).Clean(c.Context())
			c.Assert(err, qt.ErrorIs, test.want)
			c.Assert(err, qt.ErrorMatches, `lifecycle: judge record.*`)
			c.Assert(report.Stopped, qt.Equals, 2)
			c.Assert(report.Failed, qt.Equals, 1)
			c.Assert(report.Examined, qt.Equals, 3)
			for _, stop := range report.Stops {
				c.Assert(stop.Record.Name, qt.Not(qt.Equals), "bad")
			}
		})
	}
}

// An identity that cannot be one is never stale: what is wrong with it may be
// wrong with the heartbeat.
func TestAnInvalidIdentityIsNotJudgedByItsHeartbeat(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	for _, pid := range []int{-1, math.MinInt} {
		store := yielding(tracking(w, "a", liveness.Identity{PID: pid}))
		w.Reboot()
		cleaner := newCleaner(w, store)
		cleaner.StaleAfter = 1
		report, err := cleaner.Clean(c.Context())
		c.Assert(err, qt.ErrorIs, liveness.ErrInvalid)
		c.Assert(report.Failed, qt.Equals, 1)
	}
}

func TestErrorsOfTheStoreNameTheirRecord(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	store := yielding(newDead(w, "a"), newDead(w, "b"), newDead(w, "c"))
	store.yields[0].err = errDisk
	store.yields = append(store.yields, yielded{err: errors.New("the rest is lost")})
	store.onStop = func(_ context.Context, r lifecycle.Record, _ lifecycle.Cause) (lifecycle.Outcome, error) {
		if r.Name == "b" {
			return 0, errDisk
		}
		return lifecycle.Stopped, nil
	}
	report, err := newCleaner(w, store).Clean(c.Context())
	c.Assert(err, qt.ErrorIs, errDisk)
	c.Assert(strings.Split(err.Error(), "\n"), qt.DeepEquals, []string{
		`lifecycle: read record "a": disk on fire`,
		`lifecycle: stop record "b": disk on fire`,
		`lifecycle: read record: the rest is lost`,
	})
	c.Assert(report.Stopped, qt.Equals, 1)
	c.Assert(report.Failed, qt.Equals, 3)
	c.Assert(report.Examined, qt.Equals, 4)
}

func TestAClosedStoreIsAnError(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	store := &scripted{yields: []yielded{{err: errors.New("store is closed")}}}
	report, err := newCleaner(w, store).Clean(c.Context())
	c.Assert(err, qt.ErrorMatches, "lifecycle: read record: store is closed")
	c.Assert(report.Failed, qt.Equals, 1)
}

func TestAStoreThatReturnsNeitherIsAnError(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	for _, outcome := range []lifecycle.Outcome{0, 3} {
		store := yielding(newDead(w, "a"))
		store.onStop = func(context.Context, lifecycle.Record, lifecycle.Cause) (lifecycle.Outcome, error) {
			return outcome, nil
		}
		for _, s := range []lifecycle.Store{store, batching{store, outcome}} {
			cleaner := newCleaner(w, s)
			cleaner.OnStopped = func(lifecycle.Stop) { c.Error("OnStopped was called") }
			report, err := cleaner.Clean(c.Context())
			c.Assert(err, qt.ErrorMatches, `lifecycle: stop record "a": the store returned neither .*`)
			c.Assert(report.Failed, qt.Equals, 1)
			c.Assert(report.Stopped, qt.Equals, 0)
		}
	}
}

// batching gives all records of a batch one outcome.
type batching struct {
	lifecycle.Store
	outcome lifecycle.Outcome
}

func (b batching) StopBatch(_ context.Context, stops []lifecycle.Stop) (int, error) {
	for i := range stops {
		stops[i].Outcome = b.outcome
	}
	return len(stops), nil
}

func TestErrorsAreCappedAndTheRestCounted(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	store := &scripted{yields: make([]yielded, 250)}
	for i := range store.yields {
		store.yields[i].err = fmt.Errorf("error %d", i)
	}
	report, err := newCleaner(w, store).Clean(c.Context())
	c.Assert(report.Failed, qt.Equals, 250)
	lines := strings.Split(err.Error(), "\n")
	c.Assert(lines, qt.HasLen, 101)
	c.Assert(lines[99], qt.Equals, "lifecycle: read record: error 99")
	c.Assert(lines[100], qt.Equals, "lifecycle: and 150 more errors")
}

func TestACancelledContextStopsNothing(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w, store := livenesstest.New(), new(memstore.Store)
	put(c, store, newDead(w, "a"))
	ctx, cancel := context.WithCancel(c.Context())
	cancel()
	report, err := newCleaner(w, store).Clean(ctx)
	c.Assert(err, qt.ErrorIs, context.Canceled)
	c.Assert(err, qt.ErrorMatches, "lifecycle: clean ended early: context canceled")
	c.Assert(report.Examined, qt.Equals, 0)
	c.Assert(names(c, store), qt.DeepEquals, []string{"a"})
}

func TestACancelledContextEndsThePassBetweenTwoRecords(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, concurrency := range []int{0, 1, 4} {
		w, store := livenesstest.New(), new(memstore.Store)
		for i := range 1000 {
			put(c, store, newDead(w, fmt.Sprint(i)))
		}
		ctx, cancel := context.WithCancelCause(c.Context())
		cleaner := newCleaner(w, oneByOneStore{store})
		cleaner.Concurrency = concurrency
		cleaner.OnStopped = func(lifecycle.Stop) { cancel(nil) }
		report, err := cleaner.Clean(ctx)
		c.Assert(err, qt.ErrorMatches, "lifecycle: clean ended early: context canceled")
		c.Assert(report.Stopped > 0 && report.Stopped <= 256, qt.IsTrue)
		c.Assert(report.Examined, qt.Equals, report.Stopped)
		c.Assert(names(c, store), qt.HasLen, 1000-report.Stopped)
		c.Assert(stopped(c, store), qt.HasLen, report.Stopped)
	}
}

func TestCancellingIsToldAlsoBehindManyErrors(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	store := yielding(make([]lifecycle.Record, 200)...)
	store.yields = append(store.yields, yielded{record: newDead(w, "a")}, yielded{record: newDead(w, "b")})
	ctx, cancel := context.WithCancel(c.Context())
	cleaner := newCleaner(w, store)
	cleaner.OnStopped = func(lifecycle.Stop) { cancel() }
	report, err := cleaner.Clean(ctx)
	c.Assert(err, qt.ErrorIs, context.Canceled)
	c.Assert(err, qt.ErrorIs, lifecycle.ErrInvalidRecord)
	c.Assert(report.Failed, qt.Equals, 200)
	c.Assert(report.Stopped, qt.Equals, 1)
}

// Whatever store and records do, the counts of a report add up.
func TestReportCountsAddUp(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 0))
		w := livenesstest.New()
		store := &scripted{}
		for i := range random.IntN(600) {
			record := tracking(w, fmt.Sprint(i), w.Start())
			var err error
			switch random.IntN(6) {
			case 0:
				record.Owner = "server"
			case 1:
				record.Phase = lifecycle.Phase(random.IntN(5))
			case 2:
				err = errDisk
			case 3, 4:
				w.Exit(record.Identity.PID)
			}
			store.yields = append(store.yields, yielded{record, err})
		}
		answers := []error{nil, nil, errDisk, fmt.Errorf("late: %w", lifecycle.ErrChanged)}
		store.onStop = func(_ context.Context, r lifecycle.Record, _ lifecycle.Cause) (lifecycle.Outcome, error) {
			outcome := lifecycle.Outcome(len(r.Name) % 3)
			return outcome, answers[int(r.Name[len(r.Name)-1])%len(answers)]
		}
		var listed int
		for _, s := range []lifecycle.Store{store, oneByOne{store}} {
			for _, dry := range []bool{false, true} {
				cleaner := newCleaner(w, s)
				cleaner.DryRun, cleaner.Concurrency = dry, random.IntN(4)
				listed = 0
				cleaner.OnStopped = func(lifecycle.Stop) { listed++ }
				r, _ := cleaner.Clean(c.Context())
				c.Assert(r.Examined, qt.Equals, len(store.yields))
				c.Assert(r.Examined, qt.Equals, r.Stopped+r.AlreadyStopped+r.Kept+r.Skipped+r.Failed)
				c.Assert(sum(r.StoppedBy), qt.Equals, r.Stopped)
				c.Assert(sum(r.KeptBy), qt.Equals, r.Kept)
				c.Assert(listed, qt.Equals, r.Stopped)
				c.Assert(r.Stops, qt.HasLen, r.Stopped)
			}
		}
	}
}

// oneByOne stops a batch by calling Stop.
type oneByOne struct{ lifecycle.Store }

func (s oneByOne) StopBatch(ctx context.Context, stops []lifecycle.Stop) (outcomes []lifecycle.Outcome, err error) {
	for _, stop := range stops {
		outcome, err := s.Stop(ctx, stop.Record, stop.Cause)
		if err != nil {
			return outcomes, err
		}
		outcomes = append(outcomes, outcome)
	}
	return outcomes, nil
}

func sum(by map[string]int) (total int) {
	for _, n := range by {
		total += n
	}
	return total
}

func TestAStoreThatIsUnavailableEndsThePass(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	locked := fmt.Errorf("%w: database is locked", lifecycle.ErrUnavailable)
	tries := 0
	store := yielding(newDead(w, "a"), newDead(w, "b"), newDead(w, "c"))
	store.onStop = func(context.Context, lifecycle.Record, lifecycle.Cause) (lifecycle.Outcome, error) {
		tries++
		return 0, locked
	}
	report, err := newCleaner(w, store).Clean(c.Context())
	c.Assert(err, qt.ErrorIs, lifecycle.ErrUnavailable)
	c.Assert(err, qt.ErrorMatches, `lifecycle: stop record "a": store is unavailable: database is locked
lifecycle: clean ended early: store is unavailable: database is locked`)
	c.Assert(tries, qt.Equals, 1)
	c.Assert([]int{report.Examined, report.Failed}, qt.DeepEquals, []int{1, 1})

	batches := newBatchStore(c, w, "a", "b", "c")
	batches.failInBatch = map[string]error{"b": locked}
	report, err = newCleaner(w, batches).Clean(c.Context())
	c.Assert(err, qt.ErrorIs, lifecycle.ErrUnavailable)
	c.Assert(batches.batches, qt.HasLen, 1)
	c.Assert(batches.alone, qt.HasLen, 0)
	c.Assert([]int{report.Examined, report.Stopped, report.Failed}, qt.DeepEquals, []int{2, 1, 1})
	c.Assert(names(c, &batches.Store), qt.DeepEquals, []string{"b", "c"})

	reading := yielding(newDead(w, "a"))
	reading.yields = append(reading.yields, yielded{err: locked}, yielded{record: newDead(w, "b")})
	report, err = newCleaner(w, reading).Clean(c.Context())
	c.Assert(err, qt.ErrorIs, lifecycle.ErrUnavailable)
	c.Assert([]int{report.Examined, report.Stopped, report.Failed}, qt.DeepEquals, []int{2, 1, 1})
}

// A record that changed is read once more, and that may fail.
func TestARecordThatCannotBeReadAgainIsAnErrorAndLeavesTheGateOpen(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	changing, other := newDead(w, "changing"), newDead(w, "other")
	for _, test := range []struct {
		name   string
		second []yielded
		want   string
	}{
		{"named", []yielded{{changing, errDisk}, {other, errDisk}}, `lifecycle: read record "changing": disk on fire`},
		{"nameless", []yielded{{lifecycle.Record{}, errDisk}}, `lifecycle: read record "changing": disk on fire`},
		{"of another record", []yielded{{other, errDisk}, {changing, nil}}, ""},
	} {
		c.Run(test.name, func(c *qt.C) {
			store := yielding(changing)
			store.onStop = func(context.Context, lifecycle.Record, lifecycle.Cause) (lifecycle.Outcome, error) {
				if store.yields = test.second; len(store.yields) > 0 && store.yields[len(store.yields)-1].err == nil {
					store.onStop = nil
				}
				return 0, lifecycle.ErrChanged
			}
			kv := newKV()
			report, err := newCleaner(w, store).CleanOncePerBoot(c.Context(), newGate(w, kv))
			if test.want == "" {
				c.Assert(err, qt.IsNil)
				c.Assert([]int{report.Examined, report.Stopped}, qt.DeepEquals, []int{1, 1})
				return
			}
			c.Assert(err, qt.ErrorMatches, test.want)
			c.Assert([]int{report.Examined, report.Failed}, qt.DeepEquals, []int{1, 1})
			runs(c, newGate(w, kv), true)
		})
	}
}

func TestACancelledPassMatchesItsContextWhateverTheCause(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	ctx, cancel := context.WithCancelCause(c.Context())
	cancel(errDisk)
	_, err := newCleaner(w, yielding(newDead(w, "a"))).Clean(ctx)
	c.Assert(err, qt.ErrorIs, context.Canceled)
}
