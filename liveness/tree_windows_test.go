package liveness_test

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

// ownTreeRole is started by the process whose tree it then asks to end.
func ownTreeRole([]string) {
	id, err := liveness.Capture(os.Getppid())
	must(err)
	process, err := liveness.Open(id)
	must(err)
	err = process.SignalGroup(os.Kill)
	fmt.Println(errors.Is(err, liveness.ErrOwnGroup))
}

func TestTreeIsTerminatedAndNobodyElse(t *testing.T) {
	_, c := judge(t)
	stranger, err := proctest.TryStart(t, proctest.Command("spawn"))
	c.Assert(err, qt.IsNil)
	strangerPID, err := strconv.Atoi(stranger.ReadLine(t))
	c.Assert(err, qt.IsNil)
	child, err := proctest.TryStart(t, proctest.Command("spawn"))
	c.Assert(err, qt.IsNil)
	grandchildPID, err := strconv.Atoi(child.ReadLine(t))
	c.Assert(err, qt.IsNil)
	grandchildID, err := liveness.Capture(grandchildPID)
	c.Assert(err, qt.IsNil)
	grandchild := openedID(t, grandchildID)
	process := opened(t, child)

	c.Check(process.SignalGroup(os.Interrupt), qt.ErrorIs, errors.ErrUnsupported)
	c.Check(grandchild.Wait(cancelled()), qt.Not(qt.IsNil))
	c.Check(process.TerminateGroup(t.Context(), time.Minute), qt.IsNil)
	c.Check(process.Wait(cancelled()), qt.IsNil)
	c.Check(grandchild.Wait(cancelled()), qt.IsNil)
	c.Check(process.TerminateGroup(t.Context(), time.Minute), qt.IsNil, qt.Commentf("it is gone already"))
	c.Check(process.SignalGroup(os.Kill), qt.ErrorIs, liveness.ErrNoProcess)

	for _, pid := range []int{stranger.PID(), strangerPID} {
		id, err := liveness.Capture(pid)
		c.Assert(err, qt.IsNil)
		c.Check(openedID(t, id).Wait(cancelled()), qt.Not(qt.IsNil))
	}
	c.Check(opened(t, stranger).TerminateGroup(t.Context(), 0), qt.IsNil)
}

// The parent is ended, and what it has started before is found.
func TestTreeWhoseRootHasExited(t *testing.T) {
	_, c := judge(t)
	child, err := proctest.TryStart(t, proctest.Command("spawn"))
	c.Assert(err, qt.IsNil)
	pid, err := strconv.Atoi(child.ReadLine(t))
	c.Assert(err, qt.IsNil)
	id, err := liveness.Capture(pid)
	c.Assert(err, qt.IsNil)
	grandchild, process := openedID(t, id), opened(t, child)
	c.Assert(process.Terminate(t.Context(), 0), qt.IsNil)
	c.Check(process.TerminateGroup(t.Context(), 0), qt.IsNil)
	c.Check(grandchild.Wait(cancelled()), qt.IsNil)
}

func TestTreeWithTheCallerInItIsLeftAlone(t *testing.T) {
	_, c := judge(t)
	child, err := proctest.TryStart(t, proctest.Command("spawn-loud", "own-tree"))
	c.Assert(err, qt.IsNil)
	c.Check(child.ReadLine(t), qt.Equals, "true")
	c.Check(opened(t, child).Wait(cancelled()), qt.Not(qt.IsNil))
}
