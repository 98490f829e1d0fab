package liveness_test

import (
	"testing"

	qt "github.com/frankban/quicktest"
	"golang.org/x/sys/windows/registry"

	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

// A container of Windows does not show the processes of its host: the number of
// one looks like nobody's.
func TestInAContainerAPIDThatNobodyHasIsUnknown(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	child := proctest.Start(t, proctest.Command("hold"))
	living, err := liveness.CaptureProcess(child.Process)
	c.Assert(err, qt.IsNil)
	id := liveness.Identity{PID: 1 << 30} // nobody's

	system, err := liveness.InContainer(liveness.Options{})
	c.Assert(err, qt.IsNil)
	c.Check(system.Check(living).State, qt.Equals, liveness.Alive)
	c.Check(system.Check(id).String(), qt.Equals,
		"unknown: the evidence could not be read (no process has its PID: it may be outside of this container)")
	system, err = liveness.InContainer(liveness.Options{ExclusiveNamespace: true})
	c.Assert(err, qt.IsNil)
	c.Check(system.Check(id), qt.Equals, liveness.Verdict{State: liveness.Dead, Reason: liveness.NoProcess})
	system, err = liveness.New(liveness.Options{})
	c.Assert(err, qt.IsNil)
	c.Check(system.Check(id), qt.Equals, liveness.Verdict{State: liveness.Dead, Reason: liveness.NoProcess}, qt.Commentf("outside of a container"))
}

func TestContainerIsTakenFromAValueOfTheRegistry(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	const path = `SOFTWARE\rollcall-test`
	key, _, err := registry.CreateKey(registry.CURRENT_USER, path, registry.ALL_ACCESS)
	c.Assert(err, qt.IsNil)
	defer registry.DeleteKey(registry.CURRENT_USER, path) //nolint:errcheck // nothing depends on it
	defer key.Close()
	c.Check(liveness.HasUserValue(path, "ContainerType"), qt.IsFalse)
	c.Assert(key.SetDWordValue("ContainerType", 2), qt.IsNil)
	c.Check(liveness.HasUserValue(path, "ContainerType"), qt.IsTrue)
	c.Check(liveness.HasUserValue(path+`\none`, "ContainerType"), qt.IsFalse)
}
