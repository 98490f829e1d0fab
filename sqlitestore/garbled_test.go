package sqlitestore_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// garbled are what somebody may have written into a row, and the column that
// is to blame for it.
var garbled = []struct{ name, text, set, want string }{
	{"an identity that is none", `garbage`, `identity = 'garbage'`, `column identity: .*`},
	{"an identity with a negative PID", `pid=-`, `identity = replace(identity, 'pid=', 'pid=-')`, `column identity: .*`},
	{"an identity of bytes", `\x00\xff`, `identity = x'00ff'`, `column identity: .*`},
	{"an unknown phase", `dreaming`, `phase = 'dreaming'`, `column phase: .*`},
	{"a phase of a number", `7`, `phase = 7`, `column phase: .*`},
	{"a time in words", `yesterday`, `created_at = 'yesterday'`, `column created_at: yesterday is a string, not an integer`},
	{"a time with a fraction", `1.5`, `created_at = 1.5`, `column created_at: 1.5 is a float64, not an integer`},
	{"a boot that is none", `boot`, `beat_boot = 'boot'`, `column beat_boot: .*`},
	{"an awake time in words", `long`, `beat_awake = 'long'`, `column beat_awake: .*`},
	{"a wall time of bytes", "\x01", `beat_wall = x'01'`, `column beat_wall: .*`},
	{"data that is no JSON", `{"a":`, `data = '{"a":'`, `column data: not JSON`},
}

func TestAGarbledColumnIsNamed(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, db := open(t, sqlitestore.Options{})
	for i, test := range garbled {
		register(t, store, running(test.name, self(t)))
		execSQL(t, db, `UPDATE rollcall_records SET `+test.set+` WHERE name = ?`, test.name)
		_, err := store.Record(t.Context(), test.name)
		c.Check(err, qt.ErrorMatches, fmt.Sprintf(`sqlitestore: record ".*": invalid record: row %d: %s`, i+1, test.want))
	}
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
