package liveness_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/liveness"
)

// here is the view that judges in these tests.
var here = liveness.Identity{
	PID:       1,
	Boot:      bootid.ID{Machine: machineA, Boot: boot1, Quality: bootid.Native},
	Namespace: liveness.Namespace{PID: 4026531836, PIDUnique: 10, InitStart: 24, Time: 4026531834},
}

// with returns a copy of here, changed.
func with(change func(id *liveness.Identity)) liveness.Identity {
	id := here
	change(&id)
	return id
}

func TestWhatIsDecidedWithoutALookAtThePID(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	var (
		undecided   = "undecided, same boot"
		noStamps    = "undecided, stamps mean nothing"
		rebooted    = "dead: the machine has rebooted since"
		elsewhere   = "unknown: it was recorded in another PID namespace"
		gone        = "dead: it was recorded in another PID namespace"
		machine     = "unknown: it was recorded on another machine"
		none        = "unknown: nothing recorded tells whose PID it is now"
		nobody      = "dead: no process has its PID"
		badBoot     = "invalid boot"
		impossible  = "unknown: the evidence could not be read (invalid identity: PID -7)"
		noNamespace = "unknown: the evidence could not be read (the PID namespace to compare with could not be read)"
	)
	otherBoot := bootid.ID{Machine: machineA, Boot: boot2, Quality: bootid.Native}
	for _, test := range []struct {
		name      string
		id        liveness.Identity
		shared    string // verdict by default
		exclusive string // verdict with ExclusiveNamespace
	}{
		{"this boot and namespace", here, undecided, undecided},
		{"the zero Identity", liveness.Identity{}, none, none},
		{"negative PID", with(func(id *liveness.Identity) { id.PID = -7 }), impossible, impossible},
		{"negative PID of another boot", with(func(id *liveness.Identity) { id.PID, id.Boot = -7, otherBoot }), impossible, impossible},
		{"PID alone", liveness.Identity{PID: 1}, noStamps, noStamps},

		{"another boot", with(func(id *liveness.Identity) { id.Boot = otherBoot }), rebooted, rebooted},
		{"another boot, machine not recorded", with(func(id *liveness.Identity) { id.Boot = otherBoot; id.Boot.Machine = "" }), rebooted, rebooted},
		{"another boot, namespace not recorded", liveness.Identity{PID: 1, Boot: otherBoot}, rebooted, rebooted},
		{"another boot, another start of init", with(func(id *liveness.Identity) { id.Boot = otherBoot; id.Namespace.InitStart = 25 }), rebooted, rebooted},
		{"another boot ID, seen in another namespace", with(func(id *liveness.Identity) { id.Boot = otherBoot; id.Namespace.PID = 101 }), rebooted, rebooted},
		{"another boot, in another namespace, machine not recorded", with(func(id *liveness.Identity) { id.Boot = otherBoot; id.Boot.Machine = ""; id.Namespace.PID = 101 }), rebooted, rebooted},
		{"a boot ID that a container was given", with(func(id *liveness.Identity) { id.Boot = otherBoot; id.Boot.Quality = bootid.Given }), noStamps, noStamps},
		{"a boot ID that a container was given, namespace without PID 1", with(func(id *liveness.Identity) {
			id.Boot = otherBoot
			id.Boot.Quality, id.Namespace.InitStart = bootid.Given, 0
		}), noStamps, noStamps},
		{"a boot ID that another container was given", with(func(id *liveness.Identity) {
			id.Boot = otherBoot
			id.Boot.Quality, id.Namespace.PID = bootid.Given, 101
		}), elsewhere, gone},
		{"boot not recorded", with(func(id *liveness.Identity) { id.Boot = bootid.ID{} }), noStamps, noStamps},
		{"boot not recorded, namespace's number given to another", with(func(id *liveness.Identity) { id.Boot = bootid.ID{}; id.Namespace.PIDUnique = 11 }), gone, gone},
		{"boot not recorded, another start of init", with(func(id *liveness.Identity) {
			id.Boot = bootid.ID{}
			id.Namespace.PIDUnique, id.Namespace.InitStart = 0, 25
		}), gone, gone},
		{"boot not recorded, another namespace of equal ID", with(func(id *liveness.Identity) { id.Boot = bootid.ID{}; id.Namespace.PID = 101 }), elsewhere, gone},
		{"boot without dashes", with(func(id *liveness.Identity) { id.Boot.Boot = strings.ReplaceAll(boot1, "-", "") }), badBoot, badBoot},
		{"another boot in upper case", with(func(id *liveness.Identity) { id.Boot.Boot = strings.ToUpper(boot2) }), badBoot, badBoot},
		{"boot without quality", with(func(id *liveness.Identity) { id.Boot.Quality = 0 }), badBoot, badBoot},
		{"a PID that nobody can have", with(func(id *liveness.Identity) { id.PID = 1<<22 + 1 }), nobody, nobody},
		{"a PID that nobody can have, in another namespace", with(func(id *liveness.Identity) { id.PID, id.Namespace.PID = 99999999, 101 }), nobody, nobody},
		{"a PID that nobody can have, of another machine and boot", with(func(id *liveness.Identity) { id.PID, id.Boot = 99999999, otherBoot; id.Boot.Machine = machineB }), machine, machine},

		{"derived boot that differs", with(func(id *liveness.Identity) { id.Boot.Quality = bootid.Derived }), noStamps, noStamps},

		{"another machine ID, this boot", with(func(id *liveness.Identity) { id.Boot.Machine = machineB }), undecided, undecided},
		{"another machine, boot unreadable", with(func(id *liveness.Identity) { id.Boot = bootid.ID{Machine: machineB} }), machine, machine},
		{"another machine and boot", with(func(id *liveness.Identity) { id.Boot = otherBoot; id.Boot.Machine = machineB }), machine, machine},

		{"another namespace", with(func(id *liveness.Identity) { id.Namespace.PID, id.Namespace.PIDUnique = 101, 11 }), elsewhere, gone},
		{"another namespace, no ID of it", with(func(id *liveness.Identity) { id.Namespace.PID, id.Namespace.PIDUnique = 101, 0 }), elsewhere, gone},
		{"namespace not recorded", with(func(id *liveness.Identity) { id.Namespace = liveness.Namespace{} }), undecided, undecided},
		{"namespace's number given to another", with(func(id *liveness.Identity) { id.Namespace.PIDUnique = 11 }), gone, gone},
		{"equal ID of the namespace, another number", with(func(id *liveness.Identity) { id.Namespace.PID = 101 }), undecided, undecided},
		{"equal ID of the namespace, another start of init", with(func(id *liveness.Identity) { id.Namespace.InitStart = 25 }), undecided, undecided},
		{"no ID of the namespace, equal start of init", with(func(id *liveness.Identity) { id.Namespace.PIDUnique = 0 }), undecided, undecided},
		{"no ID of the namespace, another start of init", with(func(id *liveness.Identity) { id.Namespace.PIDUnique, id.Namespace.InitStart = 0, 25 }), gone, gone},
		{"the same, read in another time namespace", with(func(id *liveness.Identity) {
			id.Namespace = liveness.Namespace{PID: 4026531836, InitStart: 25, Time: 201}
		}), undecided, undecided},
		{"the same, time namespace not recorded", with(func(id *liveness.Identity) { id.Namespace = liveness.Namespace{PID: 4026531836, InitStart: 25} }), undecided, undecided},
		{"start of init not recorded", with(func(id *liveness.Identity) { id.Namespace = liveness.Namespace{PID: 4026531836, Time: 4026531834} }), undecided, undecided},
	} {
		for _, exclusive := range []bool{false, true} {
			name, want := test.name, test.shared
			if exclusive {
				name, want = name+", exclusive", test.exclusive
			}
			c.Run(name, func(c *qt.C) {
				scope := liveness.NewScope(here, liveness.Options{ExclusiveNamespace: exclusive})
				verdict, sameBoot, decided := scope.Judge(test.id)
				got := verdict.String()
				switch {
				case !decided && sameBoot:
					got = undecided
				case !decided:
					got = noStamps
				case errors.Is(verdict.Err, bootid.ErrInvalid) && errors.Is(verdict.Err, liveness.ErrInvalid) && verdict.State == liveness.Unknown:
					got = badBoot
				}
				c.Check(got, qt.Equals, want)
			})
		}
	}

	unreadable := with(func(id *liveness.Identity) { id.Namespace = liveness.Namespace{} })
	for _, exclusive := range []bool{false, true} {
		scope := liveness.NewScope(unreadable, liveness.Options{ExclusiveNamespace: exclusive})
		verdict, _, decided := scope.Judge(here)
		c.Check(decided, qt.IsTrue)
		c.Check(verdict.String(), qt.Equals, noNamespace)
	}
}

