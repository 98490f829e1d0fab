package liveness_test

import (
	"maps"
	"math/rand/v2"
	"slices"
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
	world     *livenesstest.World
	holders   map[int]*liveness.Holder
	ids       []liveness.Identity // whatever was recorded so far
	slept     time.Duration       // in this boot
	noUnique  bool
	exclusive bool
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
}

func (s *script) started(id liveness.Identity, marker string) {
	s.holders[id.PID] = &liveness.Holder{StartStamp: id.Start, Unique: id.Unique, Marker: marker, Began: s.world.Now()}
	s.ids = append(s.ids, id)
}

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

func (s *script) step() {
	d := time.Duration(s.IntN(5000)) * time.Millisecond
	switch s.IntN(14) {
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
		if pid := s.pid(); pid != 0 && s.IntN(3) == 0 {
			s.world.Deny(pid)
			s.holders[pid].Denied = livenesstest.ErrDenied
		}
	case 8:
		if s.IntN(3) == 0 {
			s.world.Reboot()
			s.slept = 0
			s.restarted()
		}
	case 9:
		if s.IntN(3) == 0 {
			s.world.RestartContainer()
			s.restarted()
		}
	case 10:
		s.ids = append(s.ids, s.world.StartElsewhere())
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
	}
	if s.IntN(100) == 0 {
		s.world.ExclusiveNamespace()
		s.exclusive = true
	}
	if s.IntN(100) == 0 {
		s.world.WithoutUnique()
		s.noUnique = true
	}
}

// edited is a record with something else, or less, in it.
func (s *script) edited(id liveness.Identity) liveness.Identity {
	for range s.IntN(5) {
		switch s.IntN(14) {
		case 0, 1:
			id.Unique = 0
		case 2, 3:
			id.Start = 0
		case 4:
			id.Start++
		case 5:
			id.Marker = []string{"", "a", "b"}[s.IntN(3)]
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
			id.NotAfter = s.world.Now().Add(time.Duration(s.IntN(120)-60) * time.Second)
		case 12:
			id.NotBefore = s.world.Now().Add(time.Duration(s.IntN(120)-60) * time.Second)
		case 13:
			id.PID = []int{0, -1, 1, id.PID, 1 << 22, 1<<22 + 1}[s.IntN(6)]
		}
	}
	return id
}

// The scripted machine for hosts' tests says what the rules of this package
// say, whatever happens on it.
func TestScriptedMachineFollowsTheRules(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	seen := map[string]int{}
	for seed := range uint64(300) {
		s := newScript(seed)
		for range 60 {
			s.step()
			self, _ := s.world.Self()
			awake, _ := s.world.Awake()
			id := s.edited(s.ids[s.IntN(len(s.ids))])
			holder := s.holders[id.PID]
			if holder != nil {
				h := *holder
				h.Boot = s.world.Now().Add(-awake - s.slept)
				if s.noUnique {
					h.Unique = 0
				}
				holder = &h
			}
			scope := liveness.NewScope(self, liveness.Options{ExclusiveNamespace: s.exclusive})
			want := scope.JudgeAll(id, holder)
			if id.PID > 1<<22 { // of no process on Linux
				want = liveness.Verdict{Reason: liveness.Unreadable, Err: liveness.ErrInvalid}
			}
			got := s.world.Check(id)
			c.Assert([]any{got.State, got.Reason, got.Err == nil}, qt.DeepEquals, []any{want.State, want.Reason, want.Err == nil},
				qt.Commentf("seed %d: %v: %v, want %v", seed, id, got, want))
			seen[got.State.String()+" "+got.Reason.String()]++
		}
	}
	for _, verdict := range []string{
		"alive same_process", "dead no_process", "dead pid_reused", "dead zombie", "dead rebooted", "dead other_namespace",
		"unknown other_machine", "unknown other_namespace", "unknown unreadable", "unknown no_evidence",
	} {
		c.Check(seen[verdict] > 20, qt.IsTrue, qt.Commentf("%s: %d times", verdict, seen[verdict]))
	}
}
