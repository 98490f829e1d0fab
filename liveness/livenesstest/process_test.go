package livenesstest_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/pinned"
	"github.com/rollcall-go/rollcall/internal/signals"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

const grace = 5 * time.Second

func open(c *qt.C, world *livenesstest.World, id liveness.Identity) *liveness.Process {
	c.Helper()
	process, err := world.Open(id)
	c.Assert(err, qt.IsNil)
	c.Check(process.Identity(), qt.Equals, id)
	c.Cleanup(func() { process.Close() })
	return process
}

// reload is a signal that every system has: none of the ones that end a process.
const reload reloadSignal = "reload"

type reloadSignal string

func (s reloadSignal) String() string { return string(s) }
func (reloadSignal) Signal()          {}

// sent is what a process got that was asked, and told to go on where there is a
// signal for that.
func sent(signal ...os.Signal) []os.Signal {
	if signals.Continue == nil {
		return signal
	}
	return append([]os.Signal{signal[0], signals.Continue}, signal[1:]...)
}

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestOnlyTheRecordedProcessIsOpened(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	world := livenesstest.New()
	id, denied := world.Start(), world.Start()
	world.Deny(denied.PID)
	gone := world.Start()
	world.Exit(gone.PID)
	reusedID := world.Start()
	world.Reuse(reusedID.PID)
	zombie := world.Start()
	world.ExitUnreaped(zombie.PID)
	for _, test := range []struct {
		name   string
		id     liveness.Identity
		want   error
		reason liveness.Reason
	}{
		{"nobody has its PID", gone, liveness.ErrNoProcess, liveness.NoProcess},
		{"a stranger has its PID", reusedID, liveness.ErrNoProcess, liveness.PIDReused},
		{"it has exited", zombie, liveness.ErrNoProcess, liveness.Zombie},
		{"it cannot be read", denied, liveness.ErrUndecided, liveness.Unreadable},
		{"nothing tells whose PID it is", liveness.Identity{PID: id.PID}, liveness.ErrUndecided, liveness.NoEvidence},
		{"no process is recorded", liveness.Identity{}, liveness.ErrInvalid, liveness.Unreadable},
		{"no process can have it", liveness.Identity{PID: -1}, liveness.ErrInvalid, liveness.Unreadable},
	} {
		c.Run(test.name, func(c *qt.C) {
			_, err := world.Open(test.id)
			c.Check(err, qt.ErrorIs, test.want)
			c.Check(err, qt.ErrorMatches, `livenesstest: open PID -?\d+: .*`)
			_, reason, _ := strings.Cut(liveness.Verdict{Reason: test.reason}.String(), ": ")
			c.Check(err, qt.ErrorMatches, ".*: "+reason+".*")
		})
	}
	c.Check(world.Signals(), qt.HasLen, 0)
}

func TestSignalsEndAProcess(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{os.Kill, syscall.SIGTERM, os.Interrupt} {
		c := qt.New(t)
		world := livenesstest.New()
		id, other := world.Start(), world.Start()
		process := open(c, world, id)
		c.Check(process.Wait(cancelled()), qt.ErrorIs, context.Canceled)
		c.Assert(process.Signal(signal), qt.IsNil)
		c.Check(process.Wait(cancelled()), qt.IsNil)
		says(c, world, id, nobody)
		says(c, world, other, alive)
		c.Check(process.Signal(signal), qt.ErrorIs, liveness.ErrNoProcess)
		c.Check(process.Terminate(c.Context(), 0), qt.IsNil)
		c.Check(world.Signals(), qt.DeepEquals, map[int][]os.Signal{id.PID: {signal}})
	}
}

func TestOtherSignalsAreOnlyNoted(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	world := livenesstest.New()
	id := world.Start()
	process := open(c, world, id)
	c.Check(process.Signal(reload), qt.IsNil)
	c.Check(process.Signal(nil), qt.ErrorIs, errors.ErrUnsupported)
	c.Check(process.SignalGroup(nil), qt.ErrorIs, errors.ErrUnsupported)
	if signals.Null != nil {
		c.Check(process.Signal(signals.Null), qt.IsNil)
	}
	says(c, world, id, alive)
	world.ExitUnreaped(id.PID)
	c.Check(process.Signal(os.Kill), qt.IsNil, qt.Commentf("a zombie"))
	says(c, world, id, "dead: it has exited and waits to be reaped")
	c.Check(world.Signals(), qt.DeepEquals, map[int][]os.Signal{id.PID: {reload, os.Kill}})
	world.Signals()[id.PID][0] = os.Kill
	c.Check(world.Signals()[id.PID][0], qt.Equals, os.Signal(reload), qt.Commentf("the caller has a copy"))
}

