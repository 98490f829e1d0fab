package postgresstore_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	qt "github.com/frankban/quicktest"
	"github.com/jackc/pgx/v5"

	"github.com/rollcall-go/rollcall/internal/storefixture"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/postgresstore"
)

func TestDeepDataOfAnEarlierVersionIsKept(t *testing.T) {
	t.Parallel()
	store, db := open(t, postgresstore.Options{})
	for i := range 3 {
		register(t, store, running(numbered("worker", i), liveness.Identity{}))
	}
	execSQL(t, db, `UPDATE rollcall_records SET data = $1`, string(storefixture.DeepData))
	storefixture.CheckDeepData(t, store)
}

func TestNewMakesItsTablesOnce(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	db := newSchema(t)
	store := db.store(t, postgresstore.Options{})
	register(t, store, running("worker", self(t)))
	c.Assert(names(t, db.again(t).store(t, postgresstore.Options{})), qt.DeepEquals, []string{"worker"})
}

func TestManyMakeTheTablesOfANewDatabaseAtOnce(t *testing.T) {
	t.Parallel()
	for _, schema := range []string{"", ` of "its" own`} {
		t.Run("schema"+schema, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			d := newSchema(t)
			if schema != "" {
				schema = d.schema + schema
				t.Cleanup(func() {
					_, err := d.Exec(context.Background(), "DROP SCHEMA "+pgx.Identifier{schema}.Sanitize()+" CASCADE")
					c.Check(err, qt.IsNil)
				})
			}
			errs := make([]error, 20)
			var wg sync.WaitGroup
			for i := range errs {
				wg.Go(func() {
					_, errs[i] = postgresstore.New(t.Context(), d.Pool, postgresstore.Options{Schema: schema})
				})
			}
			wg.Wait()
			for _, err := range errs {
				c.Assert(err, qt.IsNil)
			}
		})
	}
}

func TestTablesAreFoundWhateverTheSearchPath(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d := newSchema(t)
	store := d.store(t, postgresstore.Options{})
	register(t, store, running("worker", self(t)))
	elsewhere := func(path string) database {
		other := d
		config := d.config.Copy()
		config.ConnConfig.RuntimeParams["search_path"] = path
		other.Pool = openConfig(t, config)
		return other
	}
	c.Assert(names(t, elsewhere("pg_catalog").store(t, postgresstore.Options{Schema: d.schema})), qt.DeepEquals, []string{"worker"})
	_, err := postgresstore.New(t.Context(), elsewhere("nowhere").Pool, postgresstore.Options{})
	c.Assert(err, qt.ErrorIs, postgresstore.ErrInvalidOptions)
	c.Assert(err, qt.ErrorMatches, `postgresstore: open tables rollcall_\*: invalid options: no schema of the search path exists`)
}

func TestStoresWithTwoPrefixesAreIndependent(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	ctx := t.Context()
	db := newSchema(t)
	// The second prefix holds the default one, and starts with the first.
	one := db.store(t, postgresstore.Options{Prefix: "app"})
	two := db.store(t, postgresstore.Options{Prefix: "app_rollcall_2"})
	three := db.store(t, postgresstore.Options{Prefix: "APP"})

	record := running("worker", self(t))
	register(t, one, record)
	register(t, two, record)
	_, err := two.Stop(ctx, record, cause)
	c.Assert(err, qt.IsNil)
	c.Assert(names(t, one), qt.DeepEquals, []string{"worker"})
	c.Assert(events(t, one), qt.HasLen, 0)
	c.Assert(names(t, two), qt.HasLen, 0)
	c.Assert(events(t, two), qt.HasLen, 1)
	c.Assert(names(t, three), qt.DeepEquals, []string{"worker"})
	c.Assert(value(t, db, `SELECT count(*)::text FROM pg_class WHERE relname LIKE 'rollcall_%' AND relnamespace = $1::text::regnamespace`,
		pgx.Identifier{db.schema}.Sanitize()), qt.Equals, "0")

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
	db := newSchema(t)
	for _, options := range []postgresstore.Options{
		{Prefix: "1a"}, {Prefix: "a-b"}, {Prefix: "a b"}, {Prefix: "a;b"}, {Prefix: "ä"}, {Prefix: `a"`}, {Prefix: "a.b"}, {Prefix: "a\x00"},
		{Prefix: strings.Repeat("a", 41)}, {Schema: "a\x00"}, {Owner: "a\xff"},
	} {
		_, err := postgresstore.New(t.Context(), db.Pool, options)
		c.Assert(err, qt.ErrorIs, postgresstore.ErrInvalidOptions, qt.Commentf("%q", options))
	}
	_, err := postgresstore.New(t.Context(), nil, postgresstore.Options{})
	c.Assert(err, qt.ErrorIs, postgresstore.ErrInvalidOptions)
	db.store(t, postgresstore.Options{Prefix: strings.Repeat("a", 40)})
}

