package main

import (
	"errors"
	"os"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

func TestPhases(t *testing.T) {
	c := qt.New(t)
	for _, test := range []struct {
		name            string
		status, context string
		session         *string
		want            lifecycle.Phase
	}{
		{"placeholder", "pending", "new", nil, lifecycle.Launching},
		{"inactive placeholder", "inactive", "new", nil, lifecycle.Launching},
		{"has a session", "inactive", "new", new("s"), lifecycle.Inactive},
		{"failed to launch", "inactive", "launch_failed", nil, lifecycle.Inactive},
		{"exited", "inactive", "exit:clear", new("s"), lifecycle.Inactive},
		{"works", "active", "tool:bash", new("s"), lifecycle.Running},
		{"works, and is new", "active", "new", nil, lifecycle.Running},
		{"waits", "listening", "start", nil, lifecycle.Running},
		{"blocked", "blocked", "", new("s"), lifecycle.Running},
		{"of a later hcom", "whatever", "", nil, lifecycle.Running},
	} {
		c.Run(test.name, func(c *qt.C) {
			r := row{status: test.status, context: test.context, snapshot: snapshot{SessionID: test.session}}
			c.Assert(r.phase(), qt.Equals, test.want)
		})
	}
}

func TestWhatIsRecordedOfAProcess(t *testing.T) {
	c := qt.New(t)
	const start = 1_700_000_000
	at := func(seconds int64) time.Time { return time.Unix(start+seconds, 0).UTC() }
	full := row{
		snapshot: snapshot{PID: new(int64(4711)), CreatedAt: start},
		bindings: 1, process: "p", bound: start,
	}
	for _, test := range []struct {
		name string
		edit func(*row)
		want liveness.Identity
	}{
		{"no process", func(r *row) { r.PID = nil }, liveness.Identity{}},
		{"just launched", func(r *row) {}, liveness.Identity{PID: 4711, Marker: "p", NotAfter: at(120)}},
		{"PID and created_at alone", func(r *row) { r.bindings, r.process, r.bound = 0, "", 0 }, liveness.Identity{PID: 4711, NotAfter: at(120)}},
		{"no time at all", func(r *row) { r.CreatedAt, r.bound = 0, 0 }, liveness.Identity{PID: 4711, Marker: "p"}},
		{"beats", func(r *row) { r.lastStop = start + 500 }, liveness.Identity{PID: 4711, Marker: "p", NotAfter: at(500)}},
		{"changes its status", func(r *row) { r.statusTime = start + 501 }, liveness.Identity{PID: 4711, Marker: "p", NotAfter: at(501)}},
		{"seen by a hook", func(r *row) { r.LastSeen = start + 502 }, liveness.Identity{PID: 4711, Marker: "p", NotAfter: at(502)}},
		{"launched again in its row", func(r *row) { r.bound, r.lastStop = start+900, start+850 }, liveness.Identity{PID: 4711, Marker: "p", NotAfter: at(1020)}},
		{"headless", func(r *row) { r.Background = 1 }, liveness.Identity{PID: 4711, NotAfter: at(120)}},
		{"bound to two processes", func(r *row) { r.bindings = 2 }, liveness.Identity{PID: 4711, NotAfter: at(120)}},
	} {
		c.Run(test.name, func(c *qt.C) {
			r := full
			test.edit(&r)
			c.Assert(r.identity(), qt.Equals, test.want)
		})
	}
}

// An agent that a row of each kind is about, and that lives, is never called dead.
func TestLivingAgentsAreNotCalledDead(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	s := newTestScene(t)
	judge, err := newJudge()
	c.Assert(err, qt.IsNil)
	marked, err := s.launch("m")
	c.Assert(err, qt.IsNil)
	shell, err := s.launch("")
	c.Assert(err, qt.IsNil)
	now := seconds(time.Now())
	for _, test := range []struct {
		name string
		row  row
		want liveness.State // on Linux
	}{
		{"just launched", row{snapshot: snapshot{PID: new(int64(marked.Process.Pid)), CreatedAt: now - 1}, bindings: 1, process: "m", bound: now - 1}, liveness.Alive},
		{"headless", row{snapshot: snapshot{PID: new(int64(shell.Process.Pid)), CreatedAt: now - 30, Background: 1}, bindings: 1, process: "m", bound: now - 30}, liveness.Unknown},
		{"headless for a while", row{snapshot: snapshot{PID: new(int64(shell.Process.Pid)), CreatedAt: now - 121, LastSeen: int64(now), Background: 1}, bindings: 1, process: "m", bound: now - 121}, liveness.Alive},
		{"adopted: older than its row", row{snapshot: snapshot{PID: new(int64(os.Getpid())), CreatedAt: now - 120}}, liveness.Alive},
		{"the clock was set since", row{snapshot: snapshot{PID: new(int64(marked.Process.Pid)), CreatedAt: 1000}, bindings: 1, process: "m", bound: 1000}, liveness.Alive},
		{"nothing but a PID", row{snapshot: snapshot{PID: new(int64(shell.Process.Pid))}}, liveness.Unknown},
		{"launched again, the older binding left", row{snapshot: snapshot{PID: new(int64(marked.Process.Pid)), CreatedAt: now}, bindings: 2, process: "older", bound: now}, liveness.Unknown},
	} {
		c.Run(test.name, func(c *qt.C) {
			verdict := judge.Check(test.row.identity())
			c.Assert(verdict.State, qt.Not(qt.Equals), liveness.Dead, qt.Commentf("%v", verdict))
			c.Assert(verdict.Reason, qt.Not(qt.Equals), liveness.Rebooted)
			if !errors.Is(verdict.Err, errors.ErrUnsupported) && !judge.began.IsZero() {
				c.Assert(verdict.State, qt.Equals, test.want, qt.Commentf("%v", verdict))
			}
		})
	}
}

func TestStrangersAreNotTakenForTheAgent(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	s := newTestScene(t)
	judge, err := newJudge()
	c.Assert(err, qt.IsNil)
	if judge.began.IsZero() {
		proctest.Skip(t, "this system does not tell when it was booted")
	}
	stranger, err := s.launch("m")
	c.Assert(err, qt.IsNil)
	pid := new(int64(stranger.Process.Pid))
	now := seconds(time.Now())
	for _, test := range []struct {
		name string
		row  row
		want string
	}{
		{"another marker", row{snapshot: snapshot{PID: pid, CreatedAt: now}, bindings: 1, process: "other", bound: now}, "pid_reused"},
		{"headless, silent since before", row{snapshot: snapshot{PID: pid, CreatedAt: now - 1000, Background: 1}, lastStop: now - 600}, "pid_reused|rebooted"},
		{"of an earlier boot", row{snapshot: snapshot{PID: pid, CreatedAt: 1000}, bindings: 1, process: "other", bound: 1000}, "rebooted"},
		{"of an earlier boot, nobody has the PID", row{snapshot: snapshot{PID: new(int64(s.gone(t))), CreatedAt: 1000}}, "rebooted"},
	} {
		c.Run(test.name, func(c *qt.C) {
			verdict := judge.Check(test.row.identity())
			c.Assert(verdict.State, qt.Equals, liveness.Dead, qt.Commentf("%v", verdict))
			c.Assert(verdict.Reason.String(), qt.Matches, test.want)
		})
	}
}

func TestWallTimesBecomeHeartbeats(t *testing.T) {
	c := qt.New(t)
	boot := bootid.ID{Machine: "m", Boot: "6d4c1e0c-5f0e-4a43-9a3c-0f6c3a1f9b11", Quality: bootid.Native}
	wall := time.Unix(1_700_000_000, 0)
	// Up for ten hours, four of them in suspend.
	now := moment{wall: wall, boot: boot, awake: 6 * time.Hour, asleep: 4 * time.Hour, began: wall.Add(-10 * time.Hour)}
	for _, test := range []struct {
		name string
		ago  time.Duration
		age  time.Duration
	}{
		{"now", 0, 0},
		{"in the future", -time.Hour, 0},
		{"possibly right before the suspend", 4 * time.Hour, 0},
		{"an hour awake at least", 5 * time.Hour, time.Hour},
		{"at the start of the boot", 10 * time.Hour, 6 * time.Hour},
	} {
		c.Run(test.name, func(c *qt.C) {
			beat := now.heartbeat(wall.Add(-test.ago))
			c.Assert(beat.Boot, qt.Equals, boot)
			c.Assert(now.awake-beat.Awake, qt.Equals, test.age)
		})
	}
	earlier := now.heartbeat(wall.Add(-11 * time.Hour))
	c.Assert(earlier.Boot.Compare(boot), qt.Equals, bootid.OtherBoot)
	c.Assert(now.heartbeat(time.Time{}), qt.Equals, lifecycle.Heartbeat{})
	c.Assert(moment{wall: wall}.heartbeat(wall), qt.Equals, lifecycle.Heartbeat{Wall: wall}) // no age where nothing tells
}