func TestUnreadableBootProvesNothing(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	scope := liveness.NewScope(with(func(id *liveness.Identity) { id.Boot.Boot, id.Boot.Quality = "", 0 }), liveness.Options{ExclusiveNamespace: true})
	for _, id := range []liveness.Identity{here, with(func(id *liveness.Identity) { id.Boot = bootid.ID{} })} {
		_, sameBoot, decided := scope.Judge(id)
		c.Check(decided, qt.IsFalse)
		c.Check(sameBoot, qt.IsFalse, qt.Commentf("two unreadable boots are not the same"))
	}
}

// Containers that were each given a boot ID can run at the same time, and share a PID
// namespace, or one after the other.
func TestAnotherGivenBootProvesNothing(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	const (
		undecided = "undecided"
		elsewhere = "unknown: it was recorded in another PID namespace"
		gone      = "dead: it was recorded in another PID namespace"
	)
	view := with(func(id *liveness.Identity) { id.Boot.Quality, id.Namespace.PID = bootid.Given, 100 })
	for _, test := range []struct {
		name              string
		namespace         liveness.Namespace
		shared, exclusive string
	}{
		{"the same namespace", view.Namespace, undecided, undecided},
		{"its number, and no more", liveness.Namespace{PID: 100}, undecided, undecided},
		{"none on record", liveness.Namespace{}, undecided, undecided},
		{"its number, given again", liveness.Namespace{PID: 100, PIDUnique: 77}, gone, gone},
		{"its number, and another PID 1", liveness.Namespace{PID: 100, InitStart: 25, Time: 4026531834}, gone, gone},
		{"another one", liveness.Namespace{PID: 101, PIDUnique: 77}, elsewhere, gone},
		{"another one of the same ID, as after a reboot", liveness.Namespace{PID: 101, PIDUnique: view.Namespace.PIDUnique}, elsewhere, gone},
	} {
		id := view
		id.Boot.Boot, id.Namespace = boot2, test.namespace
		for _, exclusive := range []bool{false, true} {
			scope := liveness.NewScope(view, liveness.Options{ExclusiveNamespace: exclusive})
			verdict, sameBoot, decided := scope.Judge(id)
			got, want := verdict.String(), test.shared
			if !decided {
				got = undecided
			}
			if exclusive {
				want = test.exclusive
			}
			c.Check(got, qt.Equals, want, qt.Commentf("%s, exclusive: %t", test.name, exclusive))
			c.Check(sameBoot, qt.IsFalse)
			c.Check(scope.CompareBoot(id.Boot), qt.Equals, bootid.Incomparable)
		}
	}
}

