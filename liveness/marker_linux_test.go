package liveness_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/internal/procfs"
	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

func TestPlantedChildIsAliveByItsMarker(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	cmd := proctest.Command("hold")
	marker := liveness.Plant(cmd)
	child := proctest.Start(t, cmd)
	id := withMarker(captured(t, child), marker)
	wantVerdict(c, id, liveness.Alive, liveness.SameProcess)
	wantVerdict(c, liveness.Identity{PID: id.PID, Marker: marker}, liveness.Alive, liveness.SameProcess)

	system := newLiveness(t, liveness.Options{MarkerVariable: "OTHER"})
	c.Check(system.Check(id).Reason, qt.Equals, liveness.PIDReused, qt.Commentf("markers are in another variable"))

	child.Kill()
	wantVerdict(c, id, liveness.Dead, liveness.NoProcess)
}

func TestChildWithoutTheMarkerIsAnotherProcess(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	plain := proctest.Start(t, proctest.Command("hold"))
	planted := proctest.Command("hold")
	marker := liveness.Plant(planted)
	other := proctest.Start(t, planted)
	wantVerdict(c, withMarker(captured(t, plain), marker), liveness.Dead, liveness.PIDReused)
	wantVerdict(c, withMarker(captured(t, other), marker+"x"), liveness.Dead, liveness.PIDReused)
	wantVerdict(c, withMarker(captured(t, other), marker[:len(marker)-1]), liveness.Dead, liveness.PIDReused)
}

func TestMarkerInAnotherVariable(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	cmd := proctest.Command("hold")
	cmd.Env = append(cmd.Environ(), "AGENT_ID=seven of nine")
	child := proctest.Start(t, cmd)
	system := newLiveness(t, liveness.Options{MarkerVariable: "AGENT_ID"})
	c.Check(system.Check(withMarker(captured(t, child), "seven of nine")).State, qt.Equals, liveness.Alive)
	c.Check(system.Check(withMarker(captured(t, child), "seven")).Reason, qt.Equals, liveness.PIDReused)
}

func TestEmptyEnvironmentOfALivingProcessIsNoEvidence(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	cmd := proctest.Command("hold")
	cmd.Env = []string{}
	child := proctest.Start(t, cmd)
	wantVerdict(c, withMarker(captured(t, child), "planted"), liveness.Unknown, liveness.NoEvidence)
}

func TestEnvironmentThatTheProcessWroteOverIsNoEvidence(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, text := range []string{"\x00", "x", "worker: idle\x00"} {
		cmd := proctest.Command("wiped-environ", strings.ReplaceAll(text, "\x00", ""))
		if text == "\x00" {
			cmd = proctest.Command("wiped-environ", " ")
		}
		marker := liveness.Plant(cmd)
		child := proctest.Start(t, cmd)
		if strings.Contains(readText(t, fmt.Sprintf("/proc/%d/environ", child.PID())), marker) {
			proctest.Skip(t, "the environment is shown as it was at first, as in gVisor")
		}
		wantVerdict(c, withMarker(captured(t, child), marker), liveness.Unknown, liveness.NoEvidence)
		wantVerdict(c, captured(t, child), liveness.Alive, liveness.SameProcess)
	}
}

func TestEnvironmentThatCannotBeReadIsNoEvidence(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	cmd := proctest.Command("undumpable")
	marker := liveness.Plant(cmd)
	proctest.AsNobody(t, cmd)
	child := proctest.Start(t, cmd)
	id := captured(t, child)
	c.Check(checkBy(t, liveness.Options{}, withMarker(id, marker), asNobody(t)), qt.Matches,
		`unknown: the evidence could not be read \(read /proc/\d+/environ: permission denied\)`)
	c.Check(checkBy(t, liveness.Options{}, id, asNobody(t)), qt.Equals, "alive: the recorded process runs")
}

// The kernel shows no environment of such a thread, but that of the others.
func TestMarkerOfAProcessWhoseLeadingThreadExitedIsRead(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	cmd := proctest.Command("leader-exits")
	marker := liveness.Plant(cmd)
	child := proctest.Start(t, cmd)
	waitState(t, child.PID(), "Z")
	if environs, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/environ", child.PID())); err != nil || len(environs) < 2 {
		proctest.Skip(t, "the threads of such a process are not shown: %v %v", environs, err)
	}
	id := captured(t, child)
	wantVerdict(c, withMarker(id, marker), liveness.Alive, liveness.SameProcess)
	wantVerdict(c, withMarker(id, "another"), liveness.Dead, liveness.PIDReused)
	found := false
	for process, err := range newLiveness(t, liveness.Options{}).Marked(t.Context()) {
		if err == nil && process.Identity.Marker == marker {
			found = true
			c.Check(process.Identity.PID, qt.Equals, child.PID())
		}
	}
	c.Check(found, qt.IsTrue)
}

