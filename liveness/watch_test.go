package liveness_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync/atomic"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

// newWatch is System.NewWatch, which must not fail.
func newWatch(t testing.TB, system *liveness.System) *liveness.Watch {
	t.Helper()
	watch, err := system.NewWatch()
	if os.Getenv(oldKernelVariable) == "no pidfd" && errors.Is(err, errors.ErrUnsupported) {
		t.Skip("processes cannot be watched on such a kernel")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { watch.Close() })
	return watch
}

// wantDeath checks what Next says.
func wantDeath(c *qt.C, watch *liveness.Watch, want liveness.Identity) liveness.Verdict {
	c.Helper()
	id, verdict, err := watch.Next(c.Context())
	c.Assert(err, qt.IsNil)
	c.Check(id, qt.Equals, want)
	c.Check(verdict.State, qt.Equals, liveness.Dead)
	return verdict
}

// wantNoDeath checks that Next has nothing to say.
func wantNoDeath(c *qt.C, watch *liveness.Watch) {
	c.Helper()
	_, _, err := watch.Next(cancelled())
	c.Check(err, qt.ErrorIs, context.Canceled)
}

func TestWatchWhereNothingCanBeWatched(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	watch, err := liveness.NewWatch()
	if err == nil {
		watch.Close()
	}
	if proctest.Platform(runtime.GOOS) == "any other" {
		c.Check(err, qt.ErrorIs, errors.ErrUnsupported)
		c.Check(err, qt.ErrorMatches, "liveness: watch: .*")
	}
}

func TestWatchTellsOfADeathOnce(t *testing.T) {
	system, c := judge(t)
	watch := newWatch(t, system)
	first, second := proctest.Start(t, proctest.Command("hold")), proctest.Start(t, proctest.Command("hold"))
	firstID, err := liveness.CaptureProcess(first.Process)
	c.Assert(err, qt.IsNil)
	secondID, err := liveness.CaptureProcess(second.Process)
	c.Assert(err, qt.IsNil)
	for _, id := range []liveness.Identity{firstID, secondID, firstID} {
		c.Assert(watch.Add(id), qt.IsNil)
	}
	c.Check(watch.Len(), qt.Equals, 2)
	wantNoDeath(c, watch)

	second.Kill()
	wantDeath(c, watch, secondID)
	wantNoDeath(c, watch)
	c.Check(watch.Len(), qt.Equals, 1)
	first.Kill()
	wantDeath(c, watch, firstID)
	wantNoDeath(c, watch)
	c.Check(watch.Len(), qt.Equals, 0)
}

func TestWatchTellsAtOnceOfWhoIsDeadAlready(t *testing.T) {
	system, c := judge(t)
	watch := newWatch(t, system)
	child := proctest.Start(t, proctest.Command("hold"))
	id, err := liveness.CaptureProcess(child.Process)
	c.Assert(err, qt.IsNil)
	reused := id
	reused.Unique = 0
	reused.Start++
	c.Assert(watch.Add(reused), qt.IsNil)
	c.Check(wantDeath(c, watch, reused).Reason, qt.Equals, liveness.PIDReused)

	// It wakes up one who waits.
	found := make(chan error)
	go func() {
		got, _, err := watch.Next(c.Context())
		if got != reused {
			err = errors.Join(err, errors.New(got.String()))
		}
		found <- err
	}()
	runtime.Gosched()
	c.Assert(watch.Add(reused), qt.IsNil)
	c.Check(<-found, qt.IsNil)
	wantNoDeath(c, watch)
}