func TestZeroSystemKnowsNothing(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	self, err := liveness.Self()
	if errors.Is(err, errors.ErrUnsupported) {
		self, err = liveness.Identity{PID: 1}, nil
	}
	c.Assert(err, qt.IsNil)
	for _, id := range []liveness.Identity{self, {PID: 99999999}} {
		verdict := new(liveness.System).Check(id)
		c.Check(verdict.State, qt.Equals, liveness.Unknown)
		c.Check(verdict.Err, qt.ErrorMatches, "the System was not made by New")
		_, err = new(liveness.System).Open(id)
		c.Check(err, qt.ErrorIs, liveness.ErrUndecided)
	}
	_, err = new(liveness.System).NewWatch()
	c.Check(err, qt.ErrorMatches, "liveness: watch: the System was not made by New")
	for _, err := range new(liveness.System).Marked(t.Context()) {
		c.Check(err, qt.ErrorMatches, "liveness: list marked processes: the System was not made by New")
	}
}

// A host that knows better than the machine ID says so.
func TestRecordsThatAreSaidToBeOfThisMachineAreOfAnEarlierBoot(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	scope := liveness.NewScope(here, liveness.Options{SameMachine: true})
	for _, test := range []struct {
		name string
		boot bootid.ID
		want string
	}{
		{"another boot", bootid.ID{Machine: machineB, Boot: boot2, Quality: bootid.Native}, "dead: the machine has rebooted since"},
		{"this boot", bootid.ID{Machine: machineB, Boot: boot1, Quality: bootid.Native}, "undecided"},
		{"a boot that the container was given", bootid.ID{Machine: machineB, Boot: boot2, Quality: bootid.Given}, "undecided"},
		{"a boot that could not be read", bootid.ID{Machine: machineB}, "undecided"},
		{"a boot in another form", bootid.ID{Machine: machineB, Boot: strings.ToUpper(boot1), Quality: bootid.Native}, "unknown: the evidence could not be read (.*)"},
	} {
		c.Run(test.name, func(c *qt.C) {
			verdict, _, decided := scope.Judge(with(func(id *liveness.Identity) { id.Boot = test.boot }))
			got := "undecided"
			if decided {
				got = verdict.String()
			}
			c.Check(got, qt.Matches, test.want)
		})
	}
}

