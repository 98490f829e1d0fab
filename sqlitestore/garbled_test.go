package sqlitestore_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// garbled are what somebody may have written into a row, and the column that
// is to blame for it.
var garbled = []struct{ name, set, want string }{
	{"an identity that is none", `identity = 'garbage'`, `column identity: .*`},
	{"an identity with a negative PID", `identity = replace(identity, 'pid=', 'pid=-')`, `column identity: .*`},
	{"an identity of bytes", `identity = x'00ff'`, `column identity: .*`},
	{"an unknown phase", `phase = 'dreaming'`, `column phase: .*`},
	{"a phase of a number", `phase = 7`, `column phase: .*`},
	{"a time in words", `created_at = 'yesterday'`, `column created_at: yesterday is a string, not an integer`},
	{"a time with a fraction", `created_at = 1.5`, `column created_at: 1.5 is a float64, not an integer`},
	{"a boot that is none", `beat_boot = 'boot'`, `column beat_boot: .*`},
	{"an awake time in words", `beat_awake = 'long'`, `column beat_awake: .*`},
	{"a wall time of bytes", `beat_wall = x'01'`, `column beat_wall: .*`},
	{"data that is no JSON", `data = '{"a":'`, `column data: not JSON`},
}

func TestAGarbledRowIsNamedAndKeptAndInNobodysWay(t *testing.T) {
	t.Parallel()
	for _, test := range garbled {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			store, db := open(t, sqlitestore.Options{})
			dead := before(t)
			register(t, store, running("first", dead), running("bad", dead), running("last", dead))
			execSQL(t, db, `UPDATE rollcall_records SET `+test.set+` WHERE name = 'bad'`)
			row := value(t, db, `SELECT quote(name) || quote(incarnation) || quote(phase) || quote(identity) || quote(data) FROM rollcall_records WHERE seq = 2`)

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
			c.Assert(errs[0], qt.ErrorMatches, `sqlitestore: invalid record: row 2: `+test.want)

			report, err := lifecycle.Cleaner{Store: store}.Clean(t.Context())
			c.Assert(err, qt.ErrorMatches, `lifecycle: read record "bad": sqlitestore: invalid record: row 2: `+test.want)
			c.Assert([]int{report.Stopped, report.Failed}, qt.DeepEquals, []int{2, 1})
			c.Assert(stopped(t, store), qt.DeepEquals, []string{"first: " + beforeReason(t), "last: " + beforeReason(t)})
			c.Assert(value(t, db, `SELECT quote(name) || quote(incarnation) || quote(phase) || quote(identity) || quote(data) FROM rollcall_records WHERE seq = 2`), qt.Equals, row)
			c.Assert(value(t, db, `SELECT count(*) FROM rollcall_bindings`), qt.Equals, "1")
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
			store, db := open(t, sqlitestore.Options{})
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
			c.Assert(value(t, db, `SELECT count(*) FROM rollcall_bindings`), qt.Equals, "0")
			snapshot, err := store.Snapshot(t.Context(), "bad")
			c.Assert(err, qt.IsNil)
			c.Assert(snapshot.Garbled, qt.HasLen, 1)
			c.Assert(snapshot.Bindings, qt.DeepEquals, []string{"session of bad"})
			for column := range snapshot.Garbled {
				c.Assert(test.want, qt.Contains, column)
			}
			_, err = store.Launch(t.Context(), lifecycle.Record{Name: "bad"})
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
			store, db := open(t, sqlitestore.Options{})
			dead := before(t)
			parent, bad := running("parent", dead), running("bad", dead)
			bad.Parent = "parent"
			register(t, store, parent, bad)
			execSQL(t, db, `UPDATE rollcall_records SET `+test.set+` WHERE name = 'bad'`)
			rows := dump(t, db)

			_, err := store.Stop(t.Context(), parent, cause)
			c.Assert(err, qt.ErrorIs, lifecycle.ErrInvalidRecord)
			c.Assert(err, qt.ErrorMatches, `sqlitestore: stop "parent": descendant "bad": invalid record: row 2: `+test.want)
			c.Assert(dump(t, db), qt.DeepEquals, rows)
			c.Assert(events(t, store), qt.HasLen, 0)
		})
	}
}

