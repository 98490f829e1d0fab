package liveness_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"
	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

// racesVariable is the number of races of TestNoStrangerGetsASignal, and
// reusesVariable that of the PIDs reused within a tick.
const (
	racesVariable  = "ROLLCALL_RACES"
	reusesVariable = "ROLLCALL_REUSES"
)

// setting is the number in a variable of the environment, or else the usual one.
func setting(t testing.TB, variable string, usual int) int {
	t.Helper()
	text, ok := os.LookupEnv(variable)
	if !ok {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is not a number of at least 1", variable, text)
	}
	return n
}

// signalsGroupsByPidfd reports whether a group is known by the pidfd of its leader,
// also when that was waited for: Linux 6.9.
func signalsGroupsByPidfd(t testing.TB) bool {
	t.Helper()
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.PidfdSendSignal(fd, 0, nil, unix.PIDFD_SIGNAL_PROCESS_GROUP) != unix.EINVAL
}

// TestNoStrangerGetsASignal has processes die, and their PIDs and groups pass
// to others, at the very time at which they are opened, signalled and
// terminated, in a PID namespace of its own. The newcomer leads a group of its
// own and ends by every signal that is sent here.
func TestNoStrangerGetsASignal(t *testing.T) {
	if !proctest.Inside(t, unix.CLONE_NEWPID|unix.CLONE_NEWNS) {
		return
	}
	c := qt.New(t)
	proctest.Mount(t, "proc", "/proc", "proc", 0, "")
	sleep, err := exec.LookPath("sleep")
	c.Assert(err, qt.IsNil)
	system := newLiveness(t, liveness.Options{})
	type action struct {
		name string
		// early opens the process before the race.
		early bool
		do    func(*liveness.Process) error
	}
	var actions []action
	for _, early := range []bool{true, false} {
		if !early && !liveness.HasPidfs() {
			break // one who has the PID within a clock tick is taken for the recorded one
		}
		actions = append(actions,
			action{"signal", early, func(p *liveness.Process) error { return p.Signal(unix.SIGUSR1) }},
			action{"signal group", early, func(p *liveness.Process) error { return p.SignalGroup(unix.SIGUSR1) }},
			action{"terminate", early, func(p *liveness.Process) error { return p.Terminate(t.Context(), time.Minute) }},
			action{"kill", early, func(p *liveness.Process) error { return p.Terminate(t.Context(), 0) }},
			action{"terminate group", early, func(p *liveness.Process) error { return p.TerminateGroup(t.Context(), time.Minute) }})
	}
	wanted := setting(t, racesVariable, 100)
	byPidfd := signalsGroupsByPidfd(t)
	var before, after, refused int
	for reused, tried := 0, 0; reused < wanted; tried++ {
		if tried > 20*wanted {
			proctest.Skip(t, "only %d PIDs of %d were reused", reused, tried)
		}
		act := actions[reused%len(actions)]
		target, id := startLeader(t, sleep)
		var process *liveness.Process
		if act.early {
			process, err = system.Open(id)
			c.Assert(err, qt.IsNil)
		}
		done, start := make(chan error, 1), make(chan struct{})
		// One of the two goes first by up to about the time that the other takes.
		delay, head := rand.IntN(2000), rand.IntN(2) == 0
		go func() {
			<-start
			if !head {
				yield(delay)
			}
			if process == nil {
				opened, err := system.Open(id)
				if err != nil {
					done <- err
					return
				}
				process = opened
			}
			done <- act.do(process)
		}()
		var state *os.ProcessState
		var canary *os.Process
		var acted error
		die := func() {
			var err error
			_ = target.Kill()
			state, err = target.Wait()
			c.Assert(err, qt.IsNil)
			canary, _ = takePIDWith(t, id.PID, func() (*os.Process, liveness.Identity) { return startLeader(t, sleep) })
		}
		switch tried % 10 {
		case 0: // no race: the other one has the PID already
			die()
			close(start)
			acted = <-done
		case 1: // no race: it dies afterwards
			close(start)
			acted = <-done
			die()
		default:
			close(start)
			if head {
				yield(delay)
			}
			die()
			acted = <-done
		}
		var verdict *liveness.VerdictError
		switch status := state.Sys().(syscall.WaitStatus); {
		case errors.As(acted, &verdict):
			refused++
			c.Assert(acted, qt.ErrorIs, liveness.ErrNoProcess, qt.Commentf("%s", act.name))
		case acted == nil && status.Signal() != unix.SIGKILL:
			before++
		case acted == nil:
		case !byPidfd && strings.HasSuffix(act.name, "group") && errors.Is(acted, errors.ErrUnsupported):
			after++ // the group that has the number may be another, and it is
		default:
			after++
			c.Assert(acted, qt.ErrorIs, liveness.ErrNoProcess, qt.Commentf("%s", act.name))
		}
		if process != nil {
			c.Assert(process.Close(), qt.IsNil)
		}
		if canary == nil {
			continue // a thread of this process had the PID first
		}
		reused++
		wantUnhurt(c, canary, act.name)
		kill(canary)
	}
	t.Logf("%d PIDs reused: %d signals arrived before the death, %d found nobody, %d times nothing was opened, and no stranger got one",
		wanted, before, after, refused)
	c.Check(before > 0 && after+refused > 0, qt.IsTrue, qt.Commentf("%d, %d, %d: one side came first every time", before, after, refused))
}

func yield(times int) {
	for range times {
		runtime.Gosched()
	}
}

// startLeader starts a sleeper that leads a group of its own.
func startLeader(t testing.TB, path string) (*os.Process, liveness.Identity) {
	t.Helper()
	process, err := os.StartProcess(path, []string{"sleep", "1000"}, &os.ProcAttr{Env: []string{}, Sys: &syscall.SysProcAttr{Setpgid: true}})
	if err != nil {
		t.Fatal(err)
	}
	id, err := liveness.CaptureProcess(process)
	if err != nil {
		t.Fatal(err)
	}
	return process, id
}

// wantUnhurt checks that a canary has not been ended by a signal. A signal that
// was sent acts before a SIGSTOP that is sent later is seen to.
func wantUnhurt(c *qt.C, canary *os.Process, action string) {
	c.Helper()
	c.Assert(canary.Signal(unix.SIGSTOP), qt.IsNil)
	var status unix.WaitStatus
	_, err := unix.Wait4(canary.Pid, &status, unix.WUNTRACED, nil)
	c.Assert(err, qt.IsNil)
	c.Assert(status.Stopped(), qt.IsTrue, qt.Commentf("%s hit a stranger: %v", action, status.Signal()))
}

// withCancel is for a test that ends its context itself.
func withCancel() (context.Context, context.CancelFunc) {
	return context.WithCancel(context.Background())
}

func waitForever() context.Context { return context.Background() }
