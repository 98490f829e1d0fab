package liveness_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/procfs"
	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

func TestLivingChildIsAlive(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	id := captured(t, proctest.Start(t, proctest.Command("hold")))
	wantVerdict(c, id, liveness.Alive, liveness.SameProcess)
}

func TestSelfIsAlive(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	id, err := liveness.Self()
	c.Assert(err, qt.IsNil)
	wantVerdict(c, id, liveness.Alive, liveness.SameProcess)
}

func TestReapedChildIsDead(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	child := proctest.Start(t, proctest.Command("hold"))
	id := captured(t, child)
	child.Kill()
	wantVerdict(c, id, liveness.Dead, liveness.NoProcess)
	wantVerdict(c, pidOnly(id), liveness.Dead, liveness.NoProcess)
}

func TestZombieIsDead(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	child := proctest.Start(t, proctest.Command("hold"))
	id := captured(t, child)
	child.KillUnreaped(t)
	wantVerdict(c, id, liveness.Dead, liveness.Zombie)
	wantVerdict(c, pidOnly(id), liveness.Dead, liveness.Zombie)
	wantVerdict(c, withMarker(id, "planted"), liveness.Dead, liveness.Zombie)
}

func TestPIDWithoutEvidenceIsUnknown(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	id := captured(t, proctest.Start(t, proctest.Command("hold")))
	wantVerdict(c, pidOnly(id), liveness.Unknown, liveness.NoEvidence)
}

// Another process has the PID when its start or its unique number differ.
func TestAnotherProcessWithThePIDIsNotTheRecordedOne(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	id := captured(t, proctest.Start(t, proctest.Command("hold")))
	system := newLiveness(t, liveness.Options{})
	reused := liveness.Verdict{State: liveness.Dead, Reason: liveness.PIDReused}

	later := withoutUnique(id)
	later.Start++
	c.Check(system.Check(later), qt.Equals, reused)
	if id.Unique != 0 {
		other := id
		other.Unique++
		c.Check(system.Check(other), qt.Equals, reused, qt.Commentf("equal start stamps, another number"))
		same := id
		same.Start++
		// As after a boot whose ID repeats: there the numbers that the kernel counts
		// from its start come again with the PIDs.
		c.Check(system.Check(same), qt.Equals, reused, qt.Commentf("equal numbers, another start stamp"))
		_, err := system.Open(same)
		c.Check(err, qt.ErrorIs, liveness.ErrNoProcess)
		c.Check(system.Check(id).State, qt.Equals, liveness.Alive)
		c.Check(system.Check(same), qt.Equals, reused, qt.Commentf("the right stamp is known by now"))
	}
}

func TestThreadIsNotAProcess(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	child := proctest.Start(t, proctest.Command("hold"))
	for _, pid := range []int{child.PID(), os.Getpid()} {
		id := captured(t, child)
		id.PID = otherThread(t, pid)
		wantVerdict(c, id, liveness.Dead, liveness.NotAProcess)
		wantVerdict(c, pidOnly(id), liveness.Dead, liveness.NotAProcess)
		wantVerdict(c, withMarker(id, "planted"), liveness.Dead, liveness.NotAProcess)
	}
}

// Its state is Z then, and the process lives.
func TestProcessWhoseLeadingThreadExitedIsAlive(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	cmd := proctest.Command("leader-exits")
	child := proctest.Start(t, cmd)
	id := captured(t, child)
	for {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", child.PID()))
		c.Assert(err, qt.IsNil)
		stat, err := procfs.ParseStat(line)
		c.Assert(err, qt.IsNil)
		if stat.State == 'Z' {
			c.Assert(stat.Threads > 1, qt.IsTrue)
			break
		}
	}
	wantVerdict(c, id, liveness.Alive, liveness.SameProcess)
	c.Check(captured(t, child), qt.Equals, id)

	child.KillUnreaped(t)
	wantVerdict(c, id, liveness.Dead, liveness.Zombie)
}

