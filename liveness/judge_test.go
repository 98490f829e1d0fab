package liveness_test

import (
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
	Namespace: liveness.Namespace{PID: 4026531836, PIDUnique: 10, InitStart: 24, Time: 200},
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
		{"another boot ID, seen in another namespace", with(func(id *liveness.Identity) { id.Boot = otherBoot; id.Namespace.PID = 101 }), elsewhere, rebooted},
		{"boot not recorded", with(func(id *liveness.Identity) { id.Boot = bootid.ID{} }), noStamps, noStamps},
		{"boot not recorded, namespace's number given to another", with(func(id *liveness.Identity) { id.Boot = bootid.ID{}; id.Namespace.PIDUnique = 11 }), noStamps, noStamps},
		{"derived boot that differs", with(func(id *liveness.Identity) { id.Boot.Quality = bootid.Derived }), noStamps, noStamps},

		{"another machine", with(func(id *liveness.Identity) { id.Boot.Machine = machineB }), machine, machine},
		{"another machine and boot", with(func(id *liveness.Identity) { id.Boot = otherBoot; id.Boot.Machine = machineB }), machine, machine},

		{"another namespace", with(func(id *liveness.Identity) { id.Namespace.PID = 101 }), elsewhere, gone},
		{"namespace not recorded", with(func(id *liveness.Identity) { id.Namespace = liveness.Namespace{} }), undecided, undecided},
		{"namespace's number given to another", with(func(id *liveness.Identity) { id.Namespace.PIDUnique = 11 }), gone, gone},
		{"equal ID of the namespace, another start of init", with(func(id *liveness.Identity) { id.Namespace.InitStart = 25 }), undecided, undecided},
		{"no ID of the namespace, equal start of init", with(func(id *liveness.Identity) { id.Namespace.PIDUnique = 0 }), undecided, undecided},
		{"no ID of the namespace, another start of init", with(func(id *liveness.Identity) { id.Namespace.PIDUnique, id.Namespace.InitStart = 0, 25 }), gone, gone},
		{"the same, read in another time namespace", with(func(id *liveness.Identity) {
			id.Namespace = liveness.Namespace{PID: 4026531836, InitStart: 25, Time: 201}
		}), undecided, undecided},
		{"the same, time namespace not recorded", with(func(id *liveness.Identity) { id.Namespace = liveness.Namespace{PID: 4026531836, InitStart: 25} }), undecided, undecided},
		{"start of init not recorded", with(func(id *liveness.Identity) { id.Namespace = liveness.Namespace{PID: 4026531836, Time: 200} }), undecided, undecided},
	} {
		for _, exclusive := range []bool{false, true} {
			name, want := test.name, test.shared
			if exclusive {
				name, want = name+", exclusive", test.exclusive
			}
			c.Run(name, func(c *qt.C) {
				scope := liveness.NewScope(here, exclusive)
				verdict, sameBoot, decided := scope.Judge(test.id)
				got := verdict.String()
				switch {
				case !decided && sameBoot:
					got = undecided
				case !decided:
					got = noStamps
				}
				c.Check(got, qt.Equals, want)
			})
		}
	}

	// In a container the boot ID may be one that it was given, and another one
	// where that is not seen.
	inner := with(func(id *liveness.Identity) { id.Namespace.PID = 100 })
	for _, test := range []struct {
		name      string
		namespace liveness.Namespace
		want      liveness.Verdict
	}{
		{"the very same namespace", inner.Namespace, liveness.Verdict{}},
		{"one that started at another time", liveness.Namespace{PID: 100, PIDUnique: 10, InitStart: 25, Time: 200}, liveness.Verdict{State: liveness.Dead, Reason: liveness.Rebooted}},
		{"one with another ID", liveness.Namespace{PID: 100, PIDUnique: 11, InitStart: 24, Time: 200}, liveness.Verdict{State: liveness.Dead, Reason: liveness.Rebooted}},
		{"the one that each boot has", here.Namespace, liveness.Verdict{Reason: liveness.OtherNamespace}},
	} {
		c.Run("another boot ID, in "+test.name, func(c *qt.C) {
			scope := liveness.NewScope(inner, false)
			id := inner
			id.Boot, id.Namespace = otherBoot, test.namespace
			verdict, sameBoot, decided := scope.Judge(id)
			c.Check(verdict, qt.Equals, test.want)
			c.Check(sameBoot, qt.IsFalse)
			c.Check(decided, qt.Equals, test.want != liveness.Verdict{})
		})
	}

	unreadable := with(func(id *liveness.Identity) { id.Namespace = liveness.Namespace{} })
	for _, exclusive := range []bool{false, true} {
		scope := liveness.NewScope(unreadable, exclusive)
		verdict, _, decided := scope.Judge(here)
		c.Check(decided, qt.IsTrue)
		c.Check(verdict.String(), qt.Equals, noNamespace)
	}
}

