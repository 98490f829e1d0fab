package postgresstore_test

import (
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/postgresstore"
)

// garbled are what somebody may have written into a row, and the column that
// is to blame for it.
var garbled = []struct{ name, set, want string }{
	{"an identity that is none", `identity = 'garbage'`, `column identity: .*`},
	{"an identity with a negative PID", `identity = replace(identity, 'pid=', 'pid=-')`, `column identity: .*`},
	{"an unknown phase", `phase = 'dreaming'`, `column phase: .*`},
	{"a boot that is none", `beat_boot = 'boot'`, `column beat_boot: .*`},
}

func TestAGarbledRowIsNamedAndKeptAndInNobodysWay(t *testing.T) {
	t.Parallel()
	for _, test := range garbled {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			store, db := open(t, postgresstore.Options{})
			dead := before(t)
			register(t, store, running("first", dead), running("bad", dead), running("last", dead))
			execSQL(t, db, `UPDATE rollcall_records SET `+test.set+` WHERE name = 'bad'`)
			row := dump(t, db)["bad"]

			var errs []error
			var read []string
			for record, err := range store.Candidates(t.Context()) {
				read = append(read, record.Name)
				if err != nil {
					errs = append(errs, err)
					c.Check(record.Incarnation, qt.Equals, "of bad")
				}
			}
			c.Assert(read, qt.DeepEquals, []string{"first", "bad", "last"})
			c.Assert(errs, qt.HasLen, 1)
			c.Assert(errs[0], qt.ErrorIs, lifecycle.ErrInvalidRecord)
			c.Assert(errs[0], qt.ErrorMatches, `postgresstore: invalid record: row 2: `+test.want)

			report, err := lifecycle.Cleaner{Store: store, Owner: thisMachine}.Clean(t.Context())
			c.Assert(err, qt.ErrorMatches, `lifecycle: read record "bad": postgresstore: invalid record: row 2: `+test.want)
			c.Assert([]int{report.Stopped, report.Failed}, qt.DeepEquals, []int{2, 1})
			c.Assert(stopped(t, store), qt.DeepEquals, []string{"first: " + beforeReason(t), "last: " + beforeReason(t)})
			c.Assert(dump(t, db)["bad"], qt.Equals, row)
			c.Assert(value(t, db, `SELECT count(*)::text FROM rollcall_bindings`), qt.Equals, "1")
		})
	}
}

// Nobody judges it, but who knows better may stop it, and finds in the snapshot
// what stood there.
func TestAGarbledRowIsStoppedOnRequest(t *testing.T) {
	t.Parallel()
	for _, test := range garbled {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			store, db := open(t, postgresstore.Options{})
			bad := running("bad", before(t))
			register(t, store, bad)
			execSQL(t, db, `UPDATE rollcall_records SET `+test.set)
			ifUnchanged := cause
			ifUnchanged.IfUnchanged = true
			_, err := store.Stop(t.Context(), bad, ifUnchanged)
			c.Assert(err, qt.ErrorIs, lifecycle.ErrInvalidRecord)
			outcome, err := store.Stop(t.Context(), bad, cause)
			c.Assert(err, qt.IsNil)
			c.Assert(outcome, qt.Equals, lifecycle.Stopped)
			c.Assert(names(t, store), qt.HasLen, 0)
			c.Assert(value(t, db, `SELECT count(*)::text FROM rollcall_bindings`), qt.Equals, "0")
			snapshot, err := store.Snapshot(t.Context(), "bad")
			c.Assert(err, qt.IsNil)
			c.Assert(snapshot.Garbled, qt.HasLen, 1)
			c.Assert(snapshot.Bindings, qt.DeepEquals, []string{"session of bad"})
			for column := range snapshot.Garbled {
				c.Assert(test.want, qt.Contains, column)
			}
			_, err = store.Launch(t.Context(), lifecycle.Record{Owner: thisMachine, Name: "bad"})
			c.Assert(err, qt.IsNil)
		})
	}
}

func TestAGarbledDescendantKeepsItsParent(t *testing.T) {
	t.Parallel()
	for _, test := range garbled {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			store, db := open(t, postgresstore.Options{})
			dead := before(t)
			parent, bad := running("parent", dead), running("bad", dead)
			bad.Parent = "parent"
			register(t, store, parent, bad)
			execSQL(t, db, `UPDATE rollcall_records SET `+test.set+` WHERE name = 'bad'`)
			rows := dump(t, db)

			_, err := store.Stop(t.Context(), parent, cause)
			c.Assert(err, qt.ErrorIs, lifecycle.ErrInvalidRecord)
			c.Assert(err, qt.ErrorMatches, `postgresstore: stop "parent": descendant "bad": invalid record: row 2: `+test.want)
			c.Assert(dump(t, db), qt.DeepEquals, rows)
			c.Assert(events(t, store), qt.HasLen, 0)
		})
	}
}

func TestRecordsReturnsWhatCanBeRead(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, db := open(t, postgresstore.Options{})
	register(t, store, running("good", self(t)), running("bad", self(t)))
	execSQL(t, db, `UPDATE rollcall_records SET phase = '' WHERE name = 'bad'`)
	records, err := store.Records(t.Context())
	c.Assert(err, qt.ErrorIs, lifecycle.ErrInvalidRecord)
	c.Assert(records, qt.HasLen, 1)
	c.Assert(records[0].Name, qt.Equals, "good")
	_, err = store.Bound(t.Context(), "session of bad")
	c.Assert(err, qt.ErrorMatches, `postgresstore: record bound to "session of bad": invalid record: row 2: column phase: .*`)
}

func TestAGarbledSnapshotIsNamed(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, db := open(t, postgresstore.Options{})
	record := running("worker", self(t))
	register(t, store, record)
	_, err := store.Stop(t.Context(), record, cause)
	c.Assert(err, qt.IsNil)
	execSQL(t, db, `UPDATE rollcall_events SET snapshot = '[]'`)
	next := running("next", self(t))
	register(t, store, next)
	_, err = store.Stop(t.Context(), next, cause)
	c.Assert(err, qt.IsNil)
	list, err := store.Events(t.Context(), 0)
	c.Assert(err, qt.ErrorMatches, `postgresstore: event 1: snapshot of "worker": .*`)
	c.Assert(list, qt.HasLen, 2) // a reader can go on from the last of them
	c.Assert([]string{list[0].Name, list[0].Reason, list[0].Snapshot.Incarnation}, qt.DeepEquals, []string{"worker", "exit:test", "of worker"})
	c.Assert(list[1].Snapshot.Identity, qt.Equals, next.Identity)
	_, err = store.Snapshot(t.Context(), "worker")
	c.Assert(err, qt.ErrorMatches, `postgresstore: snapshot of "worker": .*`)
}
