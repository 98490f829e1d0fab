package lifecycle_test

import (
	"context"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

// The owner is said once, to the store.
func TestACleanerJudgesForTheOwnerOfItsStore(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	store := memstore.New(memstore.Options{Owner: "laptop", Clock: w})
	mine, err := store.Launch(c.Context(), lifecycle.Record{Name: "mine"})
	c.Assert(err, qt.IsNil)
	c.Check(mine.Owner, qt.Equals, "laptop")
	c.Assert(store.Activate(c.Context(), mine, newDead(w, "mine").Identity), qt.IsNil)
	other := newDead(w, "other")
	other.Owner = "phone"
	put(c, store, other)

	report, err := newCleaner(w, store).Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Check(report.Stopped, qt.Equals, 1)
	c.Check(report.Skipped, qt.Equals, 1)
	c.Check(names(c, store), qt.DeepEquals, []string{"other"})

	cleaner := newCleaner(w, store)
	cleaner.Owner = "phone"
	report, err = cleaner.Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Check(report.Stopped, qt.Equals, 1, qt.Commentf("an Owner of its own counts more"))
}

// What is ended is of this machine, whatever its machine ID: see asOwn.
func TestTheStoresOwnerCountsWhereAProcessIsEnded(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	store := memstore.New(memstore.Options{Owner: "laptop"})
	record := tracking(w, "a", w.Start())
	record.Owner, record.Identity.Boot.Machine = "laptop", otherMachine
	put(c, store, record)
	var ended []lifecycle.Record
	cleaner := newCleaner(w, store)
	cleaner.Terminate = &lifecycle.Termination{End: func(_ context.Context, record lifecycle.Record) error {
		ended = append(ended, record)
		return nil
	}}
	_, err := cleaner.Stop(c.Context(), record, lifecycle.Cause{By: "user", Reason: "asked"})
	c.Assert(err, qt.IsNil)
	c.Assert(cleaner.EndProcess(c.Context(), record), qt.IsNil)
	c.Assert(ended, qt.HasLen, 2)
	for _, record := range ended {
		c.Check(record.Identity.Boot.Machine, qt.Equals, "")
	}
}