func TestWatchRefusesWhoIsUndecided(t *testing.T) {
	system, c := judge(t)
	watch := newWatch(t, system)
	child := proctest.Start(t, proctest.Command("hold"))
	err := watch.Add(liveness.Identity{PID: child.PID()})
	c.Check(err, qt.ErrorIs, liveness.ErrUndecided)
	c.Check(err, qt.ErrorMatches, `liveness: watch PID \d+: unknown: nothing recorded tells whose PID it is now`)
	for _, id := range []liveness.Identity{{}, {PID: -1}} {
		err = watch.Add(id)
		c.Check(err, qt.ErrorIs, liveness.ErrUndecided)
		c.Check(err, qt.ErrorIs, liveness.ErrInvalid)
		watch.Remove(id)
	}
	c.Check(watch.Len(), qt.Equals, 0)
	wantNoDeath(c, watch)
}

func TestRemovedProcessIsNotToldOf(t *testing.T) {
	system, c := judge(t)
	watch := newWatch(t, system)
	child, other := proctest.Start(t, proctest.Command("hold")), proctest.Start(t, proctest.Command("hold"))
	id, err := liveness.CaptureProcess(child.Process)
	c.Assert(err, qt.IsNil)
	otherID, err := liveness.CaptureProcess(other.Process)
	c.Assert(err, qt.IsNil)
	c.Assert(watch.Add(id), qt.IsNil)
	c.Assert(watch.Add(otherID), qt.IsNil)
	watch.Remove(id)
	watch.Remove(id)
	child.Kill()
	other.Kill()
	wantDeath(c, watch, otherID)
	wantNoDeath(c, watch)

	// Nor one that is dead and was not told of yet.
	reused := id
	reused.Unique = 0
	reused.Start++
	c.Assert(watch.Add(reused), qt.IsNil)
	watch.Remove(reused)
	wantNoDeath(c, watch)
	c.Check(watch.Len(), qt.Equals, 0)
}

func TestNextObeysTheContext(t *testing.T) {
	system, c := judge(t)
	watch := newWatch(t, system)
	child := proctest.Start(t, proctest.Command("hold"))
	id, err := liveness.CaptureProcess(child.Process)
	c.Assert(err, qt.IsNil)
	c.Assert(watch.Add(id), qt.IsNil)
	ctx, cancel := context.WithCancel(t.Context())
	const waiters = 3
	done := make(chan error)
	for range waiters {
		go func() { _, _, err := watch.Next(ctx); done <- err }()
	}
	cancel()
	for range waiters {
		c.Check(<-done, qt.ErrorIs, context.Canceled)
	}
	child.Kill()
	wantDeath(c, watch, id)
}

func TestClosedWatch(t *testing.T) {
	system, c := judge(t)
	watch := newWatch(t, system)
	child := proctest.Start(t, proctest.Command("hold"))
	id, err := liveness.CaptureProcess(child.Process)
	c.Assert(err, qt.IsNil)
	c.Assert(watch.Add(id), qt.IsNil)
	done := make(chan error)
	go func() { _, _, err := watch.Next(t.Context()); done <- err }()
	runtime.Gosched()
	c.Check(watch.Close(), qt.IsNil)
	c.Check(<-done, qt.ErrorIs, os.ErrClosed)
	c.Check(watch.Add(id), qt.ErrorIs, os.ErrClosed)
	c.Check(watch.Close(), qt.ErrorIs, os.ErrClosed)
	watch.Remove(id)
	c.Check(watch.Len(), qt.Equals, 0)
	c.Check(system.Check(id).State, qt.Equals, liveness.Alive)
}

// What interrupts a Next is over when Next returns: it would interrupt the next
// one, or work on what was closed.
func TestNextOutlivesItsInterruption(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	var over atomic.Bool
	slow := &liveness.SlowMultiplexer{Interrupting: func() {
		for range 1000 {
			runtime.Gosched()
		}
		over.Store(true)
	}}
	watch := slow.Watch()
	for range 20 {
		over.Store(false)
		ctx, cancel := context.WithCancel(t.Context())
		slow.Waiting = cancel
		_, _, err := watch.Next(ctx)
		c.Check(err, qt.ErrorIs, context.Canceled)
		c.Check(over.Load(), qt.IsTrue)
	}
}