func TestReusedPIDGetsNoSignalOfAnother(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	world := livenesstest.New()
	process := open(c, world, world.Start())
	pid := process.Identity().PID
	stranger := world.Reuse(pid)
	world.Group(pid)
	c.Check(process.Wait(cancelled()), qt.IsNil)
	for _, signal := range []func(os.Signal) error{process.Signal, process.SignalGroup} {
		c.Check(signal(os.Kill), qt.ErrorIs, liveness.ErrNoProcess)
	}
	c.Check(process.Terminate(c.Context(), grace), qt.IsNil)
	c.Check(process.TerminateGroup(c.Context(), grace), qt.IsNil)
	says(c, world, stranger, alive)
	c.Check(world.Signals(), qt.HasLen, 0)
}

func TestProcessIsKilledAfterTheGrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := qt.New(t)
		world := livenesstest.New()
		id := world.Start()
		world.Ignore(id.PID, syscall.SIGTERM)
		process := open(c, world, id)
		began := time.Now()
		c.Assert(process.Terminate(t.Context(), grace), qt.IsNil)
		c.Check(time.Since(began), qt.Equals, grace)
		says(c, world, id, nobody)
		c.Check(world.Signals()[id.PID], qt.DeepEquals, sent(syscall.SIGTERM, os.Kill))
	})
}

func TestProcessEndsWithinTheGrace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := qt.New(t)
		world := livenesstest.New()
		id := world.Start()
		world.Ignore(id.PID, syscall.SIGTERM)
		process := open(c, world, id)
		began := time.Now()
		time.AfterFunc(2*time.Second, func() { world.ExitUnreaped(id.PID) })
		c.Assert(process.Terminate(t.Context(), grace), qt.IsNil)
		c.Check(time.Since(began), qt.Equals, 2*time.Second)
		c.Check(world.Signals()[id.PID], qt.DeepEquals, sent(syscall.SIGTERM))
	})
}

func TestPausedProcessTakesItsSignalsWhenItGoesOn(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	world := livenesstest.New()
	id := world.Start()
	process := open(c, world, id)
	world.Pause(id.PID)
	says(c, world, id, alive)
	c.Assert(process.Signal(syscall.SIGTERM), qt.IsNil)
	c.Check(process.Wait(cancelled()), qt.ErrorIs, context.Canceled)
	world.Continue(id.PID)
	c.Check(process.Wait(cancelled()), qt.IsNil)

	killed := world.Start()
	world.Pause(killed.PID)
	c.Assert(open(c, world, killed).Signal(os.Kill), qt.IsNil)
	says(c, world, killed, nobody)
}

func TestPausedProcessIsAskedAndContinued(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := qt.New(t)
		world := livenesstest.New()
		id := world.Start()
		world.Pause(id.PID)
		process := open(c, world, id)
		began := time.Now()
		c.Assert(process.Terminate(t.Context(), grace), qt.IsNil)
		says(c, world, id, nobody)
		if signals.Continue == nil {
			c.Check(time.Since(began), qt.Equals, grace)
			return
		}
		c.Check(time.Since(began), qt.Equals, time.Duration(0))
		c.Check(world.Signals()[id.PID], qt.DeepEquals, sent(syscall.SIGTERM))
	})
}

func TestSignalPausesAProcess(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	if signals.Stop == nil {
		t.Skip("no signal stops a process here")
	}
	world := livenesstest.New()
	process := open(c, world, world.Start())
	for _, signal := range []os.Signal{signals.Stop, os.Interrupt, reload} {
		c.Assert(process.Signal(signal), qt.IsNil)
	}
	c.Check(process.Wait(cancelled()), qt.ErrorIs, context.Canceled)
	c.Assert(process.Signal(signals.Continue), qt.IsNil)
	c.Check(process.Wait(cancelled()), qt.IsNil)
}