// Whatever both sides have must agree.
func TestNumbersOfAProcess(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	const first, later = 4026531834, 200 // time namespaces
	inside := liveness.Namespace{PID: 9, InitStart: 7, Time: later}
	for _, test := range []struct {
		name              string
		recorded, now     liveness.Namespace
		unique, uniqueNow uint64
		start, startNow   uint64
		want              string
	}{
		{"both equal", liveness.Namespace{Time: first}, liveness.Namespace{Time: first}, 3, 3, 5, 5, "agrees"},
		{"unique equal, start not", liveness.Namespace{Time: first}, liveness.Namespace{Time: first}, 3, 3, 5, 6, "differs"},
		{"start equal, unique not", liveness.Namespace{Time: first}, liveness.Namespace{Time: first}, 3, 4, 5, 5, "differs"},
		{"unique alone, equal", liveness.Namespace{Time: first}, liveness.Namespace{Time: first}, 3, 3, 0, 5, "agrees"},
		{"unique alone, start not readable", liveness.Namespace{Time: first}, liveness.Namespace{Time: first}, 3, 3, 5, 0, "agrees"},
		{"unique alone, unequal", liveness.Namespace{Time: first}, liveness.Namespace{Time: first}, 3, 4, 0, 5, "differs"},
		{"start alone, equal", liveness.Namespace{Time: first}, liveness.Namespace{Time: first}, 0, 3, 5, 5, "agrees"},
		{"start alone, unequal", liveness.Namespace{Time: first}, liveness.Namespace{Time: first}, 3, 0, 5, 6, "differs"},
		{"nothing recorded", liveness.Namespace{Time: first}, liveness.Namespace{Time: first}, 0, 3, 0, 5, ""},
		{"nothing readable", liveness.Namespace{Time: first}, liveness.Namespace{Time: first}, 3, 0, 5, 0, ""},
		{"unique equal, another time namespace", liveness.Namespace{Time: later}, liveness.Namespace{Time: first}, 3, 3, 5, 6, "agrees"},
		{"start equal, another time namespace", liveness.Namespace{Time: later}, liveness.Namespace{Time: first}, 0, 3, 5, 5, ""},
		{"start unequal, another time namespace", liveness.Namespace{Time: later}, liveness.Namespace{Time: first}, 0, 3, 5, 6, ""},
		{"start equal, a time namespace whose number may be given again", liveness.Namespace{Time: later}, liveness.Namespace{Time: later}, 0, 0, 5, 5, ""},
		{"start unequal, a time namespace whose number may be given again", liveness.Namespace{Time: later}, liveness.Namespace{Time: later}, 0, 0, 5, 6, ""},
		{"unique equal, start not, a time namespace whose number may be given again", liveness.Namespace{Time: later}, liveness.Namespace{Time: later}, 3, 3, 5, 6, "agrees"},
		{"start equal, time namespace of one ID", liveness.Namespace{Time: later, TimeUnique: 8}, liveness.Namespace{Time: later, TimeUnique: 8}, 0, 0, 5, 5, "agrees"},
		{"start unequal, time namespace of one ID", liveness.Namespace{Time: later, TimeUnique: 8}, liveness.Namespace{Time: later, TimeUnique: 8}, 0, 0, 5, 6, "differs"},
		{"start unequal, time namespace of another ID", liveness.Namespace{Time: later, TimeUnique: 8}, liveness.Namespace{Time: later, TimeUnique: 9}, 0, 0, 5, 6, ""},
		{"start unequal, PID 1 shows one clock", inside, inside, 0, 0, 5, 6, "differs"},
		{"start equal, PID 1 shows one clock", inside, inside, 0, 0, 5, 5, "agrees"},
		{"start unequal, PID 1 shows another clock", inside, liveness.Namespace{PID: 9, InitStart: 8, Time: later}, 0, 0, 5, 6, ""},
		{"start unequal, PID 1 of another namespace shows the same", inside, liveness.Namespace{PID: 8, InitStart: 7, Time: later}, 0, 0, 5, 6, ""},
		{"equal, time namespace not recorded", liveness.Namespace{}, liveness.Namespace{Time: first}, 0, 0, 5, 5, "agrees"},
		{"unequal, time namespace not recorded", liveness.Namespace{}, liveness.Namespace{Time: first}, 0, 0, 5, 6, ""},
		{"equal, time namespace not readable", liveness.Namespace{Time: first}, liveness.Namespace{}, 0, 0, 5, 5, ""},
		{"unequal, time namespace not readable", liveness.Namespace{Time: first}, liveness.Namespace{}, 0, 0, 5, 6, ""},
		{"equal, kernel without time namespaces", liveness.Namespace{}, liveness.Namespace{}, 0, 0, 5, 5, "agrees"},
		{"unequal, kernel without time namespaces", liveness.Namespace{}, liveness.Namespace{}, 0, 0, 5, 6, "differs"},
	} {
		c.Run(test.name, func(c *qt.C) {
			id := liveness.Identity{PID: 1, Start: test.start, Unique: test.unique, Namespace: test.recorded}
			c.Check(liveness.CompareNumbers(&id, test.now, test.uniqueNow, test.startNow), qt.Equals, test.want)
		})
	}
}

