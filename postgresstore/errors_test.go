package postgresstore_test

import (
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/postgresstore"
)

func TestARecordOfAnotherOwnerIsAnInvalidRecord(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	tests := []struct{ name, store, record string }{
		{"another owner", "one", "two"},
		{"none in a store without one", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := qt.New(t)
			store := d.store(t, postgresstore.Options{Owner: test.store})
			_, err := store.Launch(t.Context(), lifecycle.Record{Name: "worker", Owner: test.record})
			c.Assert(err, qt.ErrorIs, postgresstore.ErrOwner)
			c.Assert(err, qt.ErrorIs, lifecycle.ErrInvalidRecord)
		})
	}
}

func TestASnapshotThatCannotBeDecodedIsAnInvalidRecord(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, d := open(t, postgresstore.Options{Owner: thisMachine})
	_, err := store.Stop(t.Context(), launch(t, store, thisMachine, "worker"), cause)
	c.Assert(err, qt.IsNil)
	execSQL(t, d, `UPDATE rollcall_events SET snapshot = '{"phase":"dreaming"}'`)

	_, err = store.Events(t.Context(), 0)
	c.Assert(err, qt.ErrorIs, lifecycle.ErrInvalidRecord)
	_, err = store.Snapshot(t.Context(), "worker")
	c.Assert(err, qt.ErrorIs, lifecycle.ErrInvalidRecord)
	for event, err := range store.Follow(t.Context(), 0) {
		c.Assert(err, qt.ErrorIs, lifecycle.ErrInvalidRecord)
		c.Assert(event.Name, qt.Equals, "worker")
		break
	}
}