func TestExecKeepsTheIdentity(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		name   string
		thread string
	}{
		{"by the leading thread", "leader"},
		{"by another thread", "other"},
	} {
		c.Run(test.name, func(c *qt.C) {
			child := proctest.Start(c, proctest.Command("exec", test.thread))
			id := captured(c, child)
			child.WriteLine(c, "go")
			child.WaitReady(c)
			wantVerdict(c, id, liveness.Alive, liveness.SameProcess)
			c.Check(captured(c, child), qt.Equals, id)
		})
	}
}

// While a thread executes a program, the process has two leading threads in
// turn, and for an instant no memory. Its marker may be out of reach, but is
// never found to be another's.
func TestProcessIsAliveAllThroughItsExecs(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, thread := range []string{"leader", "other"} {
		c.Run("by thread "+thread, func(c *qt.C) {
			cmd := proctest.Command("exec-storm", "8", thread)
			// A variable that fills a first read of the environment.
			cmd.Env = append([]string{"FILLER=" + strings.Repeat("x", 503)}, cmd.Env...)
			marker := liveness.Plant(cmd)
			child, err := proctest.TryStart(c, cmd)
			c.Assert(err, qt.IsNil)
			id := captured(c, child)
			system := newLiveness(c, liveness.Options{})
			held, wrong := make(chan struct{}), make(chan string)
			go func() {
				defer close(wrong)
				for checks := 0; ; checks++ {
					for i, id := range []liveness.Identity{id, withoutUnique(id), withMarker(id, marker)} {
						verdict := system.Check(id)
						if verdict.State == liveness.Dead || verdict.State == liveness.Unknown && i < 2 {
							wrong <- fmt.Sprintf("after %d checks of %v: %v", checks, id, verdict)
							return
						}
					}
					select {
					case <-held:
						return
					default:
					}
				}
			}()
			child.WaitReady(c)
			close(held)
			c.Check(<-wrong, qt.Equals, "")
		})
	}
}

func TestProcessWithAnyNameIsAlive(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, name := range []string{"a) (b", ") R 1 1 1", "two\nlines", " ", "(((((((((((((((", ")))))))))))))))", "\xff\xfe", "%s%n", "0 (0) Z 0"} {
		child := proctest.Start(t, proctest.Command("named", name))
		id := captured(t, child)
		c.Check(id.Start, qt.Not(qt.Equals), uint64(0), qt.Commentf("%q", name))
		wantVerdict(c, id, liveness.Alive, liveness.SameProcess)
		child.Kill()
		wantVerdict(c, id, liveness.Dead, liveness.NoProcess)
	}
}

func TestProcessRecordedInAnotherBootIsDead(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	id := captured(t, proctest.Start(t, proctest.Command("hold")))
	if id.Boot.Quality != bootid.Native {
		proctest.Skip(t, "the boot ID here is not that of a kernel: %q", id.Boot)
	}
	id.Boot.Boot = boot2
	wantVerdict(c, id, liveness.Dead, liveness.Rebooted)

	here := captured(t, proctest.Start(t, proctest.Command("hold")))
	id.Boot.Machine = machineB
	if here.Boot.Machine == "" {
		wantVerdict(c, id, liveness.Dead, liveness.Rebooted)
	} else {
		wantVerdict(c, id, liveness.Unknown, liveness.OtherMachine)
	}
	system := newLiveness(t, liveness.Options{SameMachine: true})
	c.Check(system.Check(id), qt.Equals, liveness.Verdict{State: liveness.Dead, Reason: liveness.Rebooted})
	c.Check(system.CompareBoot(id.Boot), qt.Equals, bootid.OtherBoot)

	// Some systems make a machine ID anew while they run, or have another one in
	// each container. The boot ID is what it was.
	here.Boot.Machine = machineB
	wantVerdict(c, here, liveness.Alive, liveness.SameProcess)
}
