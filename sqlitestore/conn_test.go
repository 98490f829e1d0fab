package sqlitestore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// errHook is what the hook of these tests returns for a record whose name
// starts with "refused".
var errHook = errors.New("refused by the hook")

func refuse(_ context.Context, _ sqlitestore.Tx, event lifecycle.Event) error {
	if len(event.Name) > 7 && event.Name[:7] == "refused" {
		return errHook
	}
	return nil
}

// operation is one call of a store on a record that is registered. "durable"
// says that it must reach the disk before it returns.
type operation struct {
	name    string
	durable bool
	call    func(ctx context.Context, store *sqlitestore.Store, record lifecycle.Record) error
}

var operations = []operation{
	{"launch", true, func(ctx context.Context, store *sqlitestore.Store, record lifecycle.Record) error {
		_, err := store.Launch(ctx, lifecycle.Record{Name: "another " + record.Name})
		return err
	}},
	{"launch a taken name", true, func(ctx context.Context, store *sqlitestore.Store, record lifecycle.Record) error {
		_, err := store.Launch(ctx, lifecycle.Record{Name: record.Name})
		return err
	}},
	{"activate", true, func(ctx context.Context, store *sqlitestore.Store, record lifecycle.Record) error {
		return store.Activate(ctx, record, liveness.Identity{})
	}},
	{"deactivate", true, func(ctx context.Context, store *sqlitestore.Store, record lifecycle.Record) error {
		return store.Deactivate(ctx, record)
	}},
	{"bind", true, func(ctx context.Context, store *sqlitestore.Store, record lifecycle.Record) error {
		return store.Bind(ctx, record, "another session of "+record.Name)
	}},
	{"set Data", true, func(ctx context.Context, store *sqlitestore.Store, record lifecycle.Record) error {
		return store.SetData(ctx, record, json.RawMessage(`{"session":1}`))
	}},
	{"heartbeat", false, func(ctx context.Context, store *sqlitestore.Store, record lifecycle.Record) error {
		return store.Heartbeat(ctx, record)
	}},
	{"stop", true, func(ctx context.Context, store *sqlitestore.Store, record lifecycle.Record) error {
		_, err := store.Stop(ctx, record, cause)
		return err
	}},
	{"stop, refused by the hook", true, func(ctx context.Context, store *sqlitestore.Store, record lifecycle.Record) error {
		refused := record
		refused.Name = "refused " + record.Name
		if err := store.Put(context.WithoutCancel(ctx), refused); err != nil {
			return err
		}
		_, err := store.Stop(ctx, refused, cause)
		return err
	}},
	{"stop two", true, func(ctx context.Context, store *sqlitestore.Store, record lifecycle.Record) error {
		outcomes, err := stopBatch(ctx, store, []lifecycle.Stop{{Record: record, Cause: cause}, {Record: record, Cause: cause}})
		if len(outcomes) > 0 {
			return nil // on a slow day the second one has a transaction of its own
		}
		return err
	}},
	{"swap the gate", true, func(ctx context.Context, store *sqlitestore.Store, record lifecycle.Record) error {
		_, err := store.Gate().CompareAndSwap(ctx, record.Name, "", "value")
		return err
	}},
	{"read the gate", false, func(ctx context.Context, store *sqlitestore.Store, record lifecycle.Record) error {
		_, err := store.Gate().Get(ctx, record.Name)
		return err
	}},
	{"read records", false, func(ctx context.Context, store *sqlitestore.Store, _ lifecycle.Record) error {
		_, err := store.Records(ctx)
		return err
	}},
	{"read events", false, func(ctx context.Context, store *sqlitestore.Store, _ lifecycle.Record) error {
		_, err := store.Events(ctx, 0)
		return err
	}},
	{"find a binding", false, func(ctx context.Context, store *sqlitestore.Store, record lifecycle.Record) error {
		_, err := store.Bound(ctx, "session of "+record.Name)
		return err
	}},
	{"find a snapshot", false, func(ctx context.Context, store *sqlitestore.Store, record lifecycle.Record) error {
		_, err := store.Snapshot(ctx, record.Name)
		return err
	}},
}

// settings are what a host may have set on its connections.
func settings(t testing.TB, db *sql.DB) string {
	// BEGIN fails within a transaction.
	execSQL(t, db, "BEGIN")
	execSQL(t, db, "ROLLBACK")
	return fmt.Sprint("busy_timeout ", value(t, db, "PRAGMA busy_timeout"), " synchronous ", value(t, db, "PRAGMA synchronous"),
		" journal_mode ", value(t, db, "PRAGMA journal_mode"))
}

func TestConnectionsAreLeftAsTheyWere(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ query, want string }{
		{"_pragma=busy_timeout(0)&_pragma=synchronous(OFF)&_pragma=journal_mode(WAL)", "busy_timeout 0 synchronous 0 journal_mode wal"},
		{"_pragma=busy_timeout(7001)&_pragma=synchronous(EXTRA)&_pragma=journal_mode(WAL)", "busy_timeout 7001 synchronous 3 journal_mode wal"},
		{"_pragma=busy_timeout(99)&_pragma=synchronous(NORMAL)&_pragma=journal_mode(DELETE)", "busy_timeout 99 synchronous 1 journal_mode delete"},
	} {
		t.Run(test.want, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			s := &spy{dsn: "file:" + filepath.Join(tempDir(t), "state.db") + "?" + test.query}
			db := openSpied(t, s)
			store, err := sqlitestore.New(t.Context(), db, sqlitestore.Options{OnStop: refuse})
			c.Assert(err, qt.IsNil)
			c.Assert(settings(t, db), qt.Equals, test.want)
			cancelled, cancel := context.WithCancel(t.Context())
			cancel()
			for _, op := range operations {
				record := running(op.name, liveness.Identity{})
				register(t, store, record)
				c.Assert(op.call(cancelled, store, record), qt.ErrorIs, context.Canceled, qt.Commentf(op.name))
				c.Assert(settings(t, db), qt.Equals, test.want, qt.Commentf("%s, cancelled", op.name))
				_ = op.call(t.Context(), store, record)
				c.Assert(settings(t, db), qt.Equals, test.want, qt.Commentf(op.name))
			}
			c.Assert(s.closed.Load(), qt.Equals, int32(0))
		})
	}
}

