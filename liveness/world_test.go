package liveness_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

// script plays at random on a scripted machine, and keeps account of what the
// probe of a real one would see.
type script struct {
	*rand.Rand
	world   *livenesstest.World
	holders map[int]*liveness.Holder // with start stamps as the first time namespace has them
	records []recorded
	views   []livenesstest.View // in which it was looked at so far
	boots   int
	slept   time.Duration // in this boot

	noUnique bool
	options  liveness.Options
}

// recorded is an identity and when it was recorded.
type recorded struct {
	id     liveness.Identity
	boots  int
	offset time.Duration
}

func newScript(seed uint64) *script {
	s := &script{Rand: rand.New(rand.NewPCG(seed, 0)), world: livenesstest.New(), holders: map[int]*liveness.Holder{}}
	s.restarted()
	return s
}

// restarted says that all processes are gone but the one that judges.
func (s *script) restarted() {
	clear(s.holders)
	self, _ := s.world.Self()
	s.started(self, "")
	s.views = append(s.views, s.world.View())
}

func (s *script) started(id liveness.Identity, marker string) {
	s.holders[id.PID] = &liveness.Holder{StartStamp: id.Start - s.shift(), Unique: id.Unique, Marker: marker, Began: s.world.Now()}
	s.record(id)
}

func (s *script) record(id liveness.Identity) {
	s.records = append(s.records, recorded{id, s.boots, s.world.View().TimeOffset})
}

// shift is what the time namespace adds to start stamps.
func (s *script) shift() uint64 { return uint64(s.world.View().TimeOffset / (10 * time.Millisecond)) }

// pid is that of some process other than the one that judges, or 0.
func (s *script) pid() int {
	self, _ := s.world.Self()
	pids := slices.Sorted(maps.Keys(s.holders))
	pids = slices.DeleteFunc(pids, func(pid int) bool { return pid == self.PID })
	if len(pids) == 0 {
		return 0
	}
	return pids[s.IntN(len(pids))]
}

// rarely reports true one time in n.
func (s *script) rarely(n int) bool { return s.IntN(n) == 0 }

func (s *script) step() {
	d := time.Duration(s.IntN(5000)) * time.Millisecond
	switch s.IntN(17) {
	case 0, 1:
		s.started(s.world.Start(), "")
	case 2, 3:
		marker := []string{"a", "b"}[s.IntN(2)]
		s.started(s.world.StartMarked(marker), marker)
	case 4:
		pid := s.pid()
		s.world.Exit(pid)
		delete(s.holders, pid)
	case 5:
		if pid := s.pid(); pid != 0 {
			s.world.ExitUnreaped(pid)
			s.holders[pid].Zombie = true
		}
	case 6:
		if pid := s.pid(); pid != 0 {
			s.started(s.world.Reuse(pid), "")
		}
	case 7:
		if pid := s.pid(); pid != 0 && s.rarely(3) {
			s.world.Deny(pid)
			s.holders[pid].Denied = livenesstest.ErrDenied
		}
	case 8:
		if s.rarely(3) {
			s.world.Reboot()
			s.boots++
			s.slept = 0
			s.restarted()
		}
	case 9:
		if s.rarely(3) {
			s.world.RestartContainer()
			s.restarted()
		}
	case 10:
		s.record(s.world.StartElsewhere())
	case 11:
		s.world.Advance(d)
	case 12:
		s.world.Suspend(d)
		s.slept += d
	case 13:
		d *= time.Duration(s.IntN(3) - 1)
		s.world.StepClock(d)
		for _, h := range s.holders {
			h.Began = h.Began.Add(d)
		}
	case 14:
		if pid := s.pid(); pid != 0 {
			s.exec(pid, s.holders[pid])
		}
	case 15:
		s.look()
	case 16:
		s.world.SetView(s.views[s.IntN(len(s.views))])
	}
	switch s.IntN(100) {
	case 0:
		s.world.ExclusiveNamespace()
		s.options.ExclusiveNamespace = true
	case 1:
		s.world.WithoutUnique()
		s.noUnique = true
	case 2:
		s.world.SameMachine()
		s.options.SameMachine = true
	}
}

// exec executes a program, with the marker of before or without it, and at times
// an entry that is none.
func (s *script) exec(pid int, h *liveness.Holder) {
	var environ []string
	if h.Garbled = s.rarely(2); h.Garbled {
		environ = append(environ, []string{"", "odd", "=odd"}[s.IntN(3)])
	}
	if s.rarely(2) {
		h.Marker = ""
	}
	if h.Marker != "" {
		environ = append(environ, liveness.MarkerVariable+"="+h.Marker)
	}
	s.world.Exec(pid, append(environ, "A=1")...)
}

