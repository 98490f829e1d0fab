package lifecycle_test

import (
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

func TestDecisionExplainsItself(t *testing.T) {
	c := qt.New(t)
	died := liveness.Verdict{State: liveness.Dead, Reason: liveness.NoProcess}
	runs := liveness.Verdict{State: liveness.Alive, Reason: liveness.SameProcess}
	denied := liveness.Verdict{Reason: liveness.Unreadable, Err: livenesstest.ErrDenied}
	for _, test := range []struct {
		name     string
		decision lifecycle.Decision
		want     string
	}{
		{"alive", lifecycle.Decision{Reason: lifecycle.ReasonAlive, Verdict: runs}, "keep: alive (alive: the recorded process runs)"},
		{"dead", lifecycle.Decision{Stop: true, Reason: lifecycle.ReasonDied, Verdict: died}, "stop: exit:died (dead: no process has its PID)"},
		{"not known", lifecycle.Decision{Reason: liveness.NoEvidence.String()}, "keep: no_evidence (unknown: nothing recorded tells whose PID it is now)"},
		{"not known, and silent", lifecycle.Decision{Stop: true, Reason: lifecycle.ReasonStale, Verdict: denied}, "stop: stale (unknown: the evidence could not be read (permission denied by the test); its heartbeat is too old)"},
		{"no process", lifecycle.Decision{Reason: lifecycle.ReasonUntracked}, "keep: untracked (no process is tracked, and there is no age to judge by)"},
		{"launching", lifecycle.Decision{Reason: lifecycle.ReasonLaunching}, "keep: launching (it may still come up)"},
		{"another owner's", lifecycle.Decision{Reason: lifecycle.ReasonOtherOwner}, "skip: other_owner (it belongs to another machine or device)"},
	} {
		c.Run(test.name, func(c *qt.C) {
			c.Assert(test.decision.String(), qt.Equals, test.want)
		})
	}
}

// Where no process was judged, the sentence of a verdict would be of another
// record.
func TestEachDecisionOfARecordWithoutAProcessHasASentence(t *testing.T) {
	c := qt.New(t)
	world := livenesstest.New()
	beat := lifecycle.Beat(world)
	cleaner := lifecycle.Cleaner{Store: &memstore.Store{}, Liveness: world, Clock: world, LaunchTimeout: 1, StaleAfter: 1, InactiveAfter: 1}
	patient := lifecycle.Cleaner{Store: cleaner.Store, Liveness: world, Clock: world}
	world.Advance(1000)
	reasons := map[string]bool{}
	for _, phase := range []lifecycle.Phase{lifecycle.Running, lifecycle.Launching, lifecycle.Inactive} {
		for _, owner := range []string{"", "another"} {
			for _, heartbeat := range []lifecycle.Heartbeat{beat, lifecycle.Beat(world)} {
				for _, cleaner := range []lifecycle.Cleaner{cleaner, patient} {
					decision, err := cleaner.Decide(lifecycle.Record{Name: "a", Incarnation: "1", Owner: owner, Phase: phase, Heartbeat: heartbeat})
					c.Assert(err, qt.IsNil)
					reasons[decision.Reason] = true
					c.Check(decision.String(), qt.Matches, `(keep|stop|skip): \w+ \([a-z ,]+\)`)
				}
			}
		}
	}
	c.Assert(reasons, qt.HasLen, 8)
}
