package postgresstore_test

import (
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/postgresstore"
)

func TestASecondEventOfAnIncarnationIsRefusedByTheDatabase(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, db := open(t, postgresstore.Options{})
	record := running("worker", liveness.Identity{})
	register(t, store, record)
	_, err := store.Stop(t.Context(), record, cause)
	c.Assert(err, qt.IsNil)
	// A row that came back past Launch, as from a restored backup.
	execSQL(t, db, `INSERT INTO rollcall_records (name, incarnation, owner, epoch, phase, identity, created_at, beat_boot, beat_awake, parent)
		VALUES ('worker', $1, 'o', 0, 'running', '', 0, '', 0, '')`, record.Incarnation)
	_, err = store.Stop(t.Context(), record, cause)
	c.Assert(err, qt.ErrorMatches, `postgresstore: stop "worker": events: .*duplicate key value violates unique constraint.*`)
	c.Assert(events(t, store), qt.HasLen, 1)
	c.Assert(names(t, store), qt.DeepEquals, []string{"worker"})
}