// look looks at the machine from another place, or at one that is another in some
// respect.
func (s *script) look() {
	view := s.world.View()
	switch s.IntN(8) {
	case 0: // the container has a boot ID of its own
		view.Boot = bootid.ID{Machine: view.Boot.Machine, Boot: boot2, Quality: bootid.Given}
	case 1: // a service in it sees the host's, and not PID 1
		view.Boot.Boot, view.Boot.Quality = fmt.Sprintf("00000000-0000-4000-8000-%012d", 1+s.IntN(s.boots+1)), bootid.Native
		view.Namespace.InitStart = 0
	case 2: // a boot ID that was there before
		view.Boot = s.views[s.IntN(len(s.views))].Boot
	case 3:
		view.Boot = []bootid.ID{{}, {Machine: view.Boot.Machine}, {Boot: "derived", Quality: bootid.Derived}}[s.IntN(3)]
	case 4:
		view.Boot.Machine = []string{machineA, machineB}[s.IntN(2)]
		if s.rarely(4) && view.Boot.Boot != "" {
			view.Boot.Machine = ""
		}
	case 5:
		view.Namespace.Time = []uint64{0, 7, 8, 4026531834}[s.IntN(4)]
		view.Namespace.TimeUnique = uint64(max(0, s.IntN(5)-2))
		view.TimeOffset = time.Duration(s.IntN(3)-1) * time.Second
	case 6:
		view.TimeOffset = time.Duration(s.IntN(3)-1) * time.Second
	case 7:
		before := s.views[s.IntN(len(s.views))].Namespace
		switch s.IntN(3) {
		case 0:
			view.Namespace.PIDUnique = 0
		case 1:
			view.Namespace.PID, view.Namespace.InitStart = before.PID, 1+uint64(s.IntN(2))
		case 2:
			if s.rarely(4) {
				view.Namespace.PID = 0
			}
		}
	}
	s.world.SetView(view)
	s.views = append(s.views, view)
}

// edited is a record with something else, or less, in it.
func (s *script) edited(id liveness.Identity) liveness.Identity {
	around := func(most int) time.Time { return s.world.Now().Add(time.Duration(s.IntN(2*most)-most) * time.Second) }
	for range s.IntN(5) {
		switch s.IntN(17) {
		case 0, 1:
			id.Unique = 0
		case 2, 3:
			id.Start = 0
		case 4:
			id.Start++
		case 5:
			id.Marker = []string{"", "a", "b", "a\x00b"}[s.IntN(4)]
		case 6:
			id.Namespace.PIDUnique = 0
		case 7:
			id.Namespace.Time = uint64(s.IntN(2))
		case 8:
			id.Namespace = liveness.Namespace{}
		case 9:
			id.Boot = bootid.ID{}
		case 10:
			id.Boot.Machine = []string{"", machineB}[s.IntN(2)]
		case 11:
			id.NotAfter = around(120)
		case 12:
			id.NotBefore = around(120)
		case 13:
			id.PID = []int{0, -1, 1, id.PID, 1 << 22, 1<<22 + 1, 99999999}[s.IntN(7)]
		case 14:
			if s.rarely(2) {
				id.Boot.Boot = []string{strings.ReplaceAll(id.Boot.Boot, "-", ""), id.Boot.Boot + "\n", strings.ToUpper(boot1)}[s.IntN(3)]
			}
		case 15:
			id.Namespace.PID, id.Unique = 0, 0
		case 16:
			id = liveness.Identity{PID: id.PID, Boot: id.Boot, Marker: id.Marker, NotBefore: id.NotBefore, NotAfter: around(60)}
		}
	}
	return id
}

// holder is what a probe sees of who has the PID.
func (s *script) holder(pid int) *liveness.Holder {
	holder := s.holders[pid]
	if holder == nil {
		return nil
	}
	h := *holder
	awake, _ := s.world.Awake()
	h.StartStamp += s.shift()
	h.Now = s.world.Now()
	h.Boot = h.Now.Add(-awake - s.slept)
	if s.noUnique {
		h.Unique = 0
	}
	return &h
}

