package lifecycle_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

func TestCleanStopsWhatIsGoneAndKeepsTheRest(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w, store := livenesstest.New(), new(memstore.Store)
	old := tracking(w, "old", w.Start())
	w.Reboot()
	foreign := newDead(w, "foreign")
	foreign.Owner = "server"
	resting := newRecord(w, "resting")
	resting.Phase = lifecycle.Inactive
	put(c, store, old, tracking(w, "new", w.Start()), newDead(w, "gone"), foreign, resting)

	report, err := newCleaner(w, store).Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(names(c, store), qt.DeepEquals, []string{"new", "foreign", "resting"})
	c.Assert(stopped(c, store), qt.DeepEquals, []string{"old exit:reboot", "gone exit:died"})
	c.Assert(report.Examined, qt.Equals, 5)
	c.Assert(report.Stopped, qt.Equals, 2)
	c.Assert(report.Kept, qt.Equals, 2)
	c.Assert(report.Skipped, qt.Equals, 1)
	c.Assert(report.StoppedBy, qt.DeepEquals, map[string]int{"exit:reboot": 1, "exit:died": 1})
	c.Assert(report.KeptBy, qt.DeepEquals, map[string]int{"alive": 1, "at_rest": 1})
	c.Assert(report.Took >= 0, qt.IsTrue) // some clocks stand still for milliseconds
	c.Assert(report.GateClosed || report.DryRun, qt.IsFalse)
	c.Assert(report.Stops, qt.HasLen, 2)
	c.Assert(report.Stops[0].Record.Name, qt.Equals, "old")
	c.Assert(report.Stops[0].Cause.By, qt.Equals, "system")
	c.Assert(report.Stops[0].Cause.Reason, qt.Equals, "exit:reboot")
	c.Assert(report.Stops[0].Cause.Verdict.Reason, qt.Equals, liveness.Rebooted)

	again, err := newCleaner(w, store).Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(again.Stopped, qt.Equals, 0)
	c.Assert(again.Examined, qt.Equals, 3)
}

func TestCleanTellsTheStoreWhoAndWhy(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	store := yielding(newDead(w, "a"))
	var got lifecycle.Cause
	store.onStop = func(_ context.Context, _ lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
		got = cause
		return lifecycle.Stopped, nil
	}
	_, err := newCleaner(w, store).Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(got, qt.Equals, lifecycle.Cause{
		By: "system", Reason: "exit:died", IfUnchanged: true,
		Verdict: liveness.Verdict{State: liveness.Dead, Reason: liveness.NoProcess},
	})
}

func TestAnAddressIsNotNeeded(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	var s lifecycle.Store = new(memstore.Store)
	report, err := lifecycle.Cleaner{Store: s}.Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(report.Examined, qt.Equals, 0)
}

func TestCleanerWithoutAStoreIsMisconfigured(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	_, err := lifecycle.Cleaner{}.Clean(c.Context())
	c.Assert(err, qt.ErrorIs, lifecycle.ErrMisconfigured)
	_, err = lifecycle.Cleaner{}.Decide(lifecycle.Record{})
	c.Assert(err, qt.ErrorIs, lifecycle.ErrMisconfigured)
	_, err = lifecycle.Cleaner{Store: new(memstore.Store)}.CleanOncePerBoot(c.Context(), nil)
	c.Assert(err, qt.ErrorIs, lifecycle.ErrMisconfigured)
}

func TestDryRunTouchesNothing(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w, store := livenesstest.New(), new(memstore.Store)
	put(c, store, newDead(w, "gone"), tracking(w, "runs", w.Start()))
	var seen []string
	cleaner := newCleaner(w, store)
	cleaner.DryRun = true
	cleaner.OnStopped = func(s lifecycle.Stop) { seen = append(seen, s.Record.Name) }

	kv := &countingKV{KV: store.Gate()}
	for range 2 { // and the gate is left alone
		report, err := cleaner.CleanOncePerBoot(c.Context(), &lifecycle.BootGate{KV: kv, Self: w.Self})
		c.Assert(err, qt.IsNil)
		c.Assert(report.DryRun, qt.IsTrue)
		c.Assert(report.GateClosed, qt.IsFalse)
		c.Assert(report.StoppedBy, qt.DeepEquals, map[string]int{"exit:died": 1})
		c.Assert(report.Stops, qt.HasLen, 1)
		c.Assert(report.String(), qt.Matches, `2 examined: 1 to stop \(1 exit:died\), 1 kept \(1 alive\) in .*`)
	}
	c.Assert(kv.calls(), qt.Equals, "0 gets, 0 swaps")
	c.Assert(seen, qt.DeepEquals, []string{"gone", "gone"})
	c.Assert(names(c, store), qt.DeepEquals, []string{"gone", "runs"})
	c.Assert(stopped(c, store), qt.HasLen, 0)
}

