package postgresstore_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	qt "github.com/frankban/quicktest"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall-go/rollcall/internal/pgserver"
	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/postgresstore"
)

// The tests run this binary again as other machines. The variable says that it
// is one.
const machineVariable = "ROLLCALL_TEST_MACHINE"

func TestMain(m *testing.M) {
	if owner := os.Getenv(machineVariable); owner != "" {
		if err := machineMain(owner, os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	// The tests wait most of the time. The command line is read later, and overrides this.
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	for _, end := range slices.Backward(atEnd) {
		if err := end(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// atEnd ends what the tests share, if they have begun it.
var atEnd []func() error

// settings make a server of the tests quick. What it has written survives its
// own end, and that is all that is tested.
var settings = []string{"fsync = off", "max_connections = 200", "shared_buffers = 64MB"}

// serverURL is the address of the server that the tests share: that of
// DATABASE_URL, or one that is started here.
var serverURL = sync.OnceValues(func() (string, error) {
	if url := os.Getenv(pgserver.URLVariable); url != "" {
		return url, nil
	}
	server, err := pgserver.Start(settings...)
	if err != nil {
		return "", err
	}
	atEnd = append(atEnd, server.Stop)
	return server.URL(), nil
})

// skipWithout skips the test, or fails it, where there is no server.
func skipWithout(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, pgserver.ErrNotInstalled) {
		proctest.Skip(t, "%v, and %s is not set", err, pgserver.URLVariable)
	}
	qt.New(t).Assert(err, qt.IsNil)
}

func openURL(t testing.TB, url string) *pgxpool.Pool {
	config, err := pgxpool.ParseConfig(url)
	qt.New(t).Assert(err, qt.IsNil)
	return openConfig(t, config)
}

func openConfig(t testing.TB, config *pgxpool.Config) *pgxpool.Pool {
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	qt.New(t).Assert(err, qt.IsNil)
	t.Cleanup(pool.Close)
	return pool
}

// database is where a test finds the tables of its own.
type database struct {
	*pgxpool.Pool
	config *pgxpool.Config
	schema string // is that of the search path
	prefix string // of all tables; empty is that of the store
}

// q is a statement in which the tables are called as they are by default.
func (d database) q(sql string) string {
	if d.prefix == "" {
		return sql
	}
	return strings.ReplaceAll(sql, "rollcall_", d.prefix)
}

// mark is what the statements about the tables of the test have in common.
func (d database) mark() string { return cmp.Or(d.prefix, d.schema) }

// shared is a schema, and connections, for tests whose tables differ by their
// prefix: to start a process of the server for each test takes longer than most
// of them.
var shared = sync.OnceValues(func() (d database, err error) {
	url, err := serverURL()
	if err != nil {
		return d, err
	}
	if d.config, err = pgxpool.ParseConfig(url); err != nil {
		return d, err
	}
	d.schema = "Test " + uuid.NewString()
	name := pgx.Identifier{d.schema}.Sanitize()
	d.config.ConnConfig.RuntimeParams["search_path"] = name
	d.config.MaxConns = 40
	if d.Pool, err = pgxpool.NewWithConfig(context.Background(), d.config.Copy()); err != nil {
		return d, err
	}
	_, err = d.Exec(context.Background(), "CREATE SCHEMA "+name)
	atEnd = append(atEnd, func() error {
		defer d.Close()
		return d.drop("SCHEMA " + name)
	})
	return d, err
})

// drop drops something of a server that outlives the tests.
func (d database) drop(what string) error {
	if os.Getenv(pgserver.URLVariable) == "" {
		return nil
	}
	_, err := d.Exec(context.Background(), "SET client_min_messages = warning; DROP "+what+" CASCADE")
	return err
}

var prefixes atomic.Int64

// newDatabase is one for tables with a prefix of the test's own.
func newDatabase(t testing.TB) database {
	d, err := shared()
	skipWithout(t, err)
	d.prefix = fmt.Sprintf("t%d_", prefixes.Add(1))
	if os.Getenv(pgserver.URLVariable) == "" {
		return d // the tables end with the server
	}
	t.Cleanup(func() {
		var tables string // all at once would be more than the server can lock
		c := qt.New(t)
		c.Check(d.QueryRow(context.Background(), `SELECT coalesce(string_agg(quote_ident(relname), ','), '') FROM pg_class
			WHERE relkind = 'r' AND starts_with(relname, $1) AND relnamespace = $2::text::regnamespace`,
			d.prefix, pgx.Identifier{d.schema}.Sanitize()).Scan(&tables), qt.IsNil)
		if tables != "" {
			c.Check(d.drop("TABLE "+tables), qt.IsNil)
		}
	})
	return d
}

// newSchema is a database with a schema, and connections, of the test's own.
func newSchema(t testing.TB) database {
	c := qt.New(t)
	url, err := serverURL()
	skipWithout(t, err)
	config, err := pgxpool.ParseConfig(url)
	c.Assert(err, qt.IsNil)
	d := database{schema: "Test " + uuid.NewString(), config: config}
	name := pgx.Identifier{d.schema}.Sanitize()
	config.ConnConfig.RuntimeParams["search_path"] = name
	d.Pool = openConfig(t, config)
	execSQL(t, d, "CREATE SCHEMA "+name)
	t.Cleanup(func() { c.Check(d.drop("SCHEMA "+name), qt.IsNil) })
	return d
}

// again opens the database once more, as another process would.
func (d database) again(t testing.TB) database {
	d.Pool = openConfig(t, d.config.Copy())
	return d
}

func (d database) store(t testing.TB, options postgresstore.Options) *postgresstore.Store {
	options.Prefix = cmp.Or(options.Prefix, d.prefix)
	store, err := postgresstore.New(t.Context(), d.Pool, options)
	qt.New(t).Assert(err, qt.IsNil)
	return store
}

// open opens a store in a database of its own.
func open(t testing.TB, options postgresstore.Options) (*postgresstore.Store, database) {
	d := newDatabase(t)
	return d.store(t, options), d
}

func execSQL(t testing.TB, d database, query string, args ...any) {
	_, err := d.Exec(t.Context(), d.q(query), args...)
	qt.New(t).Assert(err, qt.IsNil, qt.Commentf("%s", query))
}

// value returns the one value of a query as text.
func value(t testing.TB, d database, query string, args ...any) string {
	var text string
	err := d.QueryRow(t.Context(), d.q(query), args...).Scan(&text)
	qt.New(t).Assert(err, qt.IsNil, qt.Commentf("%s", query))
	return text
}
