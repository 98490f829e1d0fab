package liveness_test

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"strings"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

// able is a System, or one on a played kernel.
type able interface {
	liveness.Liveness
	liveness.Opener
	NewWatch() (*liveness.Watch, error)
	Marked(context.Context) iter.Seq2[liveness.MarkedProcess, error]
}

// expectRow holds what was captured of a process that carries a marker, and what
// can be done with it, against the row of docs/platforms.md.
func expectRow(t testing.TB, row map[string]string, system able, id liveness.Identity, marker string) {
	t.Helper()
	has := map[bool]string{true: "yes", false: "no"}
	proctest.OneOf(t, "start", row["start"], has[id.Start != 0])
	proctest.OneOf(t, "unique number", row["unique number"], has[id.Unique != 0])

	right := system.Check(liveness.Identity{PID: id.PID, Marker: marker})
	wrong := system.Check(liveness.Identity{PID: id.PID, Marker: "another"})
	proves := "no"
	switch {
	case right.State == liveness.Alive && wrong.State == liveness.Dead:
		proves = "yes"
	case right.State == liveness.Alive && wrong.State == liveness.Unknown:
		proves = "alive only"
	}
	proctest.OneOf(t, "marker", row["marker"], proves)

	handle, wait := "no", "no"
	process, err := system.Open(id)
	if err == nil {
		process.Close()
		handle = map[string]string{"proc": "pidfd", "nt": "handle", "sysctl": "no"}[kind(system)] // the last one looks again, and holds nothing
	} else if !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	watch, err := system.NewWatch()
	if err == nil {
		watch.Close()
		wait = map[string]string{"proc": "pidfd", "nt": "handle", "sysctl": "kqueue"}[kind(system)]
	} else if !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	proctest.OneOf(t, "pinned handle", row["pinned handle"], handle)
	proctest.OneOf(t, "exit wait", row["exit wait"], wait)
}

// kind says by what a Liveness judges.
func kind(system liveness.Liveness) string {
	_, played := system.(*liveness.Sysctl)
	switch {
	case played:
		return "sysctl"
	case runtime.GOOS == "linux", runtime.GOOS == "android":
		return "proc"
	case runtime.GOOS == "windows":
		return "nt"
	default:
		return "sysctl"
	}
}

func TestProcessIsAsTheTableOfPlatformsSays(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	row := proctest.Platforms(t, "..")[platform()]
	c.Assert(row, qt.IsNotNil)
	system, err := liveness.New(liveness.Options{})
	c.Assert(err, qt.IsNil)
	cmd := proctest.Command("hold")
	marker := liveness.Plant(cmd)
	child := proctest.Start(t, cmd)
	id, err := liveness.CaptureProcess(child.Process)
	if errors.Is(err, errors.ErrUnsupported) {
		id, err = liveness.Identity{PID: child.PID()}, nil
	}
	c.Assert(err, qt.IsNil)
	expectRow(t, row, system, id, marker)
}

func TestPlayedKernelsAreAsTheTableOfPlatformsSays(t *testing.T) {
	rows := proctest.Platforms(t, "..")
	eachBSD(t, func(c *qt.C, m *bsd) {
		row := rows[proctest.Platform(m.goos)]
		c.Assert(row, qt.IsNotNil)
		m.start(99998).environ += liveness.MarkerVariable + "=abc\x00"
		m.Kqueue = liveness.NewFakeKqueue()
		m.Kqueue.Start(99998, 99998, 1)
		for column, cell := range row {
			if column != "boot ID" && strings.Contains(cell, " or ") {
				c.Errorf("%s: %q is more than one word", column, cell)
			}
		}
		expectRow(c, row, m.liveness(c, liveness.Options{}), m.capture(c, 99998), "abc")
	})
}

// What runs nowhere here is said as it is meant.
func TestRowsOfPlatformsThatCannotBeMeasured(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	rows := proctest.Platforms(t, "..")
	c.Check(rows, qt.HasLen, 10)
	for name, want := range map[string][]string{
		"Android":   {"native or none", "yes", "yes or no", "yes", "pidfd or no", "pidfd or no"},
		"Windows":   {"native or derived", "yes", "yes or no", "alive only", "handle", "handle"},
		"any other": {"none", "no", "no", "no", "no", "no"},
	} {
		for i, column := range []string{"boot ID", "start", "unique number", "marker", "pinned handle", "exit wait"} {
			c.Check(rows[name][column], qt.Equals, want[i], qt.Commentf("%s: %s", name, column))
		}
	}
}