func TestNewLeavesTablesAloneThatAreNotItsOwn(t *testing.T) {
	t.Parallel()
	const stamp = `CREATE TABLE rollcall_schema (product text PRIMARY KEY, version integer NOT NULL);`
	const ours = `INSERT INTO rollcall_schema VALUES ('github.com/rollcall-go/rollcall/postgresstore', `
	tests := []struct {
		name, sql string
		want      error
		text      string
	}{
		{"a newer version", stamp + ours + `2)`, postgresstore.ErrNewerSchema, `.*: schema of a newer version: 2, this package knows 1`},
		{"no version", stamp + ours + `0)`, postgresstore.ErrForeignSchema, `.*: foreign tables: .*version 0`},
		{"a version in words", `CREATE TABLE rollcall_schema (product text, version text);` + ours + `'one')`, postgresstore.ErrForeignSchema, `.*: foreign tables: .*`},
		{"the stamp of another product", stamp + `INSERT INTO rollcall_schema VALUES ('other', 1)`, postgresstore.ErrForeignSchema, `.*: foreign tables: rollcall_schema .*`},
		{"a schema table with other columns", `CREATE TABLE rollcall_schema (a text)`, postgresstore.ErrForeignSchema, `.*: foreign tables: rollcall_schema .*`},
		{"a product that is a number", `CREATE TABLE rollcall_schema (product integer, version integer)`, postgresstore.ErrForeignSchema, `.*: foreign tables: rollcall_schema .*`},
		{"an index called like the stamp", `CREATE TABLE t (a text); CREATE INDEX rollcall_schema ON t (a)`, postgresstore.ErrForeignSchema, `.*: foreign tables: rollcall_schema .*`},
		{"records of somebody else", `CREATE TABLE rollcall_records (a text)`, postgresstore.ErrForeignSchema, `.*: foreign tables: rollcall_records exists without rollcall_schema`},
		{"a view called events", `CREATE VIEW rollcall_events AS SELECT 1`, postgresstore.ErrForeignSchema, `.*: foreign tables: rollcall_events exists without rollcall_schema`},
		{"an index called like ours", `CREATE TABLE t (a text); CREATE INDEX rollcall_records_parent ON t (a)`, postgresstore.ErrForeignSchema, `.*: foreign tables: rollcall_records_parent exists without rollcall_schema`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			db := newSchema(t)
			execSQL(t, db, test.sql)
			content := func() string {
				return value(t, db, `SELECT string_agg(c.relname || ' ' || c.relkind::text || ' ' || c.relnatts::text, ',' ORDER BY c.relname)
					FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = current_schema()`)
			}
			before := content()
			_, err := postgresstore.New(t.Context(), db.Pool, postgresstore.Options{})
			c.Assert(err, qt.ErrorIs, test.want)
			c.Assert(err, qt.ErrorMatches, "postgresstore: open tables rollcall_"+`\*`+test.text)
			c.Assert(content(), qt.Equals, before)
		})
	}
}

func TestAHostMayHaveTablesWithThePrefix(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	db := newSchema(t)
	execSQL(t, db, `CREATE TABLE rollcall_settings (a text); CREATE VIEW rollcall_record AS SELECT 1 AS a`)
	for range 2 {
		c.Assert(names(t, db.store(t, postgresstore.Options{})), qt.HasLen, 0)
	}
}

func TestAServerThatCannotBeWrittenIsReadAndLosesNothing(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	db := newSchema(t)
	store := db.store(t, postgresstore.Options{})
	register(t, store, running("worker", before(t)))
	rows := dump(t, db)
	reader := db
	config := db.config.Copy()
	config.ConnConfig.RuntimeParams["role"] = "pg_read_all_data"
	reader.Pool = openConfig(t, config)

	read := reader.store(t, postgresstore.Options{})
	c.Assert(names(t, read), qt.DeepEquals, []string{"worker"})
	_, err := read.Stop(t.Context(), only(t, read), cause)
	c.Assert(err, qt.ErrorMatches, `postgresstore: stop "worker": .*permission denied.*`)
	c.Assert(dump(t, db), qt.DeepEquals, rows)
	_, err = postgresstore.New(t.Context(), reader.Pool, postgresstore.Options{Prefix: "other_"})
	c.Assert(err, qt.ErrorMatches, `postgresstore: open tables other_\*: .*permission denied.*`)
}
