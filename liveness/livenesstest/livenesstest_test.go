package livenesstest_test

import (
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

func says(c *qt.C, world *livenesstest.World, id liveness.Identity, want string) {
	c.Helper()
	c.Check(world.Check(id).String(), qt.Equals, want)
}

const (
	alive   = "alive: the recorded process runs"
	reused  = "dead: its PID belongs to another process now"
	unknown = "unknown: nothing recorded tells whose PID it is now"
)

func TestProcessesStartExitAndLoseTheirPIDs(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	world := livenesstest.New()
	id, other := world.Start(), world.Start()
	c.Check(id.PID, qt.Not(qt.Equals), other.PID)
	says(c, world, id, alive)
	world.ExitUnreaped(id.PID)
	says(c, world, id, "dead: it has exited and waits to be reaped")
	world.Exit(id.PID)
	says(c, world, id, "dead: no process has its PID")
	stranger := world.Reuse(id.PID)
	says(c, world, id, reused)
	says(c, world, stranger, alive)
	world.Deny(stranger.PID)
	says(c, world, stranger, "unknown: the evidence could not be read (permission denied by the test)")
	c.Check(world.Check(stranger).Err, qt.ErrorIs, livenesstest.ErrDenied)
	says(c, world, other, alive)
}

func TestRebootAndContainersStartOver(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	world := livenesstest.New()
	id := world.Start()
	world.Reboot()
	says(c, world, id, "dead: the machine has rebooted since")
	again := world.Start()
	c.Check(again.PID, qt.Equals, id.PID)
	says(c, world, again, alive)

	world.RestartContainer()
	says(c, world, again, "unknown: it was recorded in another PID namespace")
	says(c, world, world.StartElsewhere(), "unknown: it was recorded in another PID namespace")
	world.ExclusiveNamespace()
	says(c, world, again, "dead: it was recorded in another PID namespace")
}

func TestWithoutUniqueAPIDReusedWithinATickIsNotTold(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	world := livenesstest.New()
	world.WithoutUnique()
	id := world.Start()
	c.Check(id.Unique, qt.Equals, uint64(0))
	world.Reuse(id.PID)
	says(c, world, id, alive)
	world.Advance(10 * time.Millisecond)
	world.Reuse(id.PID)
	says(c, world, id, reused)
}

func TestNeitherClockNorSuspendChangesAVerdict(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	world := livenesstest.New()
	id := world.StartMarked("m")
	weaker := id
	weaker.Unique = 0
	marked := liveness.Identity{PID: id.PID, Marker: "m"}
	awake, _ := world.Awake()
	wall := world.Now()
	world.StepClock(24 * time.Hour)
	world.StepClock(-48 * time.Hour)
	world.Suspend(time.Hour)
	for _, id := range []liveness.Identity{id, weaker, marked} {
		says(c, world, id, alive)
	}
	later, _ := world.Awake()
	c.Check(later, qt.Equals, awake)
	c.Check(world.Now(), qt.Equals, wall.Add(-23*time.Hour))
	world.Advance(time.Minute)
	later, _ = world.Awake()
	c.Check(later, qt.Equals, awake+time.Minute)

	// What was held against the wall clock is as good as that.
	row := liveness.Identity{PID: id.PID, NotAfter: world.Now()}
	says(c, world, row, alive)
	world.StepClock(24 * time.Hour)
	says(c, world, row, "dead: the machine has rebooted since")
}

func TestProcessThatJudgesIsAlive(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	world := livenesstest.New()
	for range 2 {
		self, err := world.Self()
		c.Assert(err, qt.IsNil)
		says(c, world, self, alive)
		boot, err := world.Boot()
		c.Assert(err, qt.IsNil)
		c.Check(self.Boot, qt.Equals, boot)
		world.Reboot()
		says(c, world, self, "dead: the machine has rebooted since")
	}
	says(c, world, liveness.Identity{}, unknown)
	says(c, world, liveness.Identity{PID: -1}, "unknown: the evidence could not be read (invalid identity: PID -1)")
}
