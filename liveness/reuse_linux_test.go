package liveness_test

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"

	qt "github.com/frankban/quicktest"
	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

// TestPIDReusedWithinATickIsAnotherProcess gives the PIDs of dead processes to
// new ones, in a PID namespace of its own, until that has happened so often
// within the clock tick in which the dead one had started: their start stamps
// are equal. Only the unique number of pidfs tells them apart; without it such
// a stranger looks alive, which the package documentation says.
func TestPIDReusedWithinATickIsAnotherProcess(t *testing.T) {
	if !proctest.Inside(t, unix.CLONE_NEWPID|unix.CLONE_NEWNS) {
		return
	}
	c := qt.New(t)
	wanted := 100
	if proctest.Race { // in which little is within a tick
		wanted = 20
	}
	wanted = setting(t, reusesVariable, wanted)
	proctest.Mount(t, "proc", "/proc", "proc", 0, "")
	sleep, err := exec.LookPath("sleep")
	c.Assert(err, qt.IsNil)
	system := newLiveness(t, liveness.Options{})
	var reused, sameTick, confused int
	for range 20 * wanted {
		old, oldID := sleeper(t, sleep)
		pid := oldID.PID
		kill(old)
		holder, holderID := takePID(t, sleep, pid)
		if holder == nil {
			continue // a thread of this process was quicker
		}
		reused++
		if holderID.Start == oldID.Start {
			sameTick++
			// Where nothing stronger was recorded, the two cannot be told apart.
			if verdict := system.Check(withoutUnique(oldID)); verdict.State == liveness.Alive {
				confused++
			}
		} else {
			wantReused(c, system, withoutUnique(oldID))
		}
		if liveness.HasPidfs() {
			wantReused(c, system, oldID)
			c.Assert(system.Check(holderID).State, qt.Equals, liveness.Alive)
		}
		kill(holder)
		if sameTick == wanted {
			break
		}
	}
	t.Logf("%d PIDs reused, %d of them within the tick of the dead process's start: with pidfs none was called alive, by the start stamp alone %d",
		reused, sameTick, confused)
	if sameTick < wanted {
		proctest.Skip(t, "only %d of %d reused PIDs were so within a tick", sameTick, reused)
	}
}

func wantReused(c *qt.C, system liveness.Liveness, id liveness.Identity) {
	c.Helper()
	c.Assert(system.Check(id), qt.Equals, liveness.Verdict{State: liveness.Dead, Reason: liveness.PIDReused}, qt.Commentf("%v", id))
}

// sleeper starts a process that starts no others and no threads.
func sleeper(t testing.TB, path string) (*os.Process, liveness.Identity) {
	t.Helper()
	process, err := os.StartProcess(path, []string{"sleep", "1000"}, &os.ProcAttr{Env: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	id, err := liveness.CaptureProcess(process)
	if err != nil {
		t.Fatal(err)
	}
	return process, id
}

func kill(process *os.Process) {
	_ = process.Kill()
	_, _ = process.Wait()
}

// takePID starts a sleeper under a PID that was just given up, or returns nil
// if another process or thread was given it.
func takePID(t testing.TB, path string, pid int) (*os.Process, liveness.Identity) {
	t.Helper()
	return takePIDWith(t, pid, func() (*os.Process, liveness.Identity) { return sleeper(t, path) })
}

func takePIDWith(t testing.TB, pid int, start func() (*os.Process, liveness.Identity)) (*os.Process, liveness.Identity) {
	t.Helper()
	// The next number given is the one after this.
	if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) || errors.Is(err, unix.EROFS) {
			proctest.Skip(t, "PIDs cannot be chosen: %v", err)
		}
		t.Fatal(err)
	}
	process, id := start()
	if id.PID != pid {
		kill(process)
		return nil, id
	}
	return process, id
}
