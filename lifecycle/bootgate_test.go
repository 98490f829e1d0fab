package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

// newGate is a gate for the process that judges the world.
func newGate(w *world, kv lifecycle.KV) *lifecycle.BootGate {
	return &lifecycle.BootGate{KV: kv, Liveness: w, Clock: w, Self: w.Self}
}

// gateOf is a gate for some other process of the world.
func gateOf(w *world, kv lifecycle.KV, self liveness.Identity) *lifecycle.BootGate {
	gate := newGate(w, kv)
	gate.Self = func() (liveness.Identity, error) { return self, nil }
	return gate
}

func newKV() lifecycle.KV { return new(memstore.Store).Gate() }

func ok(context.Context) error { return nil }

// runs checks whether the gate lets a function run that succeeds.
func runs(c *qt.C, gate *lifecycle.BootGate, want bool) {
	c.Helper()
	called := false
	ran, err := gate.Do(c.Context(), func(context.Context) error { called = true; return nil })
	c.Assert(err, qt.IsNil)
	c.Assert(ran, qt.Equals, want)
	c.Assert(called, qt.Equals, want)
}

func TestGateRunsOncePerBoot(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	gate := newGate(w, newKV())
	runs(c, gate, true)
	runs(c, gate, false)
	w.Advance(year)
	runs(c, gate, false)
	w.Reboot()
	runs(c, gate, true)
	runs(c, gate, false)
}

func TestGateRunsAgainInARestartedContainer(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	gate := newGate(w, newKV())
	runs(c, gate, true)
	w.RestartContainer()
	runs(c, gate, true)
	runs(c, gate, false)
}

func TestGateRunsAgainWhenANamespaceNumberIsGivenAnew(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	kv := newKV()
	runs(c, newGate(w, kv), true)
	self, err := w.Self()
	c.Assert(err, qt.IsNil)
	for _, change := range []func(*liveness.Identity){
		func(id *liveness.Identity) { id.Namespace.InitStart++ },
		func(id *liveness.Identity) { id.Namespace.PIDUnique++ },
	} {
		later := self
		change(&later)
		runs(c, gateOf(w, kv, later), true)
	}
}

func TestGateRunsAgainAfterASoftReboot(t *testing.T) {
	c := qt.New(t)
	gate := newGate(livenesstest.New(), newKV())
	t.Setenv("SYSTEMD_SOFT_REBOOTS_COUNT", "0")
	runs(c, gate, true)
	t.Setenv("SYSTEMD_SOFT_REBOOTS_COUNT", "1")
	runs(c, gate, true)
	runs(c, gate, false)
}

func TestGatesOfOtherNamesAreOtherGates(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	gate := newGate(livenesstest.New(), newKV())
	runs(c, gate, true)
	other := *gate
	for _, name := range []string{"other", "third"} {
		other.Name = name
		runs(c, &other, true)
	}
	other.Name = "clean" // the default
	runs(c, &other, false)
}

func TestGateOpensAgainEvery(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	gate := newGate(w, newKV())
	gate.Every = time.Hour
	runs(c, gate, true)
	w.Advance(time.Hour - 1)
	runs(c, gate, false)
	w.Advance(1)
	runs(c, gate, true)
	runs(c, gate, false)
}

func TestAFailureLeavesTheGateOpen(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	gate := newGate(livenesstest.New(), newKV())
	ran, err := gate.Do(c.Context(), func(context.Context) error { return errDisk })
	c.Assert(ran, qt.IsTrue)
	c.Assert(err, qt.Equals, errDisk)
	runs(c, gate, true)
}

func TestAPanicLeavesTheGateOpen(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	gate := newGate(livenesstest.New(), newKV())
	c.Assert(func() { _, _ = gate.Do(c.Context(), func(context.Context) error { panic("oh") }) }, qt.PanicMatches, "oh")
	runs(c, gate, true)
}

func TestACancelledRunReleasesTheGate(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	gate := newGate(livenesstest.New(), newKV())
	ctx, cancel := context.WithCancel(c.Context())
	ran, err := gate.Do(ctx, func(ctx context.Context) error { cancel(); return ctx.Err() })
	c.Assert(ran, qt.IsTrue)
	c.Assert(err, qt.ErrorIs, context.Canceled)
	runs(c, gate, true)
}

func TestARunThatSucceedsAfterCancellingClosesTheGate(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	gate := newGate(livenesstest.New(), newKV())
	ctx, cancel := context.WithCancel(c.Context())
	ran, err := gate.Do(ctx, func(context.Context) error { cancel(); return nil })
	c.Assert(ran, qt.IsTrue)
	c.Assert(err, qt.IsNil)
	runs(c, gate, false)
}