func TestWhatIsAcknowledgedIsOnTheDisk(t *testing.T) {
	t.Parallel()
	for _, host := range []struct {
		synchronous    string
		level, durable int64
	}{{"OFF", 0, 3}, {"NORMAL", 1, 3}, {"FULL", 2, 3}, {"EXTRA", 3, 3}} {
		t.Run(host.synchronous, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			s := &spy{dsn: dsn(filepath.Join(tempDir(t), "state.db")) + "&_pragma=synchronous(" + host.synchronous + ")"}
			var levels []any
			s.before = func(conn driver.Conn, query string) error {
				if query == "COMMIT" {
					levels = append(levels, pragma(t, conn, "synchronous"))
				}
				return nil
			}
			store, err := sqlitestore.New(t.Context(), openSpied(t, s), sqlitestore.Options{})
			c.Assert(err, qt.IsNil)
			c.Assert(levels, qt.DeepEquals, []any{host.durable}) // the tables
			for _, op := range operations {
				record := running(op.name, liveness.Identity{})
				register(t, store, record)
				levels = nil
				_ = op.call(t.Context(), store, record)
				want := host.level
				if op.durable {
					want = host.durable
				}
				for _, level := range levels {
					c.Assert(level, qt.Equals, want, qt.Commentf(op.name))
				}
			}
		})
	}
}

func TestAWriteHoldsTheWriteLockBeforeItReads(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	path := filepath.Join(tempDir(t), "state.db")
	other := openDB(t, path)
	s := &spy{dsn: dsn(path)}
	store, err := sqlitestore.New(t.Context(), openSpied(t, s), sqlitestore.Options{})
	c.Assert(err, qt.IsNil)
	began, tried := false, 0
	s.after = func(_ driver.Conn, query string) error {
		began = began && query != "COMMIT" && query != "ROLLBACK"
		if began {
			tried++
			_, err := other.Exec("CREATE TABLE t (a)")
			c.Assert(sqlitestore.IsBusy(err), qt.IsTrue, qt.Commentf("%v after %s", err, query))
		}
		began = began || len(query) > 5 && query[:5] == "BEGIN"
		return nil
	}
	for _, op := range operations {
		record := running(op.name, liveness.Identity{})
		register(t, store, record)
		_ = op.call(t.Context(), store, record)
	}
	c.Assert(tried > len(operations), qt.IsTrue)
}

func TestOneConnectionServesAnIterationThatStops(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"file", ":memory:"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			if name == "file" {
				name = dsn(filepath.Join(tempDir(t), "state.db"))
			}
			db, err := sql.Open("sqlite", name)
			c.Assert(err, qt.IsNil)
			defer db.Close()
			db.SetMaxOpenConns(1)
			store, err := sqlitestore.New(t.Context(), db, sqlitestore.Options{})
			c.Assert(err, qt.IsNil)
			const n = 300 // more than a page
			for i := range n {
				_, err := store.Launch(t.Context(), lifecycle.Record{Name: numbered("worker", i)})
				c.Assert(err, qt.IsNil)
			}
			for record, err := range store.Candidates(t.Context()) {
				c.Assert(err, qt.IsNil)
				_, err = store.Stop(t.Context(), record, cause)
				c.Assert(err, qt.IsNil)
			}
			c.Assert(names(t, store), qt.HasLen, 0)
			c.Assert(events(t, store), qt.HasLen, n)
		})
	}
}

// A host may have begun a transaction on the one connection that there is.
func TestAHostsOwnTransactionIsNotRolledBack(t *testing.T) {
	t.Parallel()
	for _, synchronous := range []string{"NORMAL", "EXTRA"} { // which SQLite lets nobody change then
		t.Run(synchronous, func(t *testing.T) {
			t.Parallel()
			hostsOwnTransactionIsNotRolledBack(t, "&_pragma=synchronous("+synchronous+")")
		})
	}
}

func hostsOwnTransactionIsNotRolledBack(t *testing.T, pragma string) {
	c := qt.New(t)
	db, err := sql.Open("sqlite", dsn(filepath.Join(tempDir(t), "state.db"))+pragma)
	c.Assert(err, qt.IsNil)
	defer db.Close()
	db.SetMaxOpenConns(1)
	store, err := sqlitestore.New(t.Context(), db, sqlitestore.Options{})
	c.Assert(err, qt.IsNil)
	execSQL(t, db, "CREATE TABLE host (a)")
	execSQL(t, db, "BEGIN")
	execSQL(t, db, "INSERT INTO host VALUES (1)")
	_, err = store.Launch(t.Context(), lifecycle.Record{Name: "worker"})
	c.Assert(err, qt.ErrorMatches, `sqlitestore: launch "worker": .*a transaction.*`)
	execSQL(t, db, "COMMIT")
	c.Assert(value(t, db, "SELECT count(*) FROM host"), qt.Equals, "1")
	_, err = store.Launch(t.Context(), lifecycle.Record{Name: "worker"})
	c.Assert(err, qt.IsNil)
}
