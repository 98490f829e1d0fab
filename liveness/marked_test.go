package liveness_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strconv"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

func TestMarkedWhereNothingCanBeListed(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	if proctest.Platform(runtime.GOOS) != "any other" {
		t.Skip("processes can be listed here")
	}
	errs := 0
	for process, err := range liveness.Marked(t.Context()) {
		c.Check(err, qt.ErrorIs, errors.ErrUnsupported)
		c.Check(process, qt.Equals, liveness.MarkedProcess{})
		errs++
	}
	c.Check(errs, qt.Equals, 1)
}

// withMarkerOf lists the processes that carry the marker.
func withMarkerOf(t testing.TB, system *liveness.System, marker string) map[int]liveness.MarkedProcess {
	t.Helper()
	found := map[int]liveness.MarkedProcess{}
	for process, err := range system.Marked(t.Context()) {
		if err == nil && process.Identity.Marker == marker {
			found[process.Identity.PID] = process
		}
	}
	return found
}

func TestMarkedProcessesAreListedWithWhatTheyStarted(t *testing.T) {
	system, c := judge(t)
	plain := proctest.Start(t, proctest.Command("hold"))
	cmd := proctest.Command("spawn")
	marker := liveness.Plant(cmd)
	child, err := proctest.TryStart(t, cmd)
	c.Assert(err, qt.IsNil)
	grandchild, err := strconv.Atoi(child.ReadLine(t))
	c.Assert(err, qt.IsNil)
	childID, err := liveness.CaptureProcess(child.Process)
	c.Assert(err, qt.IsNil)
	childID.Marker = marker
	grandchildID, err := liveness.Capture(grandchild)
	c.Assert(err, qt.IsNil)
	grandchildID.Marker = marker

	found := withMarkerOf(t, system, marker)
	c.Check(found[child.PID()], qt.Equals, liveness.MarkedProcess{Identity: childID, Parent: os.Getpid()})
	c.Check(found[grandchild], qt.Equals, liveness.MarkedProcess{Identity: grandchildID, Parent: child.PID(), Inherited: true})
	c.Check(found, qt.HasLen, 2)
	_, ok := found[plain.PID()]
	c.Check(ok, qt.IsFalse)

	// What outlives the one that was started is the topmost then, and can be
	// ended. It has the standard input of this one, which stays open.
	c.Assert(child.Process.Kill(), qt.IsNil)
	_, err = child.Process.Wait()
	c.Assert(err, qt.IsNil)
	found = withMarkerOf(t, system, marker)
	c.Check(found, qt.HasLen, 1)
	c.Check(found[grandchild].Inherited, qt.IsFalse)
	orphan := openedID(t, found[grandchild].Identity)
	c.Check(orphan.Terminate(t.Context(), 0), qt.IsNil)
	c.Check(withMarkerOf(t, system, marker), qt.HasLen, 0)
}

func TestMarkedLooksIntoTheVariableOfTheOptions(t *testing.T) {
	_, c := judge(t)
	cmd := proctest.Command("hold")
	cmd.Env = append(cmd.Environ(), "AGENT_ID=seven of nine")
	child := proctest.Start(t, cmd)
	system, err := liveness.New(liveness.Options{MarkerVariable: "AGENT_ID"})
	c.Assert(err, qt.IsNil)
	found := withMarkerOf(t, system, "seven of nine")
	c.Check(found, qt.HasLen, 1)
	c.Check(found[child.PID()].Identity.Marker, qt.Equals, "seven of nine")
}

func TestMarkedObeysTheContextAndItsReader(t *testing.T) {
	system, c := judge(t)
	var last error
	for _, err := range system.Marked(cancelled()) {
		last = err
	}
	c.Check(last, qt.ErrorIs, context.Canceled)
	for range 3 {
		cmd := proctest.Command("hold")
		liveness.Plant(cmd)
		proctest.Start(t, cmd)
	}
	for process, err := range system.Marked(t.Context()) {
		c.Check(err, qt.IsNil)
		c.Check(process.Identity.Marker, qt.Not(qt.Equals), "")
		break
	}
}

func TestFindMarker(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		name, environ, want string
	}{
		{"alone", "M=x\x00", "x"},
		{"among others", "A=1\x00M=a b=c\x00MM=2\x00", "a b=c"},
		{"the first of two", "M=1\x00M=2\x00", "1"},
		{"none", "A=1\x00NM=2\x00", ""},
		{"empty", "M=\x00", ""},
		{"no environment", "", ""},
		{"cut", "M=x", ""},
		{"before what was cut", "M=x\x00A=1", "x"},
		{"beside an entry without an equals sign", "y\x00M=x\x00z\x00", "x"},
		{"beside an entry without a name", "=y\x00M=x\x00", "x"},
		{"beside an empty entry", "\x00M=x\x00\x00", "x"},
	} {
		marker, found := liveness.FindMarker([]byte(test.environ), "M")
		c.Check(marker, qt.Equals, test.want, qt.Commentf("%s", test.name))
		c.Check(found, qt.Equals, test.want != "", qt.Commentf("%s", test.name))
	}
}

func TestMarkerIsInheritedFromAParentThatHasIt(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	process := func(pid, parent int, start uint64, marker string) liveness.MarkedProcess {
		return liveness.MarkedProcess{Identity: liveness.Identity{PID: pid, Start: start, Marker: marker}, Parent: parent}
	}
	found := []liveness.MarkedProcess{
		process(10, 1, 100, "a"),
		process(11, 10, 100, "a"), // in the tick of its parent
		process(12, 11, 120, "a"),
		process(13, 10, 120, "b"), // planted anew
		process(14, 10, 90, "a"),  // of one who had the PID before
		process(15, 15, 90, "a"),
		process(16, 99, 90, "a"),
	}
	liveness.SetInherited(found)
	inherited := map[int]bool{}
	for _, p := range found {
		inherited[p.Identity.PID] = p.Inherited
	}
	c.Check(inherited, qt.DeepEquals, map[int]bool{10: false, 11: true, 12: true, 13: false, 14: false, 15: false, 16: false})
}
