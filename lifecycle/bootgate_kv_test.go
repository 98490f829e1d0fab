package lifecycle_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc64"
	"iter"
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

// countingKV counts the calls, and fails at the chosen one, from 1.
type countingKV struct {
	lifecycle.KV
	failGet, failSwap int64
	gets, swaps       atomic.Int64
}

func (k *countingKV) Get(ctx context.Context, key string) (string, error) {
	if k.gets.Add(1) == k.failGet {
		return "", errDisk
	}
	return k.KV.Get(ctx, key)
}

func (k *countingKV) CompareAndSwap(ctx context.Context, key, old, new string) (bool, error) {
	if k.swaps.Add(1) == k.failSwap {
		return false, errDisk
	}
	return k.KV.CompareAndSwap(ctx, key, old, new)
}

func (k *countingKV) calls() string {
	return fmt.Sprintf("%d gets, %d swaps", k.gets.Load(), k.swaps.Load())
}

// cell is a KV that has one value, whatever the key.
type cell struct {
	mu    sync.Mutex
	value string
}

func (k *cell) Get(context.Context, string) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.value, nil
}

func (k *cell) CompareAndSwap(_ context.Context, _, old, new string) (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.value != old {
		return false, nil
	}
	k.value = new
	return true, nil
}

func TestErrorsOfTheKVAreReturned(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		name    string
		kv      *countingKV
		result  error // of the function
		wantRan bool
		want    string
	}{
		{"Get", &countingKV{failGet: 1}, nil, false, "lifecycle: read boot gate: disk on fire"},
		{"the claim", &countingKV{failSwap: 1}, nil, false, "lifecycle: claim boot gate: disk on fire"},
		{"the release", &countingKV{failSwap: 2}, nil, true, "lifecycle: close boot gate: disk on fire"},
		{"the release after a failure", &countingKV{failSwap: 2}, context.DeadlineExceeded, true, "context deadline exceeded\nlifecycle: close boot gate: disk on fire"},
	} {
		c.Run(test.name, func(c *qt.C) {
			test.kv.KV = newKV()
			called := false
			ran, err := newGate(livenesstest.New(), test.kv).Do(c.Context(), func(context.Context) error { called = true; return test.result })
			c.Assert(err, qt.ErrorMatches, test.want)
			c.Assert(ran, qt.Equals, test.wantRan)
			c.Assert(called, qt.Equals, test.wantRan)
		})
	}
}

func TestAGateWithoutAKVIsMisconfigured(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	ran, err := new(lifecycle.BootGate).Do(c.Context(), ok)
	c.Assert(ran, qt.IsFalse)
	c.Assert(err, qt.ErrorIs, lifecycle.ErrMisconfigured)
}

// newer is the text of an identity with a field of a newer version.
func newer(id liveness.Identity) string {
	text, _, _ := strings.Cut(id.String(), " check=")
	text += " color=red"
	return fmt.Sprintf("%s check=%016x", text, crc64.Checksum([]byte(text), crc64.MakeTable(crc64.ECMA)))
}

func TestWhatAKVMayHold(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	alive, dead := w.Start(), w.Start()
	w.Exit(dead.PID)
	for _, test := range []struct {
		name, value string
		run         bool
	}{
		{"nothing", "", true},
		{"garbage", "garbage\x00\xff", true},
		{"a state alone", "done", true},
		{"no number", "done soon", true},
		{"a number too large", "done 99999999999999999999", true},
		{"open", "open 5", true},
		{"done", "done 5", false},
		{"claimed by nobody", "claimed 5", true},
		{"claimed by no run", "claimed 5 " + alive.String(), true},
		{"claimed by an empty identity", "claimed 5 run ", true},
		{"claimed by garbage", "claimed 5 run garbage", true},
		{"claimed by one who lives", "claimed 5 run " + alive.String(), false},
		{"done, in the future", "done 999999999999999", true},
		{"claimed by one who lives, in the future", "claimed 999999999999999 run " + alive.String(), true},
		{"claimed by one who is dead", "claimed 5 run " + dead.String(), true},
		{"done, with a field of a newer version", "done 5 by=somebody", false},
		{"a state of a newer version", "paused 5", true},
		{"a claim with a field of a newer version", "claimed 5 run " + newer(alive), false},
		{"a claim by an identity that was cut short", "claimed 5 run " + alive.String()[:40], true},
		{"a claim by an identity of a newer version", "claimed 5 run rollcall2 pid=7", true},
	} {
		c.Run(test.name, func(c *qt.C) {
			runs(c, newGate(w, &cell{value: test.value}), test.run)
		})
	}
}

// A clock that fails keeps a gate from ageing, not from working.
func TestAGateWithoutAClock(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	gate := newGate(w, newKV())
	gate.Clock, gate.Every = brokenClock{awake: errDisk}, 1
	runs(c, gate, true)
	runs(c, gate, false)
}