func TestUnreadableBootProvesNothing(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	scope := liveness.NewScope(with(func(id *liveness.Identity) { id.Boot.Boot, id.Boot.Quality = "", 0 }), true)
	for _, id := range []liveness.Identity{here, with(func(id *liveness.Identity) { id.Boot = bootid.ID{} })} {
		_, sameBoot, decided := scope.Judge(id)
		c.Check(decided, qt.IsFalse)
		c.Check(sameBoot, qt.IsFalse, qt.Commentf("two unreadable boots are not the same"))
	}
}

func TestStartStamps(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		name          string
		recorded, now uint64
		timeRecorded  uint64
		timeNow       uint64
		same, decided bool
	}{
		{"equal", 5, 5, 200, 200, true, true},
		{"unequal", 5, 6, 200, 200, false, true},
		{"not recorded", 0, 5, 200, 200, false, false},
		{"not readable", 5, 0, 200, 200, false, false},
		{"neither", 0, 0, 200, 200, false, false},
		{"equal, other time namespace", 5, 5, 201, 200, true, false},
		{"unequal, other time namespace", 5, 6, 201, 200, false, false},
		{"equal, time namespace not recorded", 5, 5, 0, 200, true, true},
		{"unequal, time namespace not recorded", 5, 6, 0, 200, false, false},
		{"equal, time namespace not readable", 5, 5, 200, 0, true, false},
		{"unequal, time namespace not readable", 5, 6, 200, 0, false, false},
		{"equal, kernel without time namespaces", 5, 5, 0, 0, true, true},
		{"unequal, kernel without time namespaces", 5, 6, 0, 0, false, true},
	} {
		c.Run(test.name, func(c *qt.C) {
			id := liveness.Identity{PID: 1, Start: test.recorded, Namespace: liveness.Namespace{Time: test.timeRecorded}}
			same, decided := liveness.JudgeStart(&id, liveness.Namespace{Time: test.timeNow}, test.now)
			c.Check(decided, qt.Equals, test.decided)
			if decided {
				c.Check(same, qt.Equals, test.same)
			}
		})
	}
}

func TestMarkers(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		name          string
		environ       string
		same, decided bool
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
		{"entry without equals sign", "A=1\x00oops\x00", false, false},
		{"entry without name", "=1\x00", false, false},
		{"wiped", "\x00\x00\x00\x00", false, false},
		{"title written over it", "worker: idle\x00\x00\x00B=2\x00", false, false},
	} {
		c.Run(test.name, func(c *qt.C) {
			same, decided := liveness.JudgeMarker([]byte(test.environ), "M", "abc")
			c.Check(decided, qt.Equals, test.decided)
			c.Check(same, qt.Equals, test.same)
		})
	}
	_, decided := liveness.JudgeMarker([]byte("M=a\x00b=c\x00"), "M", "a\x00b=c")
	c.Check(decided, qt.IsFalse, qt.Commentf("no environment holds a marker with a NUL"))
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
			verdict, decided := liveness.JudgeWindow(&id, boot, test.start)
			got := ""
			if decided {
				got = verdict.String()
			}
			c.Check(got, qt.Equals, test.want)
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