func TestMarkers(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		name                string
		environ             string
		present, wellFormed bool
	}{
		{"planted", "M=abc\x00", true, true},
		{"among others", "A=1\x00M=abc\x00B=2\x00", true, true},
		{"empty value before", "A=\x00M=abc\x00", true, true},
		{"missing", "A=1\x00", false, true},
		{"another value", "M=abd\x00", false, true},
		{"longer value", "M=abcd\x00", false, true},
		{"shorter value", "M=ab\x00", false, true},
		{"longer name", "MM=abc\x00", false, true},
		{"value of another variable", "A=M=abc\x00", false, true},
		{"both values, as execve allows", "M=abd\x00M=abc\x00", true, true},
		{"empty", "", false, false},
		{"last entry cut", "A=1\x00M=abc", false, false},
		{"last entry cut, after the marker", "M=abc\x00A=1", true, false},
		{"entry without equals sign", "A=1\x00oops\x00", false, false},
		{"entry without equals sign, and the marker", "oops\x00M=abc\x00", true, false},
		{"empty entry, and the marker", "A=1\x00\x00M=abc\x00", true, false},
		{"entry without name", "=1\x00", false, false},
		{"entry without name, and the marker", "=1\x00M=abc\x00", true, false},
		{"wiped", "\x00\x00\x00\x00", false, false},
		{"title written over it", "worker: idle\x00\x00\x00B=2\x00", false, false},
	} {
		c.Run(test.name, func(c *qt.C) {
			present, wellFormed := liveness.LookForMarker([]byte(test.environ), "M", "abc")
			c.Check(present, qt.Equals, test.present)
			if !present {
				c.Check(wellFormed, qt.Equals, test.wellFormed)
			}
		})
	}
	present, wellFormed := liveness.LookForMarker([]byte("M=a\x00b=c\x00"), "M", "a\x00b=c")
	c.Check(present || wellFormed, qt.IsFalse, qt.Commentf("no environment holds a marker with a NUL"))
}

func TestWindowOfTheStart(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	boot := noon
	at := func(d time.Duration) time.Time { return boot.Add(d) }
	var never time.Time
	const (
		alive    = "alive: the recorded process runs"
		reused   = "dead: its PID belongs to another process now"
		rebooted = "dead: the machine has rebooted since"
	)
	for _, test := range []struct {
		name                string
		notBefore, notAfter time.Time
		start               time.Time
		want                string // "" is undecided
	}{
		{"no bounds", never, never, at(time.Hour), ""},
		{"started before the row was written", never, at(2 * time.Hour), at(time.Hour), alive},
		{"started just when the row was written", never, at(time.Hour), at(time.Hour), alive},
		{"within the tolerance after", never, at(time.Hour), at(time.Hour + 2*time.Second), alive},
		{"beyond the tolerance after", never, at(time.Hour), at(time.Hour + 2*time.Second + 1), reused},
		{"row of an earlier boot", never, at(-time.Hour), at(time.Hour), rebooted},
		{"a bound in the future, by a clock that was set back", never, at(5 * time.Hour), at(time.Hour), ""},
		{"a bound within the tolerance in the future", never, at(4*time.Hour + 2*time.Second), at(time.Hour), alive},
		{"a bound beyond the tolerance in the future", never, at(4*time.Hour + 2*time.Second + 1), at(time.Hour), ""},
		{"a lower bound in the future", at(5 * time.Hour), never, at(time.Hour), ""},
		{"a lower bound in the future, an upper one before", at(5 * time.Hour), at(2 * time.Hour), at(3 * time.Hour), ""},
		{"bounds that exclude each other", at(3 * time.Hour), at(2 * time.Hour), at(time.Hour), ""},
		{"row written within the tolerance before the boot", never, at(-2 * time.Second), at(time.Hour), reused},
		{"row written beyond the tolerance before the boot", never, at(-2*time.Second - 1), at(time.Hour), rebooted},
		{"process that seems older than the boot, as in a time namespace", never, at(-time.Hour), at(-2 * time.Hour), alive},
		{"too old a holder", at(2 * time.Hour), never, at(time.Hour), reused},
		{"within the tolerance before", at(time.Hour), never, at(time.Hour - 2*time.Second), ""},
		{"beyond the tolerance before", at(time.Hour), never, at(time.Hour - 2*time.Second - 1), reused},
		{"young enough, which is no proof", at(time.Hour), never, at(2 * time.Hour), ""},
		{"between the bounds", at(time.Hour), at(3 * time.Hour), at(2 * time.Hour), alive},
		{"before both", at(2 * time.Hour), at(3 * time.Hour), at(time.Hour), reused},
		{"after both", at(time.Hour), at(2 * time.Hour), at(3 * time.Hour), reused},
	} {
		c.Run(test.name, func(c *qt.C) {
			id := liveness.Identity{PID: 1, NotBefore: test.notBefore, NotAfter: test.notAfter}
			verdict, decided := liveness.JudgeWindow(&id, boot, test.start, at(4*time.Hour))
			got := ""
			if decided {
				got = verdict.String()
			}
			c.Check(got, qt.Equals, test.want)
		})
	}
}

// A bound that ends before the boot in which the process ran was written by a
// clock that was set since.
func TestBoundBeforeTheRecordedBootProvesNothing(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	boot := noon
	for _, test := range []struct {
		name     string
		notAfter time.Time
		decided  bool
	}{
		{"an hour before the boot", boot.Add(-time.Hour), false},
		{"beyond the tolerance before the boot", boot.Add(-2*time.Second - 1), false},
		{"within the tolerance before the boot", boot.Add(-2 * time.Second), true},
		{"after the boot", boot.Add(time.Minute), true},
	} {
		c.Run(test.name, func(c *qt.C) {
			id := with(func(id *liveness.Identity) { id.NotAfter = test.notAfter })
			verdict, decided := liveness.JudgeWindow(&id, boot, boot.Add(time.Hour), boot.Add(2*time.Hour))
			c.Check(decided, qt.Equals, test.decided)
			if decided {
				c.Check(verdict, qt.Equals, liveness.Verdict{State: liveness.Dead, Reason: liveness.PIDReused})
			}
		})
	}
}

