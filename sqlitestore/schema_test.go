package sqlitestore_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"sync"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/storefixture"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

func TestDeepDataOfAnEarlierVersionIsKept(t *testing.T) {
	t.Parallel()
	store, db := open(t, sqlitestore.Options{})
	for i := range 3 {
		register(t, store, running(numbered("worker", i), liveness.Identity{}))
	}
	execSQL(t, db, `UPDATE rollcall_records SET data = ?`, string(storefixture.DeepData))
	storefixture.CheckDeepData(t, store)
}

func TestNewMakesItsTablesOnce(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, db := open(t, sqlitestore.Options{})
	register(t, store, running("worker", self(t)))
	schema := value(t, db, `SELECT group_concat(sql) FROM sqlite_master`)
	again, err := sqlitestore.New(t.Context(), db, sqlitestore.Options{})
	c.Assert(err, qt.IsNil)
	c.Assert(names(t, again), qt.DeepEquals, []string{"worker"})
	c.Assert(value(t, db, `SELECT group_concat(sql) FROM sqlite_master`), qt.Equals, schema)
	c.Assert(value(t, db, `SELECT version FROM rollcall_schema`), qt.Equals, "1")
}

// openRole opens a store that others open at the same moment.
func openRole(args []string) error {
	if err := waitForStart(); err != nil {
		return err
	}
	db, err := openRoleDB(args[0])
	if err != nil {
		return err
	}
	defer db.Close()
	store, err := sqlitestore.New(context.Background(), db, sqlitestore.Options{})
	if err != nil {
		return err
	}
	_, err = store.Launch(context.Background(), lifecycle.Record{Name: args[1]})
	return err
}

func TestManyProcessesMakeTheTablesOfANewFileAtOnce(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	const n = 20
	path := filepath.Join(tempDir(t), "state.db")
	gun, trigger, err := os.Pipe()
	c.Assert(err, qt.IsNil)
	defer gun.Close()
	var children []*child
	for i := range n {
		children = append(children, start(t, gun, "open", path, numbered("worker", i)))
	}
	for _, p := range children {
		p.awaitUp(t)
	}
	trigger.Close()
	for _, p := range children {
		c.Assert(p.output(t), qt.Equals, "")
	}
	store, _ := openFile(t, path, sqlitestore.Options{})
	c.Assert(names(t, store), qt.HasLen, n)
}

func TestManyHandlesMakeTheTablesOfANewFileAtOnce(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"WAL", "DELETE"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			path := filepath.Join(tempDir(t), "state.db")
			errs := make([]error, 20)
			var wg sync.WaitGroup
			for i := range errs {
				wg.Go(func() {
					db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode("+mode+")")
					if err == nil {
						defer db.Close()
						_, err = sqlitestore.New(t.Context(), db, sqlitestore.Options{})
					}
					errs[i] = err
				})
			}
			wg.Wait()
			for _, err := range errs {
				c.Assert(err, qt.IsNil)
			}
		})
	}
}

func TestStoresWithTwoPrefixesAreIndependent(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	ctx := t.Context()
	db := openDB(t, filepath.Join(tempDir(t), "state.db"))
	// The second prefix holds the default one, and starts with the first.
	one, err := sqlitestore.New(ctx, db, sqlitestore.Options{Prefix: "app"})
	c.Assert(err, qt.IsNil)
	two, err := sqlitestore.New(ctx, db, sqlitestore.Options{Prefix: "app_rollcall_2"})
	c.Assert(err, qt.IsNil)
	three, err := sqlitestore.New(ctx, db, sqlitestore.Options{Prefix: "APP"}) // SQL names ignore case
	c.Assert(err, qt.IsNil)

	record := running("worker", self(t))
	register(t, one, record)
	register(t, two, record)
	_, err = two.Stop(ctx, record, cause)
	c.Assert(err, qt.IsNil)
	c.Assert(names(t, one), qt.DeepEquals, []string{"worker"})
	c.Assert(events(t, one), qt.HasLen, 0)
	c.Assert(names(t, two), qt.HasLen, 0)
	c.Assert(events(t, two), qt.HasLen, 1)
	c.Assert(names(t, three), qt.DeepEquals, []string{"worker"})
	c.Assert(value(t, db, `SELECT count(*) FROM sqlite_master WHERE name GLOB 'rollcall_*'`), qt.Equals, "0")

	swapped, err := one.Gate().CompareAndSwap(ctx, "key", "", "value")
	c.Assert(err, qt.IsNil)
	c.Assert(swapped, qt.IsTrue)
	got, err := two.Gate().Get(ctx, "key")
	c.Assert(err, qt.IsNil)
	c.Assert(got, qt.Equals, "")
}

func TestNewRefusesOptionsItCannotServe(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	db := openDB(t, filepath.Join(tempDir(t), "state.db"))
	for _, prefix := range []string{"1a", "a-b", "a b", "a;b", "ä", "a'", `a"`, "a.b", "a\x00", "sqlite_", "SQLite_x"} {
		_, err := sqlitestore.New(t.Context(), db, sqlitestore.Options{Prefix: prefix})
		c.Assert(err, qt.ErrorIs, sqlitestore.ErrInvalidOptions, qt.Commentf("%q", prefix))
	}
	_, err := sqlitestore.New(t.Context(), nil, sqlitestore.Options{})
	c.Assert(err, qt.ErrorIs, sqlitestore.ErrInvalidOptions)
	c.Assert(value(t, db, `SELECT count(*) FROM sqlite_master`), qt.Equals, "0")
}

