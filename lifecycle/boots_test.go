package lifecycle_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

const (
	otherBoot    = "b5a0a1c2-33f0-4c55-8f0d-3d1f2a7c8e22"
	otherMachine = "fedcba9876543210fedcba9876543210"
)

// fixedClock shows one moment.
type fixedClock struct {
	boot  bootid.ID
	awake time.Duration
}

func (f fixedClock) Boot() (bootid.ID, error)      { return f.boot, nil }
func (f fixedClock) Awake() (time.Duration, error) { return f.awake, nil }

func bootOf(c *qt.C, w *world) bootid.ID {
	c.Helper()
	boot, err := w.Boot()
	c.Assert(err, qt.IsNil)
	return boot
}

// decided is what a Cleaner with limits of an hour makes of a record in each
// phase, when its process cannot be judged.
func decided(c *qt.C, cleaner lifecycle.Cleaner, record lifecycle.Record) string {
	c.Helper()
	cleaner.LaunchTimeout, cleaner.StaleAfter, cleaner.InactiveAfter = time.Hour, time.Hour, time.Hour
	var all []string
	for _, phase := range []lifecycle.Phase{lifecycle.Launching, lifecycle.Running, lifecycle.Inactive} {
		record.Phase = phase
		decision, err := cleaner.Decide(record)
		c.Assert(err, qt.IsNil)
		all = append(all, decision.Verb()+" "+decision.Reason)
	}
	return strings.Join(all, ", ")
}

const (
	allKept   = "keep launching, keep untracked, keep at_rest"
	allRecent = "keep launching, keep heartbeat, keep at_rest"
	allOver   = "stop launch_failed, stop stale, stop inactive"
)

// A container of LXC or systemd-nspawn has a boot ID of its own; a program in it
// that has another procfs sees that of the kernel. The two are of one boot, or not.
func TestAgesAreNotJudgedAcrossTwoViewsOfAContainer(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	native := bootOf(c, w)
	given := bootid.ID{Machine: native.Machine, Boot: otherBoot, Quality: bootid.Given}
	for _, test := range []struct {
		name        string
		theirs, our bootid.ID
	}{
		{"recorded by the one that was given", given, native},
		{"recorded by the kernel's", native, given},
	} {
		for _, age := range []time.Duration{time.Second, 48 * time.Hour} {
			c.Run(fmt.Sprintf("%s, %v ago", test.name, age), func(c *qt.C) {
				record := newRecord(w, "a")
				record.Heartbeat = lifecycle.Heartbeat{Boot: test.theirs, Awake: time.Hour}
				cleaner := newCleaner(w, new(memstore.Store))
				cleaner.Clock = fixedClock{test.our, time.Hour + age}
				c.Check(decided(c, cleaner, record), qt.Equals, allKept)
			})
		}
	}
}

// Another run of the container is another boot, but two containers can run at the
// same time: the age is the lesser of what it can be.
func TestAgesBetweenTwoContainersAreTheLesserOfWhatTheyCanBe(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	for _, test := range []struct {
		age  time.Duration
		want string
	}{
		{time.Second, allKept},
		{time.Hour, allKept},
		{time.Hour + 1, allOver},
	} {
		record := newRecord(w, "a")
		record.Heartbeat = lifecycle.Heartbeat{Boot: bootid.ID{Boot: otherBoot, Quality: bootid.Given}, Awake: 24 * time.Hour}
		ours := bootid.ID{Boot: bootOf(c, w).Boot, Quality: bootid.Given}
		cleaner := newCleaner(w, new(memstore.Store))
		cleaner.Clock = fixedClock{ours, 24*time.Hour + test.age}
		c.Check(decided(c, cleaner, record), qt.Equals, test.want, qt.Commentf("%v", test.age))
	}

	// An equal one is this boot.
	ours := bootid.ID{Boot: bootOf(c, w).Boot, Quality: bootid.Given}
	record := newRecord(w, "a")
	record.Heartbeat = lifecycle.Heartbeat{Boot: ours, Awake: 24 * time.Hour}
	cleaner := newCleaner(w, new(memstore.Store))
	cleaner.Clock = fixedClock{ours, 25 * time.Hour}
	c.Check(decided(c, cleaner, record), qt.Equals, allRecent)
}