func TestImpossiblePIDsAreUnknown(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	system, err := liveness.New(liveness.Options{})
	c.Assert(err, qt.IsNil)
	pids := []int{-1, 0, math.MinInt, math.MaxInt}
	if math.MaxInt > math.MaxUint32 {
		for _, pid := range []uint64{math.MaxUint32 + 1, math.MaxUint32 + 2} {
			pids = append(pids, int(pid))
		}
	}
	for _, pid := range pids {
		verdict := system.Check(liveness.Identity{PID: pid, Start: 5, Boot: here.Boot})
		c.Check(verdict.State, qt.Equals, liveness.Unknown)
		c.Check(verdict.Reason, qt.Equals, liveness.Unreadable)
		c.Check(verdict.Err, qt.ErrorIs, liveness.ErrInvalid)
	}
}

func TestVerdictsReadAsSentences(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	c.Check(liveness.Verdict{}.String(), qt.Equals, "unknown: nothing recorded tells whose PID it is now")
	c.Check(liveness.Verdict{State: liveness.Dead, Reason: liveness.PIDReused}.String(), qt.Equals, "dead: its PID belongs to another process now")
	c.Check(liveness.Verdict{Reason: liveness.Unreadable, Err: liveness.ErrInvalid}.String(), qt.Equals, "unknown: the evidence could not be read (invalid identity)")
	c.Check(liveness.State(9).String(), qt.Equals, "invalid(9)")
	c.Check(liveness.Reason(99).String(), qt.Equals, "invalid(99)")

	names := make(map[string]bool)
	for reason := liveness.NoEvidence; reason <= liveness.Unreadable; reason++ {
		c.Check(reason.String(), qt.Matches, "[a-z_]+")
		c.Check(strings.HasPrefix(liveness.Verdict{Reason: reason}.String(), "unknown: "), qt.IsTrue)
		c.Check(liveness.Verdict{Reason: reason}.String(), qt.Not(qt.Contains), "invalid")
		names[reason.String()] = true
	}
	c.Check(names, qt.HasLen, int(liveness.Unreadable)+1)
}

// Many records are of one boot, so how it relates to this one is remembered.
func TestTheBootThatWasComparedLastIsNotTakenForAnother(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	scope := liveness.NewScope(here, liveness.Options{})
	scope.RememberBoot()
	earlier := with(func(id *liveness.Identity) { id.Boot.Boot = boot2 })
	invalid := with(func(id *liveness.Identity) { id.Boot.Boot = strings.ToUpper(boot1) })
	for range 2 {
		for range 2 {
			_, sameBoot, decided := scope.Judge(here)
			c.Check(sameBoot && !decided, qt.IsTrue)
		}
		for range 2 {
			verdict, _, _ := scope.Judge(earlier)
			c.Check(verdict, qt.Equals, liveness.Verdict{State: liveness.Dead, Reason: liveness.Rebooted})
		}
		for range 2 {
			verdict, _, _ := scope.Judge(invalid)
			c.Check(verdict.Err, qt.ErrorIs, bootid.ErrInvalid)
		}
	}
}

// The /proc of another namespace can show a boot ID that is not ours, and no
// machine ID.
func TestViewThatMayShowAnotherMachine(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	const (
		reused   = "dead: its PID belongs to another process now"
		rebooted = "dead: the machine has rebooted since"
		unknown  = "unknown: the evidence could not be read (the procfs may be that of another machine)"
		alive    = "alive: the recorded process runs"
	)
	otherBoot := bootid.ID{Machine: machineA, Boot: boot2, Quality: bootid.Native}
	for _, test := range []struct {
		name        string
		boot        bootid.ID
		sameMachine bool
		same, other string // verdicts where the unique number agrees and where it differs
	}{
		{"this boot", here.Boot, false, alive, reused},
		{"another boot of a machine that may be another", otherBoot, false, unknown, unknown},
		{"another boot, of this machine as the host says", otherBoot, true, rebooted, rebooted},
		{"another boot, machine not recorded", bootid.ID{Boot: boot2, Quality: bootid.Native}, false, rebooted, rebooted},
	} {
		c.Run(test.name, func(c *qt.C) {
			scope := liveness.NewScope(here, liveness.Options{SameMachine: test.sameMachine})
			scope.SetForeign()
			id := with(func(id *liveness.Identity) { id.Boot, id.Unique = test.boot, 5 })
			c.Check(scope.JudgeAll(id, &liveness.Holder{Unique: 5}).String(), qt.Equals, test.same)
			c.Check(scope.JudgeAll(id, &liveness.Holder{Unique: 6}).String(), qt.Equals, test.other)
		})
	}
}