func TestDryRunDoesNotStopInBatchesEither(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w, store := livenesstest.New(), new(batchStore)
	put(c, &store.Store, newDead(w, "gone"))
	cleaner := newCleaner(w, store)
	cleaner.DryRun = true
	report, err := cleaner.Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(report.Stopped, qt.Equals, 1)
	c.Assert(store.batches, qt.HasLen, 0)
	c.Assert(names(c, &store.Store), qt.DeepEquals, []string{"gone"})
}

func TestANameRegisteredAgainIsNotStopped(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	store := &intercepted{Store: new(memstore.Store)}
	put(c, store.Store, newDead(w, "a"))
	store.before = func(judged lifecycle.Record) {
		_, err := store.Store.Stop(c.Context(), judged, lifecycle.Cause{By: "user", Reason: "restart"})
		c.Assert(err, qt.IsNil)
		next := tracking(w, "a", w.Start())
		next.Incarnation = "a-2"
		put(c, store.Store, next)
	}
	report, err := newCleaner(w, store).Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(report.Stopped, qt.Equals, 0)
	c.Assert(report.AlreadyStopped, qt.Equals, 1)
	c.Assert(report.Stops, qt.HasLen, 0)
	c.Assert(names(c, store.Store), qt.DeepEquals, []string{"a"})
	c.Assert(stopped(c, store.Store), qt.DeepEquals, []string{"a restart"})
}

func TestAHeartbeatInBetweenIsRespected(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	store := &intercepted{Store: new(memstore.Store)}
	put(c, store.Store, newRecord(w, "a"))
	w.Advance(time.Hour + 1)
	store.before = func(judged lifecycle.Record) {
		judged.Heartbeat = lifecycle.Beat(w)
		put(c, store.Store, judged)
	}
	cleaner := newCleaner(w, store)
	cleaner.StaleAfter = time.Hour
	report, err := cleaner.Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(report.Stopped, qt.Equals, 0)
	c.Assert(report.KeptBy, qt.DeepEquals, map[string]int{"heartbeat": 1}, qt.Commentf("as it was judged the second time"))
	c.Assert(names(c, store.Store), qt.DeepEquals, []string{"a"})
	c.Assert(stopped(c, store.Store), qt.HasLen, 0)
}

// restarting has another process that dies for a dead record, so many times just
// before it is to be stopped.
func restarting(w *world, store *intercepted, times int) {
	store.before = func(judged lifecycle.Record) {
		if times--; times >= 0 {
			judged.Identity = newDead(w, judged.Name).Identity
			_, _ = store.Put(context.Background(), judged)
		}
	}
}

func TestARecordThatChangedIsJudgedAgain(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	store := &intercepted{Store: new(memstore.Store)}
	put(c, store.Store, newDead(w, "a"), tracking(w, "runs", w.Start()), newDead(w, "b"))
	restarting(w, store, 1)
	report, err := newCleaner(w, store).CleanOncePerBoot(c.Context(), newGate(w, store.Gate()))
	c.Assert(err, qt.IsNil)
	report.Took, report.Stops = 0, nil
	c.Assert(report.String(), qt.Equals, "3 examined: 2 stopped (2 exit:died), 1 kept (1 alive) in 0s")
	c.Assert(names(c, store.Store), qt.DeepEquals, []string{"runs"})
	runs(c, newGate(w, store.Gate()), false)
}

// A hook may beat for an agent that has died.
func TestAHeartbeatDoesNotBringTheDeadBack(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	store := &intercepted{Store: new(memstore.Store)}
	put(c, store.Store, newDead(w, "a"), newRecord(w, "stale"))
	store.before = func(judged lifecycle.Record) {
		judged.Heartbeat = lifecycle.Beat(w)
		put(c, store.Store, judged)
	}
	cleaner := newCleaner(w, store)
	cleaner.StaleAfter = time.Hour
	w.Advance(2 * time.Hour)
	report, err := cleaner.Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Check(report.StoppedBy, qt.DeepEquals, map[string]int{"exit:died": 1})
	c.Check(names(c, store.Store), qt.DeepEquals, []string{"stale"}, qt.Commentf("it has beaten"))
}

func TestARecordThatKeepsChangingLeavesTheGateOpen(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	store := &intercepted{Store: new(memstore.Store)}
	put(c, store.Store, newDead(w, "a"))
	restarting(w, store, 2)
	report, err := newCleaner(w, store).CleanOncePerBoot(c.Context(), newGate(w, store.Gate()))
	c.Assert(err, qt.IsNil)
	c.Assert(report.KeptBy, qt.DeepEquals, map[string]int{"changed": 1})
	c.Assert(report.GateClosed, qt.IsFalse)
	report, err = newCleaner(w, store).CleanOncePerBoot(c.Context(), newGate(w, store.Gate()))
	c.Assert(err, qt.IsNil)
	c.Assert(report.Stopped, qt.Equals, 1)
}