// Small machines without randomness repeat a boot ID. Awake time tells.
func TestAwakeTimeThatWentBackIsAnotherBoot(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	boot := bootOf(c, w)
	derived := bootid.ID{Boot: "init-1", Quality: bootid.Derived}
	given := bootid.ID{Boot: otherBoot, Quality: bootid.Given}
	for _, boots := range [][2]bootid.ID{
		{boot, boot}, {derived, derived}, {given, given}, {boot, given}, {given, boot},
		{derived, {Boot: "init-2", Quality: bootid.Derived}},
	} {
		c.Run(boots[0].String()+" "+boots[1].String(), func(c *qt.C) {
			record := newRecord(w, "a")
			record.Heartbeat = lifecycle.Heartbeat{Boot: boots[0], Awake: 5 * time.Hour}
			cleaner := newCleaner(w, new(memstore.Store))
			cleaner.Clock = fixedClock{boots[1], 2 * time.Hour}
			c.Check(decided(c, cleaner, record), qt.Equals, allOver)
			// What this boot has been awake for is too short for InactiveAfter alone.
			cleaner.Clock = fixedClock{boots[1], time.Minute}
			c.Check(decided(c, cleaner, record), qt.Equals, "stop launch_failed, stop stale, keep at_rest")
		})
	}
}

// What the boots of a system without a boot ID have for one can differ in one
// boot, and be equal in two: the age is the lesser of what it can be.
func TestAgesOfDerivedBootsAreTheLesserOfWhatTheyCanBe(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	for _, test := range []struct {
		beat, now time.Duration
		want      string
	}{
		{time.Hour, 2 * time.Hour, allRecent},
		{time.Hour, 2*time.Hour + 1, allOver},
	} {
		record := newRecord(w, "a")
		record.Heartbeat = lifecycle.Heartbeat{Boot: bootid.ID{Boot: "init-1", Quality: bootid.Derived}, Awake: test.beat}
		cleaner := newCleaner(w, new(memstore.Store))
		cleaner.Clock = fixedClock{bootid.ID{Boot: "init-1", Quality: bootid.Derived}, test.now}
		c.Check(decided(c, cleaner, record), qt.Equals, test.want)
		cleaner.Clock = fixedClock{bootid.ID{Boot: "init-2", Quality: bootid.Derived}, test.now}
		c.Check(decided(c, cleaner, record), qt.Equals, strings.Replace(test.want, "keep heartbeat", "keep untracked", 1))
	}
}

// movingClock goes on with each look, as clocks do.
type movingClock struct {
	fixedClock
	looks int
}

func (m *movingClock) Awake() (time.Duration, error) {
	m.looks++
	return m.awake + time.Duration(m.looks)*time.Minute, nil
}

// A heartbeat can be later than the moment in which the pass began.
func TestAHeartbeatDuringThePassIsOfThisBoot(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	record := newRecord(w, "a")
	record.Heartbeat = lifecycle.Heartbeat{Boot: bootOf(c, w), Awake: time.Hour + 2*time.Minute}
	cleaner := newCleaner(w, new(memstore.Store))
	cleaner.StaleAfter = time.Hour
	cleaner.Clock = &movingClock{fixedClock: fixedClock{bootOf(c, w), time.Hour}}
	decision, err := cleaner.Decide(record)
	c.Assert(err, qt.IsNil)
	c.Check(decision.String(), qt.Equals, "keep: heartbeat (its heartbeat is recent)")
}

func TestAHeartbeatOfABootIDInAnotherFormHasNoAge(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	boot := bootOf(c, w)
	for _, text := range []string{strings.ReplaceAll(boot.Boot, "-", ""), boot.Boot + "\n", "?"} {
		record := newRecord(w, "a")
		record.Heartbeat = lifecycle.Heartbeat{Boot: bootid.ID{Boot: text, Quality: bootid.Native}, Awake: 5 * time.Hour}
		cleaner := newCleaner(w, new(memstore.Store))
		cleaner.Clock = fixedClock{boot, 2 * time.Hour}
		c.Check(decided(c, cleaner, record), qt.Equals, allKept, qt.Commentf("%q", text))
	}
}

// Some systems make a machine ID at each boot, or while they run, and images
// bring theirs along. A record that names the Cleaner's owner is of this machine.
func TestARecordOfTheCleanersOwnerIsOfThisMachine(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	process := w.Start()
	record := tracking(w, "a", process)
	record.Identity.Boot.Machine, record.Heartbeat.Boot.Machine = otherMachine, otherMachine
	w.Reboot()
	w.Advance(2 * time.Hour)
	cleaner := newCleaner(w, new(memstore.Store))
	decide := func(record lifecycle.Record) string {
		decision, err := cleaner.Decide(record)
		c.Assert(err, qt.IsNil)
		return decision.Verb() + " " + decision.Reason
	}
	withoutProcess := record
	withoutProcess.Identity = liveness.Identity{}
	c.Check(decide(record), qt.Equals, "keep other_machine")
	c.Check(decided(c, cleaner, withoutProcess), qt.Equals, allKept)

	cleaner.Owner = "laptop"
	c.Check(decide(record), qt.Equals, "keep other_machine", qt.Commentf("it names no owner"))
	record.Owner, withoutProcess.Owner = "laptop", "laptop"
	c.Check(decide(record), qt.Equals, "stop exit:reboot")
	c.Check(decided(c, cleaner, withoutProcess), qt.Equals, allOver)

	// In one boot the machine ID says nothing in any case.
	again := w.Start()
	living := tracking(w, "b", again)
	living.Identity.Boot.Machine = otherMachine
	c.Check(decide(living), qt.Equals, "keep alive")
}