func TestHighestPIDCanBeHad(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	scope := liveness.NewScope(here, liveness.Options{})
	_, sameBoot, decided := scope.Judge(with(func(id *liveness.Identity) { id.PID = 1 << 22 }))
	c.Check(sameBoot && !decided, qt.IsTrue)
}

// The ID of a namespace is never given twice in a boot, the start of PID 1 can be.
func TestIDOfANamespaceIsAskedBeforeTheStartOfItsInit(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	scope := liveness.NewScope(here, liveness.Options{})
	_, sameBoot, decided := scope.Judge(with(func(id *liveness.Identity) {
		id.Boot, id.Namespace.InitStart = bootid.ID{}, 25
	}))
	c.Check(sameBoot || decided, qt.IsFalse)
}

// An ID of the time namespace that one side does not have leaves it to PID 1.
func TestOneClockThatPID1Shows(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	bare := liveness.Namespace{PID: 9, InitStart: 7, Time: 200}
	known := bare
	known.TimeUnique = 8
	for _, sides := range [][2]liveness.Namespace{{bare, known}, {known, bare}} {
		id := liveness.Identity{PID: 1, Start: 5, Namespace: sides[0]}
		c.Check(liveness.CompareNumbers(&id, sides[1], 0, 6), qt.Equals, "differs")
		c.Check(liveness.CompareNumbers(&id, sides[1], 0, 5), qt.Equals, "agrees")
	}
}

func TestWhatCouldNotBeReadIsTold(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	scope := liveness.NewScope(here, liveness.Options{})
	errEnviron, errStart := errors.New("environment"), errors.New("start")
	holder := liveness.Holder{
		NoEnviron: errEnviron, NoWallStart: errStart, Boot: noon, Began: noon.Add(time.Hour), Now: noon.Add(2 * time.Hour),
	}
	id := with(func(id *liveness.Identity) { id.Marker = "m" })

	verdict := scope.JudgeAll(id, &holder)
	c.Check(verdict.State, qt.Equals, liveness.Unknown)
	c.Check(verdict.Reason, qt.Equals, liveness.Unreadable)
	c.Check(verdict.Err, qt.ErrorIs, errEnviron)

	id.NotBefore = noon
	verdict = scope.JudgeAll(id, &holder)
	c.Check(verdict.Reason, qt.Equals, liveness.Unreadable)
	c.Check(verdict.Err, qt.ErrorIs, errEnviron)
	c.Check(verdict.Err, qt.ErrorIs, errStart)

	// The bound decides nothing either.
	holder.NoWallStart = nil
	verdict = scope.JudgeAll(id, &holder)
	c.Check(verdict.Reason, qt.Equals, liveness.Unreadable)
	c.Check(verdict.Err, qt.ErrorIs, errEnviron)

	id.Marker = ""
	c.Check(scope.JudgeAll(id, &holder), qt.Equals, liveness.Verdict{})
}

func TestProcessThatEndsBeforeItsEnvironmentIsReadIsDead(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	scope := liveness.NewScope(here, liveness.Options{})
	id := with(func(id *liveness.Identity) { id.Marker = "m" })
	verdict := scope.JudgeAll(id, &liveness.Holder{NoEnviron: errors.New("no such process"), Gone: true})
	c.Check(verdict, qt.Equals, liveness.Verdict{State: liveness.Dead, Reason: liveness.NoProcess})
}

// Without a boot ID numbers that agree prove nothing, nor do they take away what a
// bound proves.
func TestBoundProvesWhereNumbersAgreeAndBootsCannotBeCompared(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	scope := liveness.NewScope(here, liveness.Options{})
	holder := liveness.Holder{Unique: 5, StartStamp: 6, Boot: noon, Began: noon.Add(time.Hour), Now: noon.Add(3 * time.Hour)}
	id := with(func(id *liveness.Identity) {
		id.Boot, id.Unique, id.Start, id.NotAfter = bootid.ID{}, 5, 6, noon.Add(2*time.Hour)
	})
	c.Check(scope.JudgeAll(id, &holder).String(), qt.Equals, "alive: the recorded process runs")
	id.NotAfter = noon.Add(time.Minute) // it began later: the clock may have been set
	c.Check(scope.JudgeAll(id, &holder), qt.Equals, liveness.Verdict{})
}

func TestMarkerThatBeginsWithANULIsInNoEnvironment(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	present, wellFormed := liveness.LookForMarker([]byte("M=\x00A=1\x00"), "M", "\x00A=1")
	c.Check(present || wellFormed, qt.IsFalse)
}

// The text of an Identity can hold such a year.
func TestBoundOfTheYearZeroIsOne(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	id := liveness.Identity{PID: 1, NotAfter: time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)}
	verdict, decided := liveness.JudgeWindow(&id, noon, noon.Add(time.Hour), noon.Add(2*time.Hour))
	c.Check(decided, qt.IsTrue)
	c.Check(verdict, qt.Equals, liveness.Verdict{State: liveness.Dead, Reason: liveness.Rebooted})
}

