package liveness_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/liveness"
)

func pinned(c *qt.C, k *liveness.FakeKqueue, id liveness.Identity) *liveness.Process {
	c.Helper()
	process, err := k.Pin(id)
	c.Assert(err, qt.IsNil)
	return process
}

func TestKqueueSignalsTheProcess(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	k := liveness.NewFakeKqueue()
	target, id := k.Start(10, 10, 1)
	process := pinned(c, k, id)
	c.Check(process.Signal(os.Interrupt), qt.IsNil)
	c.Check(target.Signals, qt.DeepEquals, []os.Signal{os.Interrupt})
	c.Check(process.Close(), qt.IsNil)
	c.Check(process.Close(), qt.ErrorIs, os.ErrClosed)
	c.Check(process.Signal(os.Kill), qt.ErrorIs, os.ErrClosed)
	c.Check(process.SignalGroup(os.Kill), qt.ErrorIs, os.ErrClosed)
	c.Check(process.Wait(t.Context()), qt.ErrorIs, os.ErrClosed)
	c.Check(k.Open(), qt.Equals, 0)
	c.Check(k.Registered(), qt.Equals, 0)
}

func TestKqueueRefusesWhoIsNotAlive(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	k := liveness.NewFakeKqueue()
	stranger, id := k.Start(10, 10, 2)
	old := id
	old.Start = 1
	_, err := k.Pin(old)
	c.Check(err, qt.ErrorIs, liveness.ErrNoProcess)
	_, err = k.Pin(liveness.Identity{PID: 11})
	c.Check(err, qt.ErrorIs, liveness.ErrNoProcess)
	k.Blind = true
	_, err = k.Pin(id)
	c.Check(err, qt.ErrorIs, liveness.ErrUndecided)
	k.Blind = false
	k.Exit(10)
	_, err = k.Pin(id)
	c.Check(err, qt.ErrorIs, liveness.ErrNoProcess)
	c.Check(stranger.Signals, qt.HasLen, 0)
	c.Check(k.Open(), qt.Equals, 0)
	c.Check(k.Registered(), qt.Equals, 0)
}

// The PID passes to a stranger with the same start stamp, which no check would
// notice: the registration does.
func TestKqueueNoticesAnEndThatTheStampHides(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	k := liveness.NewFakeKqueue()
	_, id := k.Start(10, 10, 1)
	process := pinned(c, k, id)
	k.Exit(10)
	k.Reap(10)
	stranger, _ := k.Start(10, 10, 1)
	c.Check(process.Signal(os.Kill), qt.ErrorIs, liveness.ErrNoProcess)
	c.Check(process.SignalGroup(os.Kill), qt.Not(qt.IsNil))
	c.Check(stranger.Signals, qt.HasLen, 0)
}

func TestKqueueVerifiesBeforeEachSignal(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	k := liveness.NewFakeKqueue()
	_, id := k.Start(10, 10, 1)
	process := pinned(c, k, id)
	var stranger *liveness.FakeProcess
	k.BeforeCheck = func() {
		k.Exit(10)
		k.Reap(10)
		stranger, _ = k.Start(10, 10, 2)
	}
	c.Check(process.Signal(os.Kill), qt.ErrorIs, liveness.ErrNoProcess)
	c.Check(process.Terminate(t.Context(), time.Minute), qt.IsNil)
	c.Check(process.SignalGroup(os.Kill), qt.ErrorIs, errors.ErrUnsupported)
	c.Check(stranger.Signals, qt.HasLen, 0)
	k.Blind = true
	c.Check(process.Signal(os.Kill), qt.ErrorIs, liveness.ErrUndecided)
	c.Check(stranger.Signals, qt.HasLen, 0)
}

// Who is registered is judged then, and not who was there before.
func TestKqueueRegistersBeforeItJudges(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, open := range []func(*liveness.FakeKqueue, liveness.Identity) error{
		func(k *liveness.FakeKqueue, id liveness.Identity) error { _, err := k.Pin(id); return err },
		func(k *liveness.FakeKqueue, id liveness.Identity) error {
			watch := k.Watch()
			if err := watch.Add(id); err != nil {
				return err
			}
			_, verdict, err := watch.Next(t.Context())
			return errors.Join(err, &liveness.VerdictError{Verdict: verdict})
		},
	} {
		k := liveness.NewFakeKqueue()
		_, id := k.Start(10, 10, 1)
		k.BeforeRegister = func() {
			k.Exit(10)
			k.Reap(10)
			k.Start(10, 10, 2)
		}
		c.Check(open(k, id), qt.ErrorIs, liveness.ErrNoProcess)
	}
}

// What the documentation says of these systems: between the last look and kill(2)
// nothing holds the PID.
func TestKqueueWindowThatRemains(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	k := liveness.NewFakeKqueue()
	_, id := k.Start(10, 10, 1)
	process := pinned(c, k, id)
	var stranger *liveness.FakeProcess
	k.BeforeKill = func() {
		k.Exit(10)
		k.Reap(10)
		stranger, _ = k.Start(10, 10, 2)
	}
	c.Check(process.Signal(os.Kill), qt.IsNil)
	c.Check(stranger.Signals, qt.HasLen, 1)
}

