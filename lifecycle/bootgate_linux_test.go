package lifecycle_test

import (
	"syscall"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/liveness"
)

// A command that was stopped with Ctrl-Z in the midst of its pass is alive.
func TestAStoppedProcessHoldsTheGateForItsTime(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, kv := new(memstore.Store), newKV()
	child, record := running(c, store, "stopped")
	failing := &lifecycle.BootGate{
		KV:   &countingKV{KV: kv, failSwap: 2}, // it does not come to take its claim back
		Self: func() (liveness.Identity, error) { return record.Identity, nil },
	}
	_, err := failing.Do(t.Context(), ok)
	c.Assert(err, qt.ErrorIs, errDisk)
	c.Assert(child.Process.Signal(syscall.SIGSTOP), qt.IsNil)

	cleaner := lifecycle.Cleaner{Store: store}
	report, err := cleaner.CleanOncePerBoot(t.Context(), &lifecycle.BootGate{KV: kv, ClaimTimeout: time.Hour, Every: 1})
	c.Assert(err, qt.IsNil)
	c.Check(report.GateClosed, qt.IsTrue)
	c.Assert(report.GateClaimer, qt.IsNotNil)
	c.Check(report.GateClaimer.PID, qt.Equals, child.PID())

	report, err = cleaner.CleanOncePerBoot(t.Context(), &lifecycle.BootGate{KV: kv, ClaimTimeout: 1})
	c.Assert(err, qt.IsNil)
	c.Check(report.GateClosed, qt.IsFalse)
	c.Assert(report.GateClaimer, qt.IsNotNil)
	c.Check(report.GateClaimer.PID, qt.Equals, child.PID())
	c.Check(report.KeptBy, qt.DeepEquals, map[string]int{"alive": 1}, qt.Commentf("it lives"))
}