func TestACancelledContextDoesNotRun(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	ctx, cancel := context.WithCancel(c.Context())
	cancel()
	kv := &countingKV{KV: newKV()}
	ran, err := newGate(w, kv).Do(ctx, ok)
	c.Assert(ran, qt.IsFalse)
	c.Assert(err, qt.ErrorIs, context.Canceled)
	c.Assert(kv.calls(), qt.Equals, "0 gets, 0 swaps")
}

func TestLosersReturnAtOnceWhileTheClaimerLives(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	kv := newKV()
	ran, err := newGate(w, kv).Do(c.Context(), func(context.Context) error {
		w.Advance(5*time.Minute - 1)
		runs(c, gateOf(w, kv, w.Start()), false)
		return nil
	})
	c.Assert(err, qt.IsNil)
	c.Assert(ran, qt.IsTrue)
}

// A claimer that was stopped from its terminal, or hangs, holds nobody up.
func TestAClaimerThatDoesNotComeToAnEndIsNotWaitedForAnyLonger(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		name          string
		timeout, held time.Duration
	}{
		{"by default", 0, 5 * time.Minute},
		{"as long as the host says", time.Hour, time.Hour},
	} {
		c.Run(test.name, func(c *qt.C) {
			w, kv := livenesstest.New(), newKV()
			claimer := claimed(c, w, kv)
			store := new(memstore.Store)
			put(c, store, newDead(w, "a"))
			var log strings.Builder
			cleaner := newCleaner(w, store)
			cleaner.Logger = slog.New(slog.NewTextHandler(&log, nil))
			gate := newGate(w, kv)
			gate.ClaimTimeout = test.timeout
			w.Advance(test.held - 1)
			report, err := cleaner.CleanOncePerBoot(c.Context(), gate)
			c.Assert(err, qt.IsNil)
			c.Check(report.GateClosed, qt.IsTrue)
			c.Check(report.GateClaimer.String(), qt.Equals, claimer.String())
			c.Check(report.String(), qt.Equals, fmt.Sprintf("gate closed, PID %d is running it, nothing examined", claimer.PID))

			w.Advance(1)
			report, err = cleaner.CleanOncePerBoot(c.Context(), gate)
			c.Assert(err, qt.IsNil)
			c.Check(report.GateClosed, qt.IsFalse)
			c.Check(report.Stopped, qt.Equals, 1)
			c.Check(report.GateClaimer.String(), qt.Equals, claimer.String())
			c.Check(report.String(), qt.Matches, fmt.Sprintf(`1 examined: 1 stopped .*, beside PID %d, which has claimed the gate for too long`, claimer.PID))
			c.Check(log.String(), qt.Contains, "boot gate claimed for too long")
			c.Check(log.String(), qt.Contains, fmt.Sprintf("pid=%d", claimer.PID))

			report, err = cleaner.CleanOncePerBoot(c.Context(), gate)
			c.Assert(err, qt.IsNil)
			c.Check(report.GateClosed, qt.IsTrue)
			c.Check(report.GateClaimer, qt.IsNil)
		})
	}
}

func TestAClaimWithoutALimitHoldsAsLongAsItsClaimerLives(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w, kv := livenesstest.New(), newKV()
	claimer := claimed(c, w, kv)
	gate := newGate(w, kv)
	gate.ClaimTimeout = -1
	w.Advance(year)
	runs(c, gate, false)
	w.Exit(claimer.PID)
	runs(c, gate, true)
}

// The ID of a boot can come again, on a small machine without randomness. Its
// awake time has gone back then.
func TestAStateOfALaterAwakeTimeIsOfAnotherBoot(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, end := range []func(*qt.C, *world, lifecycle.KV){
		func(c *qt.C, w *world, kv lifecycle.KV) { runs(c, newGate(w, kv), true) },
		func(c *qt.C, w *world, kv lifecycle.KV) { claimed(c, w, kv) },
	} {
		w, kv := livenesstest.New(), newKV()
		w.Advance(5 * time.Hour)
		end(c, w, kv)
		gate := newGate(w, kv)
		gate.Clock = fixedClock{boot: bootOf(c, w), awake: time.Minute}
		runs(c, gate, true)
		runs(c, gate, false)
	}
}

// claimed leaves a claim of a process that never came to release it.
func claimed(c *qt.C, w *world, kv lifecycle.KV) liveness.Identity {
	claimer := w.Start()
	dying := &countingKV{KV: kv, failSwap: 2}
	_, err := gateOf(w, dying, claimer).Do(c.Context(), ok)
	c.Assert(err, qt.ErrorIs, errDisk)
	return claimer
}

