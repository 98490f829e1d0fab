package liveness_test

import (
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

// The tests of this file run on every system that has an implementation,
// unchanged. On others they check that nothing is claimed.

// judge is the Liveness of this system. Without an implementation the test is
// done after it has seen that the answer is Unknown.
func judge(t *testing.T) (*liveness.System, *qt.C) {
	t.Parallel()
	c := qt.New(t)
	system, err := liveness.New(liveness.Options{})
	c.Assert(err, qt.IsNil)
	verdict := system.Check(liveness.Identity{PID: os.Getpid()})
	if errors.Is(verdict.Err, errors.ErrUnsupported) {
		c.Check(verdict.State, qt.Equals, liveness.Unknown)
		c.Check(verdict.Reason, qt.Equals, liveness.Unreadable)
		_, err := liveness.Self()
		c.Check(err, qt.ErrorIs, errors.ErrUnsupported)
		_, err = liveness.Capture(os.Getpid())
		c.Check(err, qt.ErrorIs, errors.ErrUnsupported)
		if proctest.Platform(runtime.GOOS) != "any other" {
			t.Fatalf("the implementation for %s is missing", runtime.GOOS)
		}
		t.Skipf("no implementation for %s", runtime.GOOS)
	}
	return system, c
}

// weaker lists an identity without its strongest evidence, again and again.
func weaker(id liveness.Identity) []liveness.Identity {
	noUnique := id
	noUnique.Unique = 0
	noStart := noUnique
	noStart.Start = 0
	return []liveness.Identity{id, noUnique, noStart}
}

func expect(c *qt.C, system liveness.Liveness, id liveness.Identity, state liveness.State, reason liveness.Reason) {
	c.Helper()
	verdict := system.Check(id)
	c.Check(verdict, qt.Equals, liveness.Verdict{State: state, Reason: reason}, qt.Commentf("%v: %v", id, verdict))
}

func TestChildLivesAndDies(t *testing.T) {
	system, c := judge(t)
	cmd := proctest.Command("hold")
	marker := liveness.Plant(cmd)
	child := proctest.Start(t, cmd)
	id, err := liveness.CaptureProcess(child.Process)
	c.Assert(err, qt.IsNil)
	byPID, err := liveness.Capture(child.PID())
	c.Assert(err, qt.IsNil)
	c.Check(byPID, qt.Equals, id)
	c.Check(id.Start, qt.Not(qt.Equals), uint64(0))
	id.Marker = marker
	for _, id := range weaker(id) {
		if runtime.GOOS == "dragonfly" && id.Start == 0 { // it has no markers
			continue
		}
		expect(c, system, id, liveness.Alive, liveness.SameProcess)
	}
	text, err := liveness.Parse(id.String())
	c.Assert(err, qt.IsNil)
	expect(c, system, text, liveness.Alive, liveness.SameProcess)

	child.Kill()
	_ = child.Process.Release()
	runtime.GC()
	for _, id := range append(weaker(id), liveness.Identity{PID: id.PID}) {
		c.Check(system.Check(id).State, qt.Not(qt.Equals), liveness.Alive, qt.Commentf("%v", id))
	}
	for _, id := range weaker(id)[:2] {
		c.Check(system.Check(id).State, qt.Equals, liveness.Dead, qt.Commentf("%v", id))
	}
}

// Its parent has not waited for it: a zombie, or on Windows a process to which
// somebody has a handle.
func TestChildThatExitedAndWasNotWaitedForIsDead(t *testing.T) {
	system, c := judge(t)
	child := proctest.Start(t, proctest.Command("hold"))
	id, err := liveness.CaptureProcess(child.Process)
	c.Assert(err, qt.IsNil)
	c.Assert(child.Process.Kill(), qt.IsNil)
	for system.Check(id).State != liveness.Dead {
		runtime.Gosched() // it takes the system a moment
	}
	for _, id := range weaker(id) {
		expect(c, system, id, liveness.Dead, liveness.Zombie)
	}
}

func TestPIDThatSomebodyElseHoldsIsNotTheRecordedProcess(t *testing.T) {
	system, c := judge(t)
	child := proctest.Start(t, proctest.Command("hold"))
	id, err := liveness.CaptureProcess(child.Process)
	c.Assert(err, qt.IsNil)
	other := id
	other.Unique = 0
	other.Start++
	expect(c, system, other, liveness.Dead, liveness.PIDReused)
	if id.Unique != 0 {
		other = id
		other.Unique++
		expect(c, system, other, liveness.Dead, liveness.PIDReused)
	}
	marked := liveness.Identity{PID: id.PID, Marker: "another"}
	switch runtime.GOOS {
	case "linux", "android":
		expect(c, system, marked, liveness.Dead, liveness.PIDReused)
	case "dragonfly":
		c.Check(system.Check(marked).Err, qt.ErrorIs, errors.ErrUnsupported)
	default: // it may have removed its own
		expect(c, system, marked, liveness.Unknown, liveness.NoEvidence)
	}
	expect(c, system, liveness.Identity{PID: id.PID}, liveness.Unknown, liveness.NoEvidence)
}

func TestRecordOfAnotherBootOrMachine(t *testing.T) {
	system, c := judge(t)
	id, err := liveness.Self()
	c.Assert(err, qt.IsNil)
	expect(c, system, id, liveness.Alive, liveness.SameProcess)
	if id.Boot.Boot == "" {
		proctest.Skip(t, "no boot ID")
	}
	other := id
	other.Boot.Boot = boot2
	verdict := system.Check(other)
	if id.Boot.Quality == bootid.Native {
		c.Check(verdict, qt.Equals, liveness.Verdict{State: liveness.Dead, Reason: liveness.Rebooted})
	} else { // unequal derived or given IDs prove nothing
		c.Check(verdict, qt.Equals, liveness.Verdict{Reason: liveness.NoEvidence})
	}
	if id.Boot.Machine != "" {
		other.Boot.Machine = machineB
		expect(c, system, other, liveness.Unknown, liveness.OtherMachine)
	}
}

func TestImpossibleIdentityIsUnknown(t *testing.T) {
	system, c := judge(t)
	for _, pid := range []int{-1, -os.Getpid()} {
		verdict := system.Check(liveness.Identity{PID: pid})
		c.Check(verdict.State, qt.Equals, liveness.Unknown)
		c.Check(verdict.Err, qt.ErrorIs, liveness.ErrInvalid)
		_, err := liveness.Capture(pid)
		c.Check(err, qt.ErrorIs, liveness.ErrInvalid)
	}
	c.Check(system.Check(liveness.Identity{}), qt.Equals, liveness.Verdict{})
}

func TestChildThatRemovesItsMarkerIsNotDead(t *testing.T) {
	system, c := judge(t)
	cmd := proctest.Command("unset", liveness.MarkerVariable)
	marker := liveness.Plant(cmd)
	child := proctest.Start(t, cmd)
	marked := liveness.Identity{PID: child.PID(), Marker: marker}
	c.Check(system.Check(marked).State, qt.Not(qt.Equals), liveness.Dead)
}

// Windows gives multiples of four, and opens the process of the next lower one
// for the numbers between.
func TestNumbersNextToAPIDAreNotItsProcess(t *testing.T) {
	system, c := judge(t)
	if runtime.GOOS != "windows" {
		t.Skip("PIDs are next to each other here")
	}
	child := proctest.Start(t, proctest.Command("hold"))
	id, err := liveness.CaptureProcess(child.Process)
	c.Assert(err, qt.IsNil)
	for n := 1; n < 4; n++ {
		neighbour := id
		neighbour.PID += n
		expect(c, system, neighbour, liveness.Dead, liveness.NoProcess)
		_, err := liveness.Capture(neighbour.PID)
		c.Check(err, qt.ErrorIs, liveness.ErrNoProcess)
	}
}

// 259 is what GetExitCodeProcess says of a running process.
func TestProcessThatExitedWith259IsDead(t *testing.T) {
	system, c := judge(t)
	child := proctest.Start(t, proctest.Command("exit259"))
	id, err := liveness.CaptureProcess(child.Process)
	c.Assert(err, qt.IsNil)
	child.WriteLine(t, "go")
	for system.Check(id).State != liveness.Dead {
		runtime.Gosched()
	}
	c.Check(system.Check(id).State, qt.Equals, liveness.Dead)
}

func TestOldRowIsJudgedByItsTime(t *testing.T) {
	system, c := judge(t)
	child := proctest.Start(t, proctest.Command("hold"))
	row := liveness.Identity{PID: child.PID(), NotAfter: time.Now().Add(time.Second)}
	expect(c, system, row, liveness.Alive, liveness.SameProcess)
	expectReused(c, system, row)
}

// expectReused checks a row that was written 10 s ago, of a PID that passed to
// another process since. A sandbox may have booted since then, too.
func expectReused(c *qt.C, system liveness.Liveness, row liveness.Identity) {
	c.Helper()
	row.NotAfter = time.Now().Add(-10 * time.Second)
	if awake, err := bootid.Awake(); err == nil && awake < 12*time.Second {
		verdict := system.Check(row)
		c.Check(verdict.State, qt.Equals, liveness.Dead, qt.Commentf("%v: %v", row, verdict))
		return
	}
	expect(c, system, row, liveness.Dead, liveness.PIDReused)
}

// The first process of the system, which belongs to root: some of it may not be
// read.
func TestProcessOfAnotherUserIsNotCalledDead(t *testing.T) {
	system, c := judge(t)
	first := 1
	if runtime.GOOS == "windows" {
		first = 4
	}
	id, err := liveness.Capture(first)
	if errors.Is(err, liveness.ErrNoProcess) {
		t.Skip("it is not there, as on Wine") // or in a jail
	}
	if err == nil {
		expect(c, system, id, liveness.Alive, liveness.SameProcess)
	}
	for _, id := range []liveness.Identity{{PID: first}, {PID: first, Marker: "abc"}, {PID: first, NotAfter: time.Now()}} {
		verdict := system.Check(id)
		if id.Marker != "" && os.Geteuid() == 0 {
			continue // its environment can be read
		}
		c.Check(verdict.State, qt.Not(qt.Equals), liveness.Dead, qt.Commentf("%v: %v", id, verdict))
	}
}