func TestProcessThatCannotBeKilledIsToldAsSuch(t *testing.T) {
	t.Parallel()
	for _, group := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := qt.New(t)
			world := livenesstest.New()
			id := world.Start()
			world.Group(id.PID)
			world.Ignore(id.PID, syscall.SIGTERM, os.Kill)
			cleaner := lifecycle.Cleaner{Liveness: world, Terminate: &lifecycle.Termination{Grace: time.Minute, Group: group}}
			record := lifecycle.Record{Name: "stuck", Identity: id}
			began := time.Now()
			c.Check(cleaner.EndProcess(t.Context(), record), qt.ErrorIs, context.DeadlineExceeded)
			c.Check(time.Since(began), qt.Equals, time.Minute+10*time.Second)
			says(c, world, id, alive)
			c.Check(world.Signals(), qt.DeepEquals, map[int][]os.Signal{id.PID: sent(syscall.SIGTERM, os.Kill)})

			world.Ignore(id.PID) // the disk is there again
			c.Check(cleaner.EndProcess(t.Context(), record), qt.IsNil)
			says(c, world, id, nobody)
		})
	}
}

func TestGroupEndsTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := qt.New(t)
		world := livenesstest.New()
		leader, member, stubborn, zombie, other := world.Start(), world.Start(), world.Start(), world.Start(), world.Start()
		world.Group(leader.PID, member.PID, stubborn.PID, zombie.PID, 4711)
		world.Ignore(stubborn.PID, syscall.SIGTERM)
		world.ExitUnreaped(zombie.PID)
		process := open(c, world, leader)
		began := time.Now()
		c.Assert(process.TerminateGroup(t.Context(), grace), qt.IsNil)
		c.Check(time.Since(began), qt.Equals, grace)
		for _, id := range []liveness.Identity{leader, member, stubborn} {
			says(c, world, id, nobody)
		}
		says(c, world, other, alive)
		c.Check(world.Signals()[stubborn.PID], qt.DeepEquals, sent(syscall.SIGTERM, os.Kill))
		c.Check(world.Signals()[other.PID], qt.HasLen, 0)
		world.Exit(zombie.PID)
		c.Check(process.SignalGroup(os.Kill), qt.ErrorIs, liveness.ErrNoProcess)
	})
}

func TestGroupIsWaitedForWhenItsLeaderIsGone(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	world := livenesstest.New()
	leader, member := world.Start(), world.Start()
	world.Group(leader.PID, member.PID)
	process := open(c, world, leader)
	c.Assert(process.Signal(os.Kill), qt.IsNil)
	world.Reuse(leader.PID)
	says(c, world, member, alive)
	c.Check(process.TerminateGroup(c.Context(), 0), qt.IsNil)
	says(c, world, member, nobody)
	c.Check(world.Signals(), qt.DeepEquals, map[int][]os.Signal{leader.PID: {os.Kill}, member.PID: {os.Kill}})
}

func TestGroupOfAnotherIsLeftAlone(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	world := livenesstest.New()
	leader, member, alone := world.Start(), world.Start(), world.Start()
	world.Group(leader.PID, member.PID)
	for _, id := range []liveness.Identity{member, alone} {
		process := open(c, world, id)
		c.Check(process.SignalGroup(os.Kill), qt.ErrorIs, liveness.ErrNoGroup)
		c.Check(process.TerminateGroup(c.Context(), grace), qt.ErrorIs, liveness.ErrNoGroup)
	}
	self, err := world.Self()
	c.Assert(err, qt.IsNil)
	c.Check(open(c, world, self).SignalGroup(os.Kill), qt.ErrorIs, pinned.ErrOwnGroup)
	world.Group(leader.PID, self.PID)
	c.Check(open(c, world, leader).SignalGroup(os.Kill), qt.ErrorIs, pinned.ErrOwnGroup)
	c.Check(world.Signals(), qt.HasLen, 0)
}

func TestClosedProcessDoesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := qt.New(t)
		world := livenesstest.New()
		process := open(c, world, world.Start())
		waited := make(chan error)
		go func() { waited <- process.Wait(t.Context()) }()
		synctest.Wait()
		c.Assert(process.Close(), qt.IsNil)
		c.Check(<-waited, qt.ErrorIs, os.ErrClosed)
		for _, err := range []error{
			process.Close(), process.Signal(os.Kill), process.SignalGroup(os.Kill), process.Wait(cancelled()),
			process.Terminate(t.Context(), grace), process.TerminateGroup(t.Context(), grace),
		} {
			c.Check(err, qt.ErrorIs, os.ErrClosed)
		}
		says(c, world, process.Identity(), alive)
		c.Check(world.Signals(), qt.HasLen, 0)
	})
}