// Entries that are none are in nobody's way.
func TestMarkerBesideAnOddEntryIsFound(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, odd := range []string{"", "=x", "oops", "="} {
		marker := uuid.NewString()
		child := proctest.Start(t, proctest.Command("exec-env", odd, liveness.MarkerVariable+"="+marker, odd))
		child.WriteLine(t, "go")
		child.WaitReady(t)
		id := captured(t, child)
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", child.PID()))
		c.Assert(err, qt.IsNil)
		c.Assert(strings.Contains("\x00"+string(environ), "\x00"+odd+"\x00"), qt.IsTrue, qt.Commentf("%q was passed on", odd))
		wantVerdict(c, withMarker(id, marker), liveness.Alive, liveness.SameProcess)
		wantVerdict(c, withMarker(id, "another"), liveness.Unknown, liveness.NoEvidence)
		found := false
		for process, err := range newLiveness(t, liveness.Options{}).Marked(t.Context()) {
			found = found || err == nil && process.Identity.PID == child.PID() && process.Identity.Marker == marker
		}
		c.Check(found, qt.IsTrue, qt.Commentf("beside %q", odd))
	}
}

// A host that marks by a variable of its own plants in that one.
func TestSystemPlantsInTheVariableOfItsOptions(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	system := newLiveness(t, liveness.Options{MarkerVariable: "HOST_MARKER"})
	cmd := proctest.Command("hold")
	marker := system.Plant(cmd)
	id := captured(t, proctest.Start(t, cmd))
	alive := liveness.Verdict{State: liveness.Alive, Reason: liveness.SameProcess}
	c.Check(system.Check(withMarker(id, marker)), qt.Equals, alive)
	c.Check(cmd.Environ(), qt.Contains, "HOST_MARKER="+marker)
	for _, entry := range cmd.Env {
		c.Check(strings.HasPrefix(entry, liveness.MarkerVariable+"="+marker), qt.IsFalse)
	}
}

// A process that executes a program with another environment loses its marker and
// stays the same process. Where no boot ID can be read its numbers prove it
// neither, but they keep the missing marker from proving another one.
func TestMissingMarkerIsNoProofAgainstNumbersThatAgree(t *testing.T) {
	if !proctest.Inside(t, unix.CLONE_NEWNS) {
		return
	}
	c := qt.New(t)
	proctest.Mount(t, "tmpfs", "/proc/sys/kernel/random", "tmpfs", 0, "") // as on Android and WSL 1
	cmd := proctest.Command("exec-env", "A=1")
	marker := liveness.Plant(cmd)
	child := proctest.Start(t, cmd)
	id := captured(t, child)
	c.Assert(id.Boot.Boot, qt.Equals, "")
	id.Marker = marker
	wantVerdict(c, id, liveness.Alive, liveness.SameProcess)
	child.WriteLine(t, "go")
	child.WaitReady(t)
	wantVerdict(c, id, liveness.Unknown, liveness.NoEvidence)
	other := id
	other.Start++
	wantVerdict(c, other, liveness.Dead, liveness.PIDReused)
}

// A process that has been forked, and executes its program in a moment, has the
// environment of the process that forked it.
func TestMissingMarkerIsNoProofBeforeAProgramIsExecuted(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	// The subshell is a fork of the shell, and tells its PID by a child.
	cmd := exec.Command("/bin/sh", "-c", `(/bin/sh -c 'echo $PPID'; read -r line; exec cat); :`)
	cmd.Env = []string{"A=1"}
	child, err := proctest.TryStart(t, cmd)
	c.Assert(err, qt.IsNil)
	fork, err := strconv.Atoi(child.ReadLine(t))
	c.Assert(err, qt.IsNil)
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", fork))
	c.Assert(err, qt.IsNil)
	stat, err := procfs.ParseStat(line)
	c.Assert(err, qt.IsNil)
	if !stat.Borrowed() {
		proctest.Skip(t, "whether a process has executed a program is not shown here, as in gVisor")
	}
	id := liveness.Identity{PID: fork, Marker: "m"}
	wantVerdict(c, id, liveness.Unknown, liveness.NoEvidence)
	child.WriteLine(t, "go")
	child.WriteLine(t, "cat runs")
	c.Assert(child.ReadLine(t), qt.Equals, "cat runs")
	wantVerdict(c, id, liveness.Dead, liveness.PIDReused)
	child.CloseStdin(t) // the subshell would outlive the shell
	c.Assert(child.Wait(), qt.IsNil)
}

// execEnvRole waits for a line and executes the role "hold" in an environment of
// its arguments.
func execEnvRole(environ []string) {
	fmt.Println("ready")
	var line string
	_, err := fmt.Scanln(&line)
	must(err)
	command := proctest.Command("hold")
	must(unix.Exec(command.Path, command.Args, environ))
}

