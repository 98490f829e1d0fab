package sqlitestore_test

import (
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/sqlitestore"
	"github.com/rollcall-go/rollcall/sqlitestore/internal/drivertest"
)

func TestSetsAreStoppedAsOneByOne(t *testing.T) {
	t.Parallel()
	drivertest.Driver{Name: "sqlite"}.Sets(t)
}

func TestSimpleRecordsAreStoppedInSets(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, db := open(t, sqlitestore.Options{})
	var stops []lifecycle.Stop
	for i := range 300 { // more than a set
		record := running(numbered("worker", i), self(t))
		register(t, store, record)
		stops = append(stops, lifecycle.Stop{Record: record, Cause: cause})
	}
	n, err := store.StopBatch(t.Context(), stops)
	c.Assert(err, qt.IsNil)
	c.Assert(n, qt.Equals, len(stops))
	c.Assert(drivertest.InSets(t, db), qt.Equals, len(stops))
}