func TestKqueueWaits(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	k := liveness.NewFakeKqueue()
	_, id := k.Start(10, 10, 1)
	process := pinned(c, k, id)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	for range 3 {
		go func() { done <- process.Wait(ctx) }()
	}
	cancel()
	for range 3 {
		c.Check(<-done, qt.ErrorIs, context.Canceled)
	}
	for range 3 {
		go func() { done <- process.Wait(t.Context()) }()
	}
	k.Exit(10)
	for range 3 {
		c.Check(<-done, qt.IsNil)
	}
	c.Check(process.Wait(t.Context()), qt.IsNil)
	c.Check(process.Terminate(t.Context(), time.Minute), qt.IsNil)
}

func TestKqueueGroups(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	k := liveness.NewFakeKqueue()
	leader, id := k.Start(10, 10, 1)
	member, memberID := k.Start(11, 10, 1)
	stranger, strangerID := k.Start(12, 1, 1)
	process := pinned(c, k, id)
	c.Check(process.SignalGroup(os.Interrupt), qt.IsNil)
	c.Check([]int{len(leader.Signals), len(member.Signals), len(stranger.Signals)}, qt.DeepEquals, []int{1, 1, 0})
	c.Check(pinned(c, k, memberID).SignalGroup(os.Kill), qt.ErrorIs, liveness.ErrNoGroup)
	c.Check(pinned(c, k, strangerID).SignalGroup(os.Kill), qt.ErrorIs, liveness.ErrNoGroup)
	_, ownID := k.Start(1, 1, 1)
	c.Check(pinned(c, k, ownID).SignalGroup(os.Kill), qt.ErrorIs, liveness.ErrOwnGroup)

	// Without its leader, the number may be another group's.
	k.Exit(10)
	k.Reap(10)
	c.Check(process.SignalGroup(os.Kill), qt.ErrorIs, errors.ErrUnsupported)
	c.Check(process.TerminateGroup(t.Context(), time.Minute), qt.ErrorIs, errors.ErrUnsupported)
	c.Check(member.Signals, qt.HasLen, 1)
	k.Exit(11)
	k.Reap(11)
	c.Check(process.SignalGroup(os.Kill), qt.ErrorIs, liveness.ErrNoProcess)
	c.Check(process.TerminateGroup(t.Context(), time.Minute), qt.IsNil)
}

func TestKqueueWatch(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	k := liveness.NewFakeKqueue()
	watch := k.Watch()
	_, first := k.Start(10, 10, 1)
	_, second := k.Start(11, 11, 1)
	c.Assert(watch.Add(first), qt.IsNil)
	c.Assert(watch.Add(second), qt.IsNil)
	wantNoDeath(c, watch)
	k.Exit(10)
	c.Check(wantDeath(c, watch, first).Reason, qt.Equals, liveness.Zombie)
	wantNoDeath(c, watch)
	c.Check(k.Registered(), qt.Equals, 1)
	c.Assert(watch.Add(first), qt.IsNil)
	wantDeath(c, watch, first)
	watch.Remove(second)
	c.Check(k.Registered(), qt.Equals, 0)
	k.Blind = true
	c.Check(watch.Add(second), qt.ErrorIs, liveness.ErrUndecided)
	c.Check(k.Registered(), qt.Equals, 0)
	c.Check(watch.Close(), qt.IsNil)
	c.Check(k.Open(), qt.Equals, 0)
}

// The registration of one who died stands in the way of that of who has its PID
// now: both are told of.
func TestKqueueWatchesWhoHasAReusedPID(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	k := liveness.NewFakeKqueue()
	watch := k.Watch()
	_, old := k.Start(10, 10, 1)
	c.Assert(watch.Add(old), qt.IsNil)
	k.Exit(10)
	k.Reap(10)
	_, successor := k.Start(10, 10, 2)
	c.Assert(watch.Add(successor), qt.IsNil)
	c.Check(wantDeath(c, watch, old).Reason, qt.Equals, liveness.PIDReused)
	c.Check(k.Registered(), qt.Equals, 1, qt.Commentf("the successor"))
	wantNoDeath(c, watch)
	k.Exit(10)
	wantDeath(c, watch, successor)
}

// An end is told a moment before the process is to be seen as a zombie.
func TestKqueueEndThatIsToldEarlyIsNotMissed(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	k := liveness.NewFakeKqueue()
	watch := k.Watch()
	_, id := k.Start(10, 10, 1)
	c.Assert(watch.Add(id), qt.IsNil)
	k.Late = true
	checks := k.Checks()
	k.Exit(10)
	told := make(chan liveness.Identity)
	go func() {
		id, _, _ := watch.Next(t.Context())
		told <- id
	}()
	for k.Checks() == checks {
		runtime.Gosched() // it is still alive for this one
	}
	k.Reap(10)
	c.Check(<-told, qt.Equals, id)
}
