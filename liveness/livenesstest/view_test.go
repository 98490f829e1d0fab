package livenesstest_test

import (
	"strings"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

const (
	rebooted      = "dead: the machine has rebooted since"
	nobody        = "dead: no process has its PID"
	otherMachine  = "unknown: it was recorded on another machine"
	elsewhere     = "unknown: it was recorded in another PID namespace"
	givenBootID   = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
	otherMachines = "00000000000000000000000000000002"
)

// look changes how the world is seen, and returns how it was before.
func look(world *livenesstest.World, change func(view *livenesstest.View)) (before livenesstest.View) {
	before = world.View()
	view := before
	change(&view)
	world.SetView(view)
	return before
}

func TestTwoViewsOfOneContainerProveNothingAboutTheBoot(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	world := livenesstest.New()
	world.RestartContainer()
	host := look(world, func(view *livenesstest.View) {
		view.Boot.Boot, view.Boot.Quality = givenBootID, bootid.Given
	})
	recorded, marked := world.Start(), world.StartMarked("m")
	says(c, world, recorded, alive)

	host.Namespace.InitStart = 0 // hidepid
	container := world.View()
	world.SetView(host)
	says(c, world, recorded, unknown)
	says(c, world, marked, alive)
	c.Check(world.CompareBoot(recorded.Boot), qt.Equals, bootid.Incomparable)
	beat := lifecycle.Beat(world)
	c.Check(beat.Boot, qt.Equals, host.Boot)
	seenFromOutside := world.Start()
	world.SetView(container)
	says(c, world, seenFromOutside, unknown)
	says(c, world, recorded, alive)
	world.Exit(recorded.PID)
	says(c, world, recorded, nobody)

	world.RestartContainer()
	says(c, world, marked, elsewhere) // it may be another container that runs beside this one
	world.ExclusiveNamespace()
	says(c, world, marked, "dead: it was recorded in another PID namespace")
	c.Check(world.View().Boot.Boot, qt.Not(qt.Equals), givenBootID)
	c.Check(world.View().Boot.Quality, qt.Equals, bootid.Given)
}

func TestMachineThatRepeatsItsBootIDGivesTheSameNumbersAgain(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	world := livenesstest.New()
	first := world.View()
	world.Advance(5 * time.Hour)
	old := world.Start()
	gone := world.Start()
	world.Reboot()
	look(world, func(view *livenesstest.View) { view.Boot = first.Boot })
	c.Check(world.CompareBoot(old.Boot), qt.Equals, bootid.SameBoot)
	awake, err := world.Awake()
	c.Assert(err, qt.IsNil)
	c.Check(awake, qt.Equals, time.Minute)
	again := world.Start()
	c.Check(again.PID, qt.Equals, old.PID)
	c.Check(again.Unique, qt.Equals, old.Unique)
	says(c, world, old, reused)
	says(c, world, gone, nobody)
	says(c, world, again, alive)
}

func TestMachineIDsChange(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	world := livenesstest.New()
	id := world.Start()
	look(world, func(view *livenesstest.View) { view.Boot.Machine = otherMachines })
	says(c, world, id, alive)
	world.Reboot()
	c.Check(world.View().Boot.Machine, qt.Equals, otherMachines)
	says(c, world, id, otherMachine)
	world.SameMachine()
	says(c, world, id, rebooted)
	c.Check(world.CompareBoot(id.Boot), qt.Equals, bootid.OtherBoot)
	invalid := id.Boot
	invalid.Machine = "no word"
	c.Check(world.CompareBoot(invalid), qt.Equals, bootid.Incomparable)
}

func TestStampsOfAnotherTimeNamespaceProveNothing(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	world := livenesstest.New()
	world.Advance(time.Hour)
	world.RestartContainer()
	look(world, func(view *livenesstest.View) {
		view.Namespace.Time, view.TimeOffset = 4026532000, 100*time.Second
		view.Namespace.PIDUnique = 0
	})
	id := world.Start()
	c.Check(id.Start, qt.Equals, uint64((time.Hour+time.Minute+100*time.Second)/(10*time.Millisecond)))
	c.Check(id.Namespace.InitStart, qt.Equals, id.Start)
	weaker := id
	weaker.Unique = 0
	says(c, world, weaker, alive)

	// The number was given to a new one.
	look(world, func(view *livenesstest.View) { view.TimeOffset = -100 * time.Second })
	says(c, world, id, alive)
	says(c, world, weaker, unknown)
	later := world.Start()
	c.Check(later.Start+20000, qt.Equals, id.Start)

	look(world, func(view *livenesstest.View) { view.Namespace.Time = 4026532001 })
	says(c, world, id, alive)
	says(c, world, weaker, unknown)
}

func TestProgramsLoseTheirMarkersAndPassOddEntriesOn(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	world := livenesstest.New()
	id := world.StartMarked("m")
	weak := liveness.Identity{PID: id.PID, Boot: id.Boot, Marker: "m"}
	unread := id // of a boot that could not be read
	unread.Boot = bootid.ID{}
	for _, test := range []struct {
		name                    string
		environ                 []string
		all, withoutBoot, alone string
	}{
		{"the marker alone", []string{"ROLLCALL_MARKER=m"}, alive, alive, alive},
		{"an entry without an equals sign", []string{"odd", "ROLLCALL_MARKER=m"}, alive, alive, alive},
		{"an empty entry", []string{"", "ROLLCALL_MARKER=m"}, alive, alive, alive},
		{"an entry without a name", []string{"=odd", "ROLLCALL_MARKER=m"}, alive, alive, alive},
		{"another environment", []string{"A=1"}, alive, unknown, reused},
		{"another marker", []string{"ROLLCALL_MARKER=n"}, alive, unknown, reused},
		{"another environment, with an odd entry", []string{"A=1", "odd"}, alive, unknown, unknown},
		{"no environment", nil, alive, unknown, unknown},
	} {
		c.Run(test.name, func(c *qt.C) {
			world.Exec(id.PID, test.environ...)
			says(c, world, id, test.all)
			says(c, world, unread, test.withoutBoot)
			says(c, world, weak, test.alone)
		})
	}
}

func TestBoundsThatCannotBeRightProveNothing(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	world := livenesstest.New()
	id := world.Start()
	world.Advance(time.Hour)
	now := world.Now()
	for _, test := range []struct {
		name                string
		boot                bootid.ID
		notBefore, notAfter time.Time
		want                string
	}{
		{"right", id.Boot, time.Time{}, now, alive},
		{"in the future", id.Boot, time.Time{}, now.Add(time.Hour), unknown},
		{"a lower one in the future", id.Boot, now.Add(time.Hour), time.Time{}, unknown},
		{"they exclude each other", id.Boot, now, now.Add(-time.Minute), unknown},
		{"before this boot", id.Boot, time.Time{}, now.Add(-2 * time.Hour), unknown},
		{"before the boot, which is not recorded", bootid.ID{}, time.Time{}, now.Add(-2 * time.Hour), rebooted},
		{"before the process, after the boot", id.Boot, time.Time{}, now.Add(-time.Hour - 30*time.Second), reused},
	} {
		c.Run(test.name, func(c *qt.C) {
			says(c, world, liveness.Identity{PID: id.PID, Boot: test.boot, NotBefore: test.notBefore, NotAfter: test.notAfter}, test.want)
		})
	}
}

func TestImpossiblePartsOfARecord(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	world := livenesstest.New()
	id := world.Start()
	high := id
	high.PID = 99999999
	says(c, world, high, nobody)
	high.Boot = bootid.ID{Machine: otherMachines, Boot: givenBootID, Quality: bootid.Native}
	says(c, world, high, otherMachine)
	for _, boot := range []string{strings.ReplaceAll(id.Boot.Boot, "-", ""), strings.ToUpper(givenBootID), id.Boot.Boot + "\n"} {
		invalid := id
		invalid.Boot.Boot = boot
		verdict := world.Check(invalid)
		c.Check(verdict.State, qt.Equals, liveness.Unknown)
		c.Check(verdict.Err, qt.ErrorIs, liveness.ErrInvalid)
		c.Check(verdict.Err, qt.ErrorIs, bootid.ErrInvalid)
		c.Check(world.CompareBoot(invalid.Boot), qt.Equals, bootid.Incomparable)
	}
}

func TestWhatAViewLacksItLacksInTheNextBootToo(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		name string
		lack func(view *livenesstest.View)
		want func(view livenesstest.View) bool
	}{
		{"IDs of PID namespaces", func(view *livenesstest.View) { view.Namespace.PIDUnique = 0 },
			func(view livenesstest.View) bool { return view.Namespace.PIDUnique == 0 && view.Namespace.PID != 0 }},
		{"PID 1", func(view *livenesstest.View) { view.Namespace.InitStart = 0 },
			func(view livenesstest.View) bool {
				return view.Namespace.InitStart == 0 && view.Namespace.PIDUnique != 0
			}},
		{"namespaces", func(view *livenesstest.View) { view.Namespace = liveness.Namespace{} },
			func(view livenesstest.View) bool { return view.Namespace == liveness.Namespace{} }},
		{"a boot ID", func(view *livenesstest.View) { view.Boot = bootid.ID{Machine: otherMachines} },
			func(view livenesstest.View) bool { return view.Boot == bootid.ID{Machine: otherMachines} }},
		{"a machine ID", func(view *livenesstest.View) { view.Boot.Machine = "" },
			func(view livenesstest.View) bool { return view.Boot.Machine == "" && view.Boot.Boot != "" }},
	} {
		c.Run(test.name, func(c *qt.C) {
			world := livenesstest.New()
			look(world, test.lack)
			for _, restart := range []func(){world.RestartContainer, world.Reboot} {
				restart()
				c.Check(test.want(world.View()), qt.IsTrue, qt.Commentf("%+v", world.View()))
				self, err := world.Self()
				c.Assert(err, qt.IsNil)
				c.Check(self.Namespace, qt.Equals, world.View().Namespace)
				c.Check(self.Boot, qt.Equals, world.View().Boot)
			}
		})
	}
}

