package lifecycle_test

import (
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

func TestReportString(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		report lifecycle.Report
		want   string
	}{
		{lifecycle.Report{}, "0 examined: 0 stopped, 0 kept in 0s"},
		{lifecycle.Report{GateClosed: true}, "gate closed, nothing examined"},
		{lifecycle.Report{
			Examined: 7, Stopped: 3, Kept: 4, Took: 2 * time.Millisecond,
			StoppedBy: map[string]int{"exit:reboot": 1, "exit:died": 2},
			KeptBy:    map[string]int{"launching": 1, "alive": 3},
		}, "7 examined: 3 stopped (2 exit:died, 1 exit:reboot), 4 kept (3 alive, 1 launching) in 2ms"},
		{lifecycle.Report{
			Examined: 6, AlreadyStopped: 1, Skipped: 2, Failed: 3, DryRun: true, Took: 1500 * time.Nanosecond,
		}, "6 examined: 0 to stop, 0 kept, 1 already stopped, 2 of other owners, 3 failed in 2µs"},
	} {
		c.Assert(test.report.String(), qt.Equals, test.want)
	}
}

func TestEventSaysWhoWhyAndWhat(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	snapshot := lifecycle.Snapshot{Record: lifecycle.Record{Name: "a", Incarnation: "1"}, Bindings: []string{"k"}}
	before := time.Now()
	got := lifecycle.Cause{By: "system", Reason: "exit:zombie", Verdict: liveness.Verdict{State: liveness.Dead, Reason: liveness.Zombie}}.Event(snapshot)
	c.Assert(got.At.Before(before.Add(-time.Second)), qt.IsFalse)
	c.Assert(got.At.Location(), qt.Equals, time.UTC)
	c.Assert(got.Seq, qt.Equals, int64(0))
	c.Assert(got.Name+" "+got.Incarnation, qt.Equals, "a 1")
	c.Assert(got.Action+" "+got.By+" "+got.Reason, qt.Equals, "stopped system exit:zombie")
	c.Assert(got.Verdict, qt.Equals, "dead: it has exited and waits to be reaped")
	c.Assert(got.Snapshot.Bindings, qt.DeepEquals, []string{"k"})

	c.Assert(lifecycle.Cause{By: "user"}.Event(snapshot).Verdict, qt.Equals, "")
}

func TestACloneOfASnapshotSharesNothing(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	snapshot := lifecycle.Snapshot{Record: lifecycle.Record{Data: []byte("1")}, Bindings: []string{"k"}}
	clone := snapshot.Clone()
	clone.Data[0], clone.Bindings[0] = '2', "l"
	c.Assert(string(snapshot.Data), qt.Equals, "1")
	c.Assert(snapshot.Bindings, qt.DeepEquals, []string{"k"})
	c.Assert(lifecycle.Snapshot{}.Clone().Data, qt.IsNil)
	c.Assert(lifecycle.Snapshot{}.Clone().Bindings, qt.IsNil)
}