func TestAClaimOfADeadProcessIsTakenOver(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, end := range []func(*world, int){(*world).Exit, (*world).ExitUnreaped, func(w *world, pid int) { w.Reuse(pid) }} {
		w, kv := livenesstest.New(), newKV()
		claimer := claimed(c, w, kv)
		runs(c, newGate(w, kv), false)
		end(w, claimer.PID)
		runs(c, newGate(w, kv), true)
		runs(c, newGate(w, kv), false)
	}
}

// The claimer itself is alive and knows that it is not at it any more.
func TestAClaimThatCouldNotBeTakenBackIsTakenOverByItsOwnProcess(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w, kv := livenesstest.New(), newKV()
	failing := newGate(w, &countingKV{KV: kv, failSwap: 2})
	_, err := failing.Do(c.Context(), ok)
	c.Assert(err, qt.ErrorIs, errDisk)
	runs(c, gateOf(w, kv, w.Start()), false) // to another process it is at it
	runs(c, newGate(w, kv), true)
	runs(c, newGate(w, kv), false)
}

// Also through another gate over the same KV.
func TestAProcessDoesNotRunTwiceAtOnce(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w, kv := livenesstest.New(), newKV()
	ran, err := newGate(w, kv).Do(c.Context(), func(context.Context) error {
		w.Advance(5*time.Minute - 1)
		runs(c, newGate(w, kv), false)
		return nil
	})
	c.Assert(err, qt.IsNil)
	c.Assert(ran, qt.IsTrue)
}

func TestAClaimThatCanBeNeitherJudgedNorTimedIsTakenOver(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w, kv := livenesstest.New(), newKV()
	claimer := claimed(c, w, kv)
	w.Deny(claimer.PID)
	gate := newGate(w, kv)
	gate.Clock = brokenClock{awake: errDisk}
	runs(c, gate, true)
}

func TestAClaimThatCannotBeJudgedHoldsForAMinute(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w, kv := livenesstest.New(), newKV()
	claimer := claimed(c, w, kv)
	w.Deny(claimer.PID)
	runs(c, newGate(w, kv), false)
	w.Advance(time.Minute - 1)
	runs(c, newGate(w, kv), false)
	w.Advance(1)
	runs(c, newGate(w, kv), true)
}

func TestAnOldClaimerDoesNotUndoTheClaimThatTookOver(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, result := range []error{nil, errDisk} {
		w, kv := livenesstest.New(), newKV()
		old := w.Start()
		ran, err := gateOf(w, kv, old).Do(c.Context(), func(context.Context) error {
			w.Exit(old.PID) // so it seems to the others
			next := claimed(c, w, kv)
			runs(c, newGate(w, kv), false)
			c.Cleanup(func() { w.Exit(next.PID) })
			return result
		})
		c.Assert(ran, qt.IsTrue)
		c.Assert(err, qt.Equals, result)
		runs(c, newGate(w, kv), false) // the next one's claim still stands
	}
}

func TestWhereTheBootIsUnknownItRunsEveryTime(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	for _, self := range []func() (liveness.Identity, error){
		func() (liveness.Identity, error) { return liveness.Identity{}, errors.ErrUnsupported },
		func() (liveness.Identity, error) { return liveness.Identity{PID: 1}, nil },
		func() (liveness.Identity, error) { return w.Start(), errors.ErrUnsupported },
	} {
		kv := &countingKV{KV: newKV()}
		gate := newGate(w, kv)
		gate.Self = self
		runs(c, gate, true)
		runs(c, gate, true)
		ran, err := gate.Do(c.Context(), func(context.Context) error { return errDisk })
		c.Assert(ran, qt.IsTrue)
		c.Assert(err, qt.Equals, errDisk)
		c.Assert(kv.calls(), qt.Equals, "0 gets, 0 swaps")
	}
}

func TestOneOfManyRuns(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w, kv := livenesstest.New(), newKV()
	var entered, ran atomic.Int64
	start := make(chan struct{})
	var wg sync.WaitGroup
	for range 64 {
		gate := gateOf(w, kv, w.Start())
		wg.Go(func() {
			<-start
			did, err := gate.Do(c.Context(), func(context.Context) error { entered.Add(1); return nil })
			c.Check(err, qt.IsNil)
			if did {
				ran.Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	c.Assert(fmt.Sprint(entered.Load(), ran.Load()), qt.Equals, "1 1")
}