func TestUnreadableBootIDIsAnError(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	world := livenesstest.New()
	id := world.Start()
	look(world, func(view *livenesstest.View) { view.Boot = bootid.ID{Machine: view.Boot.Machine} })
	boot, err := world.Boot()
	c.Check(err, qt.ErrorIs, livenesstest.ErrDenied)
	c.Check(err, qt.ErrorMatches, "livenesstest: read boot ID: permission denied by the test")
	c.Check(boot, qt.Equals, bootid.ID{Machine: id.Boot.Machine})
	says(c, world, id, unknown)
	c.Check(lifecycle.Beat(world).Boot.IsZero(), qt.IsTrue)
}

func TestUnreadableNamespaceIsUnknown(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	world := livenesstest.New()
	id := world.Start()
	look(world, func(view *livenesstest.View) { view.Namespace = liveness.Namespace{} })
	says(c, world, id, "unknown: the evidence could not be read (read PID namespace: permission denied by the test)")
	says(c, world, world.Start(), alive)
	c.Check(world.StartElsewhere().Namespace.PID, qt.Not(qt.Equals), uint64(0))
}

func TestNamespaceNumberIsGivenAgain(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	world := livenesstest.New()
	world.RestartContainer()
	id := world.Start()
	weaker := id
	weaker.Namespace.PIDUnique = 0
	first := world.View().Namespace
	world.Advance(time.Minute)
	world.RestartContainer()
	world.Start()
	says(c, world, id, elsewhere)
	look(world, func(view *livenesstest.View) { view.Namespace.PID = first.PID })
	says(c, world, id, "dead: it was recorded in another PID namespace")
	says(c, world, weaker, "dead: it was recorded in another PID namespace")
}