func TestARecordThatChangedAndWasStoppedByAnotherIsAlreadyStopped(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	store := &intercepted{Store: new(memstore.Store)}
	put(c, store.Store, newDead(w, "a"), newDead(w, "b"))
	store.before = func(judged lifecycle.Record) {
		if judged.Name == "a" {
			judged.Phase = lifecycle.Inactive
			put(c, store.Store, judged)
			return
		}
		stored, err := store.Records(c.Context())
		c.Check(err, qt.IsNil)
		_, err = store.Store.Stop(c.Context(), stored[0], lifecycle.Cause{By: "user", Reason: "asked"})
		c.Check(err, qt.IsNil)
	}
	report, err := newCleaner(w, store).Clean(c.Context())
	c.Assert(err, qt.IsNil)
	report.Took, report.Stops = 0, nil
	c.Assert(report.String(), qt.Equals, "2 examined: 1 stopped (1 exit:died), 0 kept, 1 already stopped in 0s")
	c.Assert(stopped(c, store.Store), qt.DeepEquals, []string{"a asked", "b exit:died"})
}

func TestWhatItsParentTookAlongIsAlreadyStopped(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w, store := livenesstest.New(), new(memstore.Store)
	child := newDead(w, "child")
	child.Parent = "parent"
	put(c, store, newDead(w, "parent"), child)
	report, err := newCleaner(w, store).Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(report.Stopped, qt.Equals, 1)
	c.Assert(report.AlreadyStopped, qt.Equals, 1)
	c.Assert(stopped(c, store), qt.DeepEquals, []string{"child parent_stopped", "parent exit:died"})
}

func TestCallbacksAndLog(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	hidden := tracking(w, "hidden", w.Start())
	w.Deny(hidden.Identity.PID)
	store := yielding(newDead(w, "gone"), tracking(w, "runs", w.Start()), hidden, newDead(w, "late"), newDead(w, "odd"))
	store.onStop = func(_ context.Context, r lifecycle.Record, _ lifecycle.Cause) (lifecycle.Outcome, error) {
		switch r.Name {
		case "late":
			return lifecycle.AlreadyStopped, nil
		case "odd":
			return 0, errors.New("odd")
		}
		return lifecycle.Stopped, nil
	}
	var log bytes.Buffer
	var seen []string
	cleaner := newCleaner(w, store)
	cleaner.OnStopped = func(s lifecycle.Stop) { seen = append(seen, s.Record.Name+" "+s.Cause.Reason) }
	cleaner.OnProgress = func(examined, stopped int) { seen = append(seen, fmt.Sprint(examined, stopped)) }
	cleaner.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	_, err := cleaner.Clean(c.Context())
	c.Assert(err, qt.ErrorMatches, `lifecycle: stop record "odd": odd`)
	c.Assert(seen, qt.DeepEquals, []string{"gone exit:died", "5 1"})
	c.Assert(log.String(), qt.Equals, `level=INFO msg=stopped record=gone incarnation=gone-1 reason=exit:died verdict="dead: no process has its PID" dry_run=false
level=DEBUG msg=kept record=hidden incarnation=hidden-1 reason=unreadable verdict="unknown: the evidence could not be read (permission denied by the test)" dry_run=false
`)

	log.Reset()
	cleaner.Logger = slog.New(slog.NewTextHandler(&log, nil)) // Info
	_, _ = cleaner.Clean(c.Context())
	c.Assert(bytes.Count(log.Bytes(), []byte("\n")), qt.Equals, 1)
}

func TestProgressOfALongPass(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	dead := newDead(w, "a")
	store := yielding(make([]lifecycle.Record, 2500)...)
	for i := range store.yields {
		store.yields[i].record = dead
	}
	var seen [][2]int
	cleaner := newCleaner(w, store)
	cleaner.OnProgress = func(examined, stopped int) { seen = append(seen, [2]int{examined, stopped}) }
	report, err := cleaner.Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(seen, qt.DeepEquals, [][2]int{{1000, 1000}, {2000, 2000}, {2500, 2500}})
	c.Assert(report.Stopped, qt.Equals, 2500)
	c.Assert(report.Stops, qt.HasLen, 1000)
}

func TestProcessOfManyRecordsIsLookedAtOnce(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	process := w.Start()
	var asked int
	counting := livenessFunc(func(id liveness.Identity) liveness.Verdict {
		asked++
		return w.Check(id)
	})
	records := make([]lifecycle.Record, 10)
	for i := range records {
		records[i] = tracking(w, fmt.Sprint(i), process)
	}
	cleaner := newCleaner(w, yielding(records...))
	cleaner.Liveness = counting
	report, err := cleaner.Clean(t.Context())
	c.Assert(err, qt.IsNil)
	c.Check(report.KeptBy, qt.DeepEquals, map[string]int{lifecycle.ReasonAlive: 10})
	c.Check(asked, qt.Equals, 1)

	w.Exit(process.PID)
	report, err = cleaner.Clean(t.Context()) // another pass looks again
	c.Assert(err, qt.IsNil)
	c.Check(report.Stopped, qt.Equals, 10)
}
