package sqlitestore_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

func TestLaunchSaysWhyItRefuses(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, _ := open(t, sqlitestore.Options{})
	register(t, store, running("taken", liveness.Identity{}))
	for _, test := range []struct {
		record lifecycle.Record
		want   error
		text   string
	}{
		{lifecycle.Record{Name: "taken"}, lifecycle.ErrNameTaken, `name is taken`},
		{lifecycle.Record{Name: "x", CreatedAt: time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC)}, lifecycle.ErrInvalidRecord, `.*time 1600.* does not fit.*`},
		{lifecycle.Record{Name: "x", CreatedAt: time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)}, lifecycle.ErrInvalidRecord, `.*time 2300.* does not fit.*`},
	} {
		_, err := store.Launch(t.Context(), test.record)
		c.Assert(err, qt.ErrorIs, test.want)
		c.Assert(err, qt.ErrorMatches, fmt.Sprintf(`sqlitestore: launch "%s": %s`, test.record.Name, test.text))
	}
	c.Assert(names(t, store), qt.DeepEquals, []string{"taken"})
}

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
	c.Assert(store.SetData(t.Context(), record, json.RawMessage(`1`)), qt.IsNil)
	c.Check(changed(), qt.IsFalse, qt.Commentf("set Data"))
	c.Assert(store.Deactivate(t.Context(), record), qt.IsNil)
	c.Check(changed(), qt.IsTrue, qt.Commentf("deactivate"))

	gone := record
	gone.Incarnation = "another"
	c.Check(store.Activate(t.Context(), gone, liveness.Identity{PID: 1}), qt.ErrorIs, lifecycle.ErrNotRegistered)
	c.Check(changed(), qt.IsFalse, qt.Commentf("a failed activate"))
}