// situations names those of a record that the rules have something to say about.
func (s *script) situations(r recorded, relation bootid.Relation) []string {
	view := s.world.View()
	holder := s.holder(r.id.PID)
	namespace, boot := r.id.Namespace, r.id.Boot
	sameTime := namespace.Time == view.Namespace.Time
	marked := holder != nil && r.id.Marker != "" && holder.Marker == r.id.Marker
	numbers := r.id.Unique != 0 || r.id.Start != 0
	all := map[string]bool{
		"boots: " + boot.Quality.String() + ", " + view.Boot.Quality.String() + ": " + relation.String(): true,

		"a boot ID that repeats":            relation == bootid.SameBoot && r.boots < s.boots,
		"another machine ID, the same boot": relation == bootid.SameBoot && boot.Machine != view.Boot.Machine && boot.Machine != "",
		"another machine ID, which is said to be this one": s.options.SameMachine && relation == bootid.OtherBoot &&
			boot.Machine != view.Boot.Machine && boot.Machine != "" && view.Boot.Machine != "",
		"an invalid boot ID":                              !boot.Valid(),
		"a PID that is too high":                          r.id.PID > 1<<22,
		"PID namespaces without IDs":                      namespace.PIDUnique == 0 && namespace.PID == view.Namespace.PID,
		"PID 1 is not seen on one side":                   (namespace.InitStart == 0) != (view.Namespace.InitStart == 0),
		"PID namespace cannot be read":                    view.Namespace.PID == 0 && namespace.PID != 0,
		"another time namespace":                          !sameTime,
		"a time namespace with an ID":                     sameTime && namespace.TimeUnique != 0 && namespace.TimeUnique == view.Namespace.TimeUnique,
		"a time namespace's number, another offset":       sameTime && namespace.Time != 0 && r.offset != view.TimeOffset,
		"a marker beside an odd entry":                    marked && holder.Garbled,
		"no marker, but an odd entry":                     holder != nil && holder.Garbled && r.id.Marker != "" && !marked,
		"a marker that was lost, numbers that were kept":  holder != nil && r.id.Marker != "" && !marked && numbers,
		"a marker that is absent, and no numbers":         holder != nil && r.id.Marker != "" && !marked && !numbers,
		"a bound in the future":                           r.id.NotAfter.After(s.world.Now().Add(2 * time.Second)),
		"a bound before the boot, which is on record":     holder != nil && holder.Boot.After(r.id.NotAfter.Add(2*time.Second)) && !r.id.NotAfter.IsZero() && boot.Boot != "",
		"a bound before the boot, which is not on record": holder != nil && holder.Boot.After(r.id.NotAfter.Add(2*time.Second)) && !r.id.NotAfter.IsZero() && boot.Boot == "",
		"bounds that exclude each other":                  !r.id.NotAfter.IsZero() && r.id.NotBefore.After(r.id.NotAfter.Add(2*time.Second)),
	}
	maps.DeleteFunc(all, func(_ string, present bool) bool { return !present })
	return slices.Collect(maps.Keys(all))
}

// The scripted machine for hosts' tests says what the rules of this package
// say, whatever happens on it.
func TestScriptedMachineFollowsTheRules(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	seen := map[string]int{}
	for seed := range uint64(1000) {
		s := newScript(seed)
		for range 60 {
			s.step()
			self, _ := s.world.Self()
			scope := liveness.NewScope(self, s.options)
			record := s.records[s.IntN(len(s.records))]
			record.id = s.edited(record.id)
			id := record.id

			relation := scope.CompareBoot(id.Boot)
			c.Assert(s.world.CompareBoot(id.Boot), qt.Equals, relation, qt.Commentf("seed %d: %v", seed, id))
			got, want := s.world.Check(id), scope.JudgeAll(id, s.holder(id.PID))
			c.Assert(outlined(got), qt.Equals, outlined(want), qt.Commentf("seed %d: %v, seen as %+v", seed, id, s.world.View()))
			seen[got.State.String()+" "+got.Reason.String()]++
			for _, situation := range s.situations(record, relation) {
				seen[situation]++
			}
		}
	}
	for _, situation := range []string{
		"alive same_process", "dead no_process", "dead pid_reused", "dead zombie", "dead rebooted", "dead other_namespace",
		"unknown other_machine", "unknown other_namespace", "unknown unreadable", "unknown no_evidence",

		"boots: native, native: same boot", "boots: native, native: other boot", "boots: native, native: other machine",
		"boots: given, given: same boot", "boots: given, given: incomparable",
		"boots: given, native: incomparable", "boots: native, given: incomparable",
		"boots: derived, derived: same boot", "boots: native, derived: incomparable", "boots: native, none: incomparable",
		"boots: none, none: incomparable",
		"a boot ID that repeats", "another machine ID, the same boot", "another machine ID, which is said to be this one",
		"an invalid boot ID", "a PID that is too high",
		"PID namespaces without IDs", "PID 1 is not seen on one side", "PID namespace cannot be read",
		"another time namespace", "a time namespace with an ID", "a time namespace's number, another offset",
		"a marker beside an odd entry", "no marker, but an odd entry",
		"a marker that was lost, numbers that were kept", "a marker that is absent, and no numbers",
		"a bound in the future", "a bound before the boot, which is on record", "a bound before the boot, which is not on record",
		"bounds that exclude each other",
	} {
		c.Check(seen[situation] > 20, qt.IsTrue, qt.Commentf("%s: %d times", situation, seen[situation]))
	}
}

// outlined is a verdict without the wording of its error.
func outlined(v liveness.Verdict) string {
	return fmt.Sprint(v.State, v.Reason, v.Err == nil, errors.Is(v.Err, liveness.ErrInvalid), errors.Is(v.Err, bootid.ErrInvalid))
}
