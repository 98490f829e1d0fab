package sqlitestore_test

import (
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// A Watcher reads all records when the number has changed, so what makes no
// process run must not change it.
func TestRegistrationsChangeWithWhatMayHaveToBeWatched(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, _ := open(t, sqlitestore.Options{})
	last, err := store.Registrations(t.Context())
	c.Assert(err, qt.IsNil)
	changed := func() bool {
		n, err := store.Registrations(t.Context())
		c.Assert(err, qt.IsNil)
		before := last
		last = n
		return n != before
	}
	record, err := store.Launch(t.Context(), lifecycle.Record{Name: "web"})
	c.Assert(err, qt.IsNil)
	c.Check(changed(), qt.IsTrue, qt.Commentf("launch"))
	c.Assert(store.Activate(t.Context(), record, liveness.Identity{PID: 4711}), qt.IsNil)
	c.Check(changed(), qt.IsTrue, qt.Commentf("activate"))
	c.Assert(store.Heartbeat(t.Context(), record), qt.IsNil)
	c.Check(changed(), qt.IsFalse, qt.Commentf("heartbeat"))
	c.Assert(store.Bind(t.Context(), record, "key"), qt.IsNil)
	c.Check(changed(), qt.IsFalse, qt.Commentf("bind"))
	c.Assert(store.Deactivate(t.Context(), record), qt.IsNil)
	c.Check(changed(), qt.IsTrue, qt.Commentf("deactivate"))

	gone := record
	gone.Incarnation = "another"
	c.Check(store.Activate(t.Context(), gone, liveness.Identity{PID: 1}), qt.ErrorIs, lifecycle.ErrNotRegistered)
	c.Check(changed(), qt.IsFalse, qt.Commentf("a failed activate"))
}