func TestNewLeavesTablesAloneThatAreNotItsOwn(t *testing.T) {
	t.Parallel()
	const stamp = `CREATE TABLE rollcall_schema (product TEXT PRIMARY KEY, version INTEGER NOT NULL);`
	const ours = `INSERT INTO rollcall_schema VALUES ('github.com/rollcall-go/rollcall/sqlitestore', `
	tests := []struct {
		name, sql string
		want      error
		text      string
	}{
		{"a newer version", stamp + ours + `2)`, sqlitestore.ErrNewerSchema, `.*: schema of a newer version: 2, this package knows 1`},
		{"no version", stamp + ours + `0)`, sqlitestore.ErrForeignSchema, `.*: foreign tables: .*version 0`},
		{"a version in words", stamp + ours + `'one')`, sqlitestore.ErrForeignSchema, `.*: foreign tables: .*`},
		{"the stamp of another product", stamp + `INSERT INTO rollcall_schema VALUES ('other', 1)`, sqlitestore.ErrForeignSchema, `.*: foreign tables: rollcall_schema .*`},
		{"a schema table with other columns", `CREATE TABLE rollcall_schema (a)`, sqlitestore.ErrForeignSchema, `.*: foreign tables: rollcall_schema .*`},
		{"records of somebody else", `CREATE TABLE rollcall_records (a)`, sqlitestore.ErrForeignSchema, `.*: foreign tables: rollcall_records exists without rollcall_schema`},
		{"the same in other letters", `CREATE TABLE RollCall_Records (a)`, sqlitestore.ErrForeignSchema, `.*: foreign tables: RollCall_Records exists without rollcall_schema`},
		{"a view called events", `CREATE VIEW rollcall_events AS SELECT 1`, sqlitestore.ErrForeignSchema, `.*: foreign tables: rollcall_events exists without rollcall_schema`},
		{"an index called like ours", `CREATE TABLE t (a); CREATE INDEX rollcall_records_parent ON t (a)`, sqlitestore.ErrForeignSchema, `.*: foreign tables: rollcall_records_parent exists without rollcall_schema`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			path := filepath.Join(tempDir(t), "state.db")
			db := openDB(t, path)
			execSQL(t, db, test.sql)
			execSQL(t, db, `PRAGMA wal_checkpoint(TRUNCATE)`)
			before, err := os.ReadFile(path)
			c.Assert(err, qt.IsNil)

			_, err = sqlitestore.New(t.Context(), db, sqlitestore.Options{})
			c.Assert(err, qt.ErrorIs, test.want)
			c.Assert(err, qt.ErrorMatches, "sqlitestore: open tables rollcall_"+`\*`+test.text)
			execSQL(t, db, `PRAGMA wal_checkpoint(TRUNCATE)`)
			after, err := os.ReadFile(path)
			c.Assert(err, qt.IsNil)
			c.Assert(string(after) == string(before), qt.IsTrue)
		})
	}
}

func TestAHostMayHaveTablesWithThePrefix(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	db := openDB(t, filepath.Join(tempDir(t), "state.db"))
	execSQL(t, db, `CREATE TABLE rollcall_settings (a); CREATE VIEW rollcall_record AS SELECT 1 AS a`)
	for range 2 {
		store, err := sqlitestore.New(t.Context(), db, sqlitestore.Options{})
		c.Assert(err, qt.IsNil)
		c.Assert(names(t, store), qt.HasLen, 0)
	}
}

func TestNewSaysWhatIsWrongWithAFile(t *testing.T) {
	t.Parallel()
	full := filepath.Join(tempDir(t), "full.db")
	db := openDB(t, full)
	_, err := sqlitestore.New(t.Context(), db, sqlitestore.Options{})
	qt.New(t).Assert(err, qt.IsNil)
	execSQL(t, db, `PRAGMA wal_checkpoint(TRUNCATE)`)
	whole, err := os.ReadFile(full)
	qt.New(t).Assert(err, qt.IsNil)

	tests := []struct {
		name    string
		content []byte
		query   string
		want    string
	}{
		{"a file that is no database", []byte("To whom it may concern: this is no database at all, whatever its name says. " + full), "", `.*file is not a database.*`},
		{"a file cut off", whole[:len(whole)/2], "", `.*malformed.*`},
		{"a directory that is not there", nil, "/nowhere/state.db", `.*unable to open database file.*`},
		{"an empty file that cannot be written", []byte{}, "?mode=ro", `.*readonly database.*`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			path := filepath.Join(tempDir(t), "state.db")
			if test.content != nil {
				c.Assert(os.WriteFile(path, test.content, 0o600), qt.IsNil)
			}
			db, err := sql.Open("sqlite", "file:"+path+test.query)
			c.Assert(err, qt.IsNil)
			defer db.Close()
			_, err = sqlitestore.New(t.Context(), db, sqlitestore.Options{})
			c.Assert(err, qt.ErrorMatches, `sqlitestore: open tables rollcall_\*: `+test.want)
			c.Assert(err, qt.Not(qt.ErrorIs), sqlitestore.ErrForeignSchema)
		})
	}
}
