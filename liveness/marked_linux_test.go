package liveness_test

import (
	"fmt"
	"io/fs"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

// markedRole prints how many processes it has found, and whether there was an
// error for the PID of its argument.
func markedRole(args []string) {
	system, err := liveness.New(liveness.Options{})
	must(err)
	found, told := 0, false
	for _, err := range system.Marked(waitForever()) {
		switch {
		case err == nil:
			found++
		case err.Error() == "liveness: list marked processes: read /proc/"+args[0]+"/environ: permission denied":
			told = true
		}
	}
	fmt.Println(found, told)
}

func TestUnreadableEnvironmentsAreTold(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	planted := proctest.Command("hold")
	liveness.Plant(planted)
	other := proctest.Start(t, planted)
	cmd := proctest.Command("marked", fmt.Sprint(other.PID()))
	proctest.AsNobody(t, cmd)
	child, err := proctest.TryStart(t, cmd)
	c.Assert(err, qt.IsNil)
	c.Check(child.ReadLine(t), qt.Matches, `\d+ true`)
}

func TestZombiesAndThoseInPassingAreNotListed(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	cmd := proctest.Command("hold")
	marker := liveness.Plant(cmd)
	child := proctest.Start(t, cmd)
	child.KillUnreaped(t)
	system := newLiveness(t, liveness.Options{})
	c.Check(withMarkerOf(t, system, marker), qt.HasLen, 0)
	for _, err := range system.Marked(t.Context()) {
		c.Check(err, qt.Not(qt.ErrorIs), fs.ErrNotExist)
		c.Check(err, qt.Not(qt.ErrorIs), liveness.ErrNoProcess)
	}
}

func TestCallerIsNotAmongTheMarked(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	cmd := proctest.Command("marked-self")
	liveness.Plant(cmd)
	child, err := proctest.TryStart(t, cmd)
	c.Assert(err, qt.IsNil)
	c.Check(child.ReadLine(t), qt.Equals, "false")
}

// markedSelfRole prints whether this process has found itself.
func markedSelfRole([]string) {
	system, err := liveness.New(liveness.Options{})
	must(err)
	self, err := liveness.Self()
	must(err)
	found := false
	for process, err := range system.Marked(waitForever()) {
		found = found || err == nil && process.Identity.PID == self.PID
	}
	fmt.Println(found)
}