func TestRecordsReturnsWhatCanBeRead(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, db := open(t, sqlitestore.Options{})
	register(t, store, running("good", self(t)), running("bad", self(t)))
	execSQL(t, db, `UPDATE rollcall_records SET phase = '' WHERE name = 'bad'`)
	records, err := store.Records(t.Context())
	c.Assert(err, qt.ErrorIs, lifecycle.ErrInvalidRecord)
	c.Assert(records, qt.HasLen, 1)
	c.Assert(records[0].Name, qt.Equals, "good")
	_, err = store.Bound(t.Context(), "session of bad")
	c.Assert(err, qt.ErrorMatches, `sqlitestore: record bound to "session of bad": invalid record: row 2: column phase: .*`)
}

func TestAGarbledSnapshotIsNamed(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, db := open(t, sqlitestore.Options{})
	record := running("worker", self(t))
	register(t, store, record)
	_, err := store.Stop(t.Context(), record, cause)
	c.Assert(err, qt.IsNil)
	execSQL(t, db, `UPDATE rollcall_events SET snapshot = '{'`)
	next := running("next", self(t))
	register(t, store, next)
	_, err = store.Stop(t.Context(), next, cause)
	c.Assert(err, qt.IsNil)
	list, err := store.Events(t.Context(), 0)
	c.Assert(err, qt.ErrorMatches, `sqlitestore: event 1: snapshot of "worker": .*`)
	c.Assert(list, qt.HasLen, 2) // a reader can go on from the last of them
	c.Assert([]string{list[0].Name, list[0].Reason, list[0].Snapshot.Incarnation}, qt.DeepEquals, []string{"worker", "exit:test", "of worker"})
	c.Assert(list[1].Snapshot.Identity, qt.Equals, next.Identity)
	_, err = store.Snapshot(t.Context(), "worker")
	c.Assert(err, qt.ErrorMatches, `sqlitestore: snapshot of "worker": .*`)
}

func TestAFileThatCannotBeWrittenIsReadAndLosesNothing(t *testing.T) {
	t.Parallel()
	for _, query := range []string{"?mode=ro", "?immutable=1", "?_pragma=query_only(1)"} {
		t.Run(query, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			path := filepath.Join(tempDir(t), "state.db")
			writable, err := sql.Open("sqlite", "file:"+path)
			c.Assert(err, qt.IsNil)
			defer writable.Close()
			full, err := sqlitestore.New(t.Context(), writable, sqlitestore.Options{})
			c.Assert(err, qt.IsNil)
			register(t, full, running("worker", before(t)))
			rows := dump(t, writable)

			db, err := sql.Open("sqlite", "file:"+path+query)
			c.Assert(err, qt.IsNil)
			defer db.Close()
			store, err := sqlitestore.New(t.Context(), db, sqlitestore.Options{})
			c.Assert(err, qt.IsNil)
			c.Assert(names(t, store), qt.DeepEquals, []string{"worker"})
			_, err = store.Stop(t.Context(), only(t, store), cause)
			c.Assert(err, qt.ErrorMatches, `sqlitestore: stop "worker": .*attempt to write a readonly database.*`)
			report, err := lifecycle.Cleaner{Store: store}.Clean(t.Context())
			c.Assert(err, qt.ErrorMatches, `lifecycle: stop record "worker": sqlitestore: stop "worker": .*attempt to write a readonly database.*`)
			c.Assert(report.Failed, qt.Equals, 1)
			c.Assert(dump(t, writable), qt.DeepEquals, rows)
			_, err = sqlitestore.New(t.Context(), db, sqlitestore.Options{Prefix: "other_"})
			c.Assert(err, qt.ErrorMatches, `sqlitestore: open tables other_\*: .*attempt to write a readonly database.*`)
		})
	}
}

func TestAClosedDatabaseIsNamed(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, db := open(t, sqlitestore.Options{})
	c.Assert(db.Close(), qt.IsNil)
	_, err := sqlitestore.New(t.Context(), db, sqlitestore.Options{})
	c.Assert(err, qt.ErrorMatches, `sqlitestore: open tables .*: sql: database is closed`)
	for _, op := range operations {
		c.Assert(op.call(t.Context(), store, running("worker", before(t))), qt.ErrorMatches, `sqlitestore: .*: sql: database is closed`)
	}
}