// Where the clock of either side cannot be read, a state has no age: it is neither old
// nor of the future.
func TestAStateOfUnknownAgeIsNotOld(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	broken := brokenClock{awake: errDisk}
	for _, test := range []struct {
		name          string
		writes, reads func(*world) lifecycle.Clock
	}{
		{
			"it was written without a clock",
			func(*world) lifecycle.Clock { return broken }, func(w *world) lifecycle.Clock { return w },
		},
		{
			"it is read without a clock",
			func(w *world) lifecycle.Clock { return w }, func(*world) lifecycle.Clock { return broken },
		},
	} {
		c.Run(test.name, func(c *qt.C) {
			w, kv := livenesstest.New(), newKV()
			w.Advance(time.Minute) // so that its awake time is not 0
			first, second := newGate(w, kv), newGate(w, kv)
			first.Clock, second.Clock, second.Every = test.writes(w), test.reads(w), time.Minute
			runs(c, first, true)
			w.Advance(time.Hour)
			runs(c, second, false)

			// A claim holds while its claimer lives, and not where that cannot be judged.
			w, kv = livenesstest.New(), newKV()
			w.Advance(time.Minute)
			first = gateOf(w, kv, w.Start())
			first.Clock = test.writes(w)
			second = newGate(w, kv)
			second.Clock = test.reads(w)
			self, err := first.Self()
			c.Assert(err, qt.IsNil)
			ran, err := first.Do(c.Context(), func(context.Context) error {
				w.Advance(time.Hour)
				runs(c, second, false)
				w.Deny(self.PID)
				runs(c, second, true)
				return nil
			})
			c.Assert(ran, qt.IsTrue)
			c.Assert(err, qt.IsNil)
		})
	}
}

// quicker is a KV in which somebody else swaps first.
type quicker struct {
	lifecycle.KV
	other string
}

func (k quicker) CompareAndSwap(ctx context.Context, key, old, new string) (bool, error) {
	if swapped, err := k.KV.CompareAndSwap(ctx, key, old, k.other); err != nil || !swapped {
		return false, errors.Join(err, errors.New("the claim of the other was not stored"))
	}
	return k.KV.CompareAndSwap(ctx, key, old, new)
}

func TestALostClaimDoesNotRun(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w, kv := livenesstest.New(), newKV()
	runs(c, newGate(w, quicker{kv, "done 0"}), false)
}

// sealed is a Store that must not be touched.
type sealed struct{ c *qt.C }

func (s sealed) Candidates(context.Context) iter.Seq2[lifecycle.Record, error] {
	s.c.Error("Candidates was called")
	return func(func(lifecycle.Record, error) bool) {}
}

func (s sealed) Stop(context.Context, lifecycle.Record, lifecycle.Cause) (lifecycle.Outcome, error) {
	s.c.Error("Stop was called")
	return 0, nil
}

func TestAClosedGateCostsOneGet(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	kv := &countingKV{KV: newKV()}
	selves := 0
	gate := newGate(w, kv)
	gate.Self = func() (liveness.Identity, error) { selves++; return w.Self() }
	cleaner := newCleaner(w, sealed{c})
	cleaner.Liveness = livenessFunc(func(liveness.Identity) liveness.Verdict {
		c.Error("Check was called")
		return liveness.Verdict{}
	})
	runs(c, gate, true)
	c.Assert(kv.calls(), qt.Equals, "1 gets, 2 swaps")
	report, err := cleaner.CleanOncePerBoot(c.Context(), gate)
	c.Assert(err, qt.IsNil)
	c.Assert(report, qt.DeepEquals, lifecycle.Report{GateClosed: true})
	c.Assert(kv.calls(), qt.Equals, "2 gets, 2 swaps")
	c.Assert(selves, qt.Equals, 2)
}

func TestCleanOncePerBootFromBootToBoot(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w, store := livenesstest.New(), new(memstore.Store)
	gate := &lifecycle.BootGate{KV: store.Gate(), Self: w.Self} // Liveness and Clock are the Cleaner's
	clean := func(want string) {
		c.Helper()
		report, err := newCleaner(w, store).CleanOncePerBoot(c.Context(), gate)
		c.Assert(err, qt.IsNil)
		c.Assert(report.String(), qt.Matches, want)
	}
	put(c, store, tracking(w, "a", w.Start()))
	clean(`1 examined: 0 stopped, 1 kept \(1 alive\) in .*`)
	clean("gate closed, nothing examined")
	w.Reboot()
	clean(`1 examined: 1 stopped \(1 exit:reboot\), 0 kept in .*`)
	clean("gate closed, nothing examined")
	put(c, store, newDead(w, "b"))
	clean("gate closed, nothing examined") // until the next boot
	w.RestartContainer()
	w.ExclusiveNamespace()
	clean(`1 examined: 1 stopped \(1 exit:reboot\), 0 kept in .*`)
	c.Assert(stopped(c, store), qt.DeepEquals, []string{"a exit:reboot", "b exit:reboot"})
	c.Assert(gate.Liveness, qt.IsNil)
	c.Assert(gate.Clock, qt.IsNil)
}

func TestAPassWithAnErrorLeavesTheGateOpen(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	gate := newGate(w, newKV())
	store := &scripted{yields: []yielded{{err: errDisk}}}
	for range 2 {
		report, err := newCleaner(w, store).CleanOncePerBoot(c.Context(), gate)
		c.Assert(err, qt.ErrorIs, errDisk)
		c.Assert(report.Failed, qt.Equals, 1)
		c.Assert(report.GateClosed, qt.IsFalse)
	}
	_, err := newCleaner(w, yielding()).CleanOncePerBoot(c.Context(), gate)
	c.Assert(err, qt.IsNil)
	runs(c, gate, false)
}

func TestAGateThatCannotBeReadIsNotClosed(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	gate := newGate(w, &countingKV{KV: newKV(), failGet: 1})
	report, err := newCleaner(w, sealed{c}).CleanOncePerBoot(c.Context(), gate)
	c.Assert(err, qt.ErrorIs, errDisk)
	c.Assert(report.GateClosed, qt.IsFalse)
}