// A grandchild has the marker of its parent, but not its PID.
func TestMarkerIsInherited(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	cmd := proctest.Command("spawn")
	marker := liveness.Plant(cmd)
	child, err := proctest.TryStart(t, cmd)
	c.Assert(err, qt.IsNil)
	grandchild, err := strconv.Atoi(child.ReadLine(t))
	c.Assert(err, qt.IsNil)
	wantVerdict(c, liveness.Identity{PID: grandchild, Marker: marker}, liveness.Alive, liveness.SameProcess)
	wantVerdict(c, withMarker(captured(t, child), marker), liveness.Alive, liveness.SameProcess)
}

func TestPlantKeepsTheEnvironmentAndReplacesAMarker(t *testing.T) {
	t.Setenv("ROLLCALL_TEST_KEPT", "kept")
	t.Setenv(liveness.MarkerVariable, "inherited")
	c := qt.New(t)
	cmd := proctest.Command("hold")
	cmd.Env = append(cmd.Environ(), "ROLLCALL_TEST_OWN=own")
	first := liveness.Plant(cmd)
	second := liveness.Plant(cmd)
	c.Check(first, qt.Not(qt.Equals), second)
	parsed, err := uuid.Parse(second)
	c.Assert(err, qt.IsNil)
	c.Check(parsed.Version(), qt.Equals, uuid.Version(7))

	environ := cmd.Environ()
	c.Check(environ, qt.Contains, "ROLLCALL_TEST_KEPT=kept")
	c.Check(environ, qt.Contains, "ROLLCALL_TEST_OWN=own")
	markers := slices.DeleteFunc(environ, func(entry string) bool { return !strings.HasPrefix(entry, liveness.MarkerVariable+"=") })
	c.Check(markers, qt.DeepEquals, []string{liveness.MarkerVariable + "=" + second})

	child := proctest.Start(t, cmd)
	wantVerdict(c, withMarker(captured(t, child), second), liveness.Alive, liveness.SameProcess)
	for _, marker := range []string{first, "inherited"} {
		wantVerdict(c, withMarker(captured(t, child), marker), liveness.Dead, liveness.PIDReused)
	}
}

// Old rows have a PID and the time at which they were written.

func TestOldRowOfALivingChildIsAlive(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	before := time.Now()
	id := pidOnly(captured(t, proctest.Start(t, proctest.Command("hold"))))
	id.NotAfter = time.Now()
	wantVerdict(c, id, liveness.Alive, liveness.SameProcess)
	id.NotBefore = before
	wantVerdict(c, id, liveness.Alive, liveness.SameProcess)
	id.NotAfter = time.Time{}
	wantVerdict(c, id, liveness.Unknown, liveness.NoEvidence)
}

func TestOldRowWhosePIDWasReusedIsDead(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	id := pidOnly(captured(t, proctest.Start(t, proctest.Command("hold"))))
	expectReused(c, newLiveness(t, liveness.Options{}), id)
}

// A bound in the future was written by a clock that has been set back since. It
// says nothing, whoever has the PID.
func TestOldRowOfTheFutureIsUnknown(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	id := captured(t, proctest.Start(t, proctest.Command("hold")))
	for _, id := range []liveness.Identity{pidOnly(id), {PID: id.PID, Boot: id.Boot, Namespace: id.Namespace}} {
		id.NotAfter = time.Now().Add(time.Hour)
		wantVerdict(c, id, liveness.Unknown, liveness.NoEvidence)
		id.NotAfter = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
		wantVerdict(c, id, liveness.Unknown, liveness.NoEvidence)
		id.NotAfter, id.NotBefore = time.Time{}, time.Now().Add(time.Hour)
		wantVerdict(c, id, liveness.Unknown, liveness.NoEvidence)
	}
}

// The clock of a machine without a battery stands in the past until it is set. A
// bound that it wrote ends before this boot, in which the record says that the
// process ran.
func TestBoundOfAClockThatWasSetSinceIsNoReboot(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	id := captured(t, proctest.Start(t, proctest.Command("hold")))
	if id.Boot.Boot == "" {
		proctest.Skip(t, "no boot ID")
	}
	row := liveness.Identity{PID: id.PID, Boot: id.Boot, Namespace: id.Namespace, NotAfter: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)}
	wantVerdict(c, row, liveness.Unknown, liveness.NoEvidence)
}

func TestOldRowOfAnEarlierBootIsDead(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	id := pidOnly(captured(t, proctest.Start(t, proctest.Command("hold"))))
	id.NotAfter = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	wantVerdict(c, id, liveness.Dead, liveness.Rebooted)
}