// sameMachine is a Liveness by which all records are of this machine.
type sameMachine struct {
	*world
	boot bootid.ID
}

func (s sameMachine) CompareBoot(boot bootid.ID) bootid.Relation {
	boot.Machine = ""
	return boot.Compare(s.boot)
}

func TestAgesAreJudgedByTheOptionsOfTheLiveness(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	record := newRecord(w, "a")
	record.Heartbeat.Boot.Machine = otherMachine
	w.Reboot()
	w.Advance(2 * time.Hour)
	cleaner := newCleaner(w, new(memstore.Store))
	cleaner.Liveness = sameMachine{w, bootOf(c, w)}
	c.Check(decided(c, cleaner, record), qt.Equals, allOver)

	// But only if it is of the boot that the Clock shows.
	cleaner.Liveness = sameMachine{w, bootid.ID{Boot: otherBoot, Quality: bootid.Native}}
	c.Check(decided(c, cleaner, record), qt.Equals, allKept)
}

func TestJudgeWithoutAStoreIsAnError(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	_, err := lifecycle.Cleaner{Liveness: w, Clock: w}.Decide(newRecord(w, "a"))
	c.Check(err, qt.ErrorIs, lifecycle.ErrMisconfigured)
}

// A Cleaner whose Owner was forgotten skips all there is.
func TestAPassThatSkippedAllWithoutAnOwnerSaysSo(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w, store := livenesstest.New(), new(memstore.Store)
	for _, name := range []string{"a", "b"} {
		record := newDead(w, name)
		record.Owner = "laptop"
		put(c, store, record)
	}
	cleaner := newCleaner(w, store)
	gate := newGate(w, newKV())
	for range 2 {
		report, err := cleaner.CleanOncePerBoot(c.Context(), gate)
		c.Check(err, qt.ErrorIs, lifecycle.ErrMisconfigured)
		c.Check(err, qt.ErrorMatches, `lifecycle: .*: the Cleaner has no Owner, and each of the 2 records has one, such as "laptop"`)
		c.Check(report.GateClosed, qt.IsFalse, qt.Commentf("the gate stays open"))
		c.Check(report.Skipped, qt.Equals, 2)
	}
	other := cleaner
	other.Owner = "desk"
	report, err := other.Clean(c.Context())
	c.Check(err, qt.IsNil)
	c.Check(report.Skipped, qt.Equals, 2)

	put(c, store, newDead(w, "c"))
	report, err = cleaner.CleanOncePerBoot(c.Context(), gate)
	c.Check(err, qt.IsNil, qt.Commentf("some are its own"))
	c.Check(report.Stopped, qt.Equals, 1)

	report, err = newCleaner(w, new(memstore.Store)).Clean(c.Context())
	c.Check(err, qt.IsNil, qt.Commentf("there are none"))
	c.Check(report.Examined, qt.Equals, 0)
}

// Terminate is given the identity that was judged.
func TestAProcessOfTheCleanersOwnerCanBeEndedWhateverItsMachineID(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w, store := livenesstest.New(), new(memstore.Store)
	record := tracking(w, "a", w.Start())
	record.Owner, record.Phase = "laptop", lifecycle.Inactive
	record.Identity.Boot.Machine, record.Heartbeat.Boot.Machine = otherMachine, otherMachine
	put(c, store, record)
	w.Advance(2 * time.Hour)
	cleaner := newCleaner(w, store)
	cleaner.Owner, cleaner.InactiveAfter = "laptop", time.Hour
	var ended []lifecycle.Record
	cleaner.Terminate = &lifecycle.Termination{End: func(_ context.Context, record lifecycle.Record) error {
		ended = append(ended, record)
		return nil
	}}
	_, err := cleaner.Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(ended, qt.HasLen, 1)
	c.Check(ended[0].Identity.Boot.Machine, qt.Equals, "")
	events, err := store.Events(c.Context(), 0)
	c.Assert(err, qt.IsNil)
	c.Check(events[0].Snapshot.Identity.Boot.Machine, qt.Equals, otherMachine)
}