func TestWaitReturnsHoweverTheProcessEnds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		end  func(world *livenesstest.World, pid int)
	}{
		{"exit", (*livenesstest.World).Exit},
		{"exit that nobody waits for", (*livenesstest.World).ExitUnreaped},
		{"reuse of its PID", func(world *livenesstest.World, pid int) { world.Reuse(pid) }},
		{"end of its container", func(world *livenesstest.World, _ int) { world.RestartContainer() }},
		{"end of its boot", func(world *livenesstest.World, _ int) { world.Reboot() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := qt.New(t)
				world := livenesstest.New()
				id := world.Start()
				process := open(c, world, id)
				c.Assert(process.Signal(reload), qt.IsNil)
				time.AfterFunc(time.Hour, func() { test.end(world, id.PID) })
				c.Check(process.Wait(t.Context()), qt.IsNil)
			})
		})
	}
}

func TestSignalsStartOverWithThePIDs(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	world := livenesstest.New()
	for _, restart := range []func(){world.Reboot, world.RestartContainer} {
		process := open(c, world, world.Start())
		c.Assert(process.Signal(os.Kill), qt.IsNil)
		restart()
		c.Check(world.Signals(), qt.HasLen, 0)
		world.Start()
		c.Check(process.Signal(os.Kill), qt.ErrorIs, liveness.ErrNoProcess)
	}
}

// One made before the bubbles of several tests is as good in each.
func TestWorldServesManyBubbles(t *testing.T) {
	t.Parallel()
	world := livenesstest.New()
	for range 3 {
		synctest.Test(t, func(t *testing.T) {
			c := qt.New(t)
			world.Reuse(4711) // whoever had it has ended
			process, err := world.Open(world.Start())
			c.Assert(err, qt.IsNil)
			ctx, cancel := context.WithTimeout(t.Context(), grace)
			defer cancel()
			c.Check(process.Wait(ctx), qt.ErrorIs, context.DeadlineExceeded)
		})
	}
}

func TestCleanerEndsWhatItStopsAndNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := qt.New(t)
		world, store := livenesstest.New(), new(memstore.Store)
		put := func(name string, id liveness.Identity) lifecycle.Record {
			record, err := store.Put(t.Context(), lifecycle.Record{Name: name, Identity: id, Heartbeat: lifecycle.Beat(world)})
			c.Assert(err, qt.IsNil)
			return record
		}
		worker, child := world.Start(), world.Start()
		world.Group(worker.PID, child.PID)
		world.Ignore(child.PID, syscall.SIGTERM)
		asked := put("worker", worker)
		put("bystander", world.Start())
		cleaner := lifecycle.Cleaner{
			Store: store, Liveness: world, Clock: world,
			Terminate: &lifecycle.Termination{Grace: grace, Group: true},
		}
		outcome, err := cleaner.Stop(t.Context(), asked, lifecycle.Cause{By: "user", Reason: "asked"})
		c.Assert(err, qt.IsNil)
		c.Check(outcome, qt.Equals, lifecycle.Stopped)
		c.Check(world.Signals()[child.PID], qt.DeepEquals, sent(syscall.SIGTERM, os.Kill))
		c.Check(world.Signals(), qt.HasLen, 2)
		says(c, world, child, nobody)
	})
}

func TestWorldIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	world := livenesstest.New()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			id := world.StartMarked("m")
			world.Group(id.PID)
			process, err := world.Open(id)
			c.Check(err, qt.IsNil)
			defer process.Close()
			wg.Go(func() { world.Pause(id.PID); world.Exec(id.PID, "A=1"); world.Check(id); world.Continue(id.PID) })
			wg.Go(func() { world.SetView(world.View()); world.Ignore(id.PID); world.Signals() })
			c.Check(process.TerminateGroup(t.Context(), time.Hour), qt.IsNil)
			says(c, world, id, nobody)
		})
	}
	wg.Wait()
}