// Windows may count up the boot when it wakes from hibernation with its processes.
func TestProcessOfAnotherBootThatStartedAtTheSameMomentIsNoProofOfAReboot(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	id := liveness.Identity{PID: 12, Boot: bootid.ID{Boot: "counter-7", Quality: bootid.Native}, Start: 5, Unique: 9}
	now := id
	now.Boot.Boot, now.Boot.Machine = "counter-8", "this"
	noStart := id
	noStart.Start = 0
	rebooted := liveness.Verdict{State: liveness.Dead, Reason: liveness.Rebooted}
	for _, test := range []struct {
		name   string
		id     liveness.Identity
		holder *liveness.Holder
		want   liveness.Verdict
	}{
		{"nobody has the PID", id, nil, rebooted},
		{"it cannot be read", id, &liveness.Holder{Denied: errors.New("denied")}, rebooted},
		{"another start", id, &liveness.Holder{StartStamp: 6}, rebooted},
		{"the same start", id, &liveness.Holder{StartStamp: 5}, liveness.Verdict{}},
		{"the same start, exited", id, &liveness.Holder{StartStamp: 5, Zombie: true}, rebooted},
		{"no start on record", noStart, &liveness.Holder{StartStamp: 0, Unique: 9}, rebooted},
	} {
		scope := liveness.NewScope(now, liveness.Options{})
		c.Check(scope.JudgeAll(test.id, test.holder), qt.Equals, rebooted, qt.Commentf("elsewhere: %s", test.name))
		scope.SetBootsMayContinue()
		c.Check(scope.JudgeAll(test.id, test.holder), qt.Equals, test.want, qt.Commentf(test.name))
		elsewhere := test.id
		elsewhere.Boot.Machine = "another"
		c.Check(scope.JudgeAll(elsewhere, test.holder), qt.Equals, liveness.Verdict{Reason: liveness.OtherMachine}, qt.Commentf(test.name))
	}
}

// What is known of a pinned process is not read again.
func TestPinnedProcessIsLookedAtNoMoreThanIsNeeded(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	id := liveness.Identity{PID: 12, Boot: bootid.ID{Boot: boot1, Quality: bootid.Native}, Start: 5, Unique: 9}
	noStart, reused := id, id
	noStart.Start, reused.Unique = 0, 8
	alive := liveness.Verdict{State: liveness.Alive, Reason: liveness.SameProcess}
	scope := liveness.NewScope(id, liveness.Options{})
	scope.RememberStarts()
	holder := liveness.Holder{StartStamp: 5, Unique: 9}
	for _, test := range []struct {
		name   string
		id     liveness.Identity
		zombie bool
		want   liveness.Verdict
		reads  int
	}{
		{"no start on record", noStart, false, alive, 0},
		{"another unique number", reused, false, liveness.Verdict{State: liveness.Dead, Reason: liveness.PIDReused}, 0},
		{"exited", id, true, liveness.Verdict{State: liveness.Dead, Reason: liveness.Zombie}, 1},
		{"the first time", id, false, alive, 1},
		{"the second time", id, false, alive, 0},
		{"no start on record, again", noStart, false, alive, 0},
		{"the third time", id, false, alive, 0},
	} {
		holder.StartReads, holder.Zombie = 0, test.zombie
		c.Check(scope.JudgePinning(test.id, &holder), qt.Equals, test.want, qt.Commentf(test.name))
		c.Check(holder.StartReads, qt.Equals, test.reads, qt.Commentf(test.name))
		c.Check(holder.Looks, qt.Equals, 0, qt.Commentf(test.name))
	}
	other := id
	other.Start = 6
	c.Check(scope.JudgePinning(other, &holder).Reason, qt.Equals, liveness.PIDReused)
	holder.Reaped = true // the start that was read may be that of the next one
	c.Check(scope.JudgePinning(other, &holder).Reason, qt.Equals, liveness.NoProcess)
	c.Check(holder.Looks, qt.Equals, 0)

	// Without descriptors for a poll it is looked at, as if it could not be pinned.
	holder.Reaped, holder.PollErr = false, errors.New("too many open files")
	c.Check(scope.JudgePinning(id, &holder), qt.Equals, alive)
	c.Check(holder.Looks, qt.Equals, 1)
}

func TestStartInWallTimeIsOnlyAskedForWhereABoundIsOnRecord(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	id := liveness.Identity{PID: 12}
	scope, holder := liveness.NewScope(id, liveness.Options{}), liveness.Holder{NoWallStart: errors.New("no clock")}
	c.Check(scope.JudgeAll(id, &holder), qt.Equals, liveness.Verdict{})
	id.NotAfter = noon
	c.Check(scope.JudgeAll(id, &holder).Err, qt.ErrorMatches, "no clock")
}
