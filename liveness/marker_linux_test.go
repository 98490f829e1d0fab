package liveness_test

import (
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"
	"github.com/google/uuid"

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

// Such a process has no memory of its own that the kernel would show.
func TestMarkerOfAProcessWhoseLeadingThreadExitedIsNoEvidence(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	cmd := proctest.Command("leader-exits")
	marker := liveness.Plant(cmd)
	child := proctest.Start(t, cmd)
	id := withMarker(captured(t, child), marker)
	system := newLiveness(t, liveness.Options{})
	for system.Check(id).State == liveness.Alive { // the thread has not gone yet
		runtime.Gosched()
	}
	verdict := system.Check(id)
	c.Check(verdict.State, qt.Equals, liveness.Unknown, qt.Commentf("%v", verdict))
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
	id.NotAfter = time.Now().Add(-10 * time.Second)
	wantVerdict(c, id, liveness.Dead, liveness.PIDReused)
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
