// Package drivertest has the tests that sqlitestore passes with each driver that
// its documentation names. Two of these share a name in database/sql, so each has
// a test binary of its own.
package drivertest

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/storetest"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// Driver is a driver, as sqlitestore's documentation describes it.
type Driver struct {
	// Name is that of sql.Open.
	Name string
	// WAL are the parameters that a host gives for journal_mode=WAL.
	WAL string
	// Set are those for a busy timeout of 0 and synchronous=NORMAL.
	Set string
	// Plain is what a connection has without parameters: the journal mode, the
	// busy timeout in milliseconds, and synchronous as a number. WithWAL is what
	// it has with those of WAL.
	Plain, WithWAL string
}

// Run runs all tests.
func (d Driver) Run(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"store keeps the rules of its interface", func(t *testing.T) {
			storetest.RunRegistrar(t, func(t *testing.T, address string) storetest.Harness {
				if address == "" {
					address = path(t)
				}
				return harness{d, t, address}
			})
		}},
		{"what a host has set stays", d.settingsStay},
		{"a write waits although the host does not", d.writeWaits},
		{"a cancelled context ends the wait", d.cancelEndsWait},
		{"a database in memory", d.inMemory},
		{"sets of records are stopped as one by one", d.Sets},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t)
		})
	}
}

func path(t testing.TB) string { return filepath.Join(t.TempDir(), "state.db") }

func (d Driver) openDB(path, parameters string) (*sql.DB, error) {
	return sql.Open(d.Name, "file:"+path+"?"+parameters)
}

// open opens a file with nothing set but the journal mode.
func (d Driver) open(t testing.TB, path string) *sql.DB {
	db, err := d.openDB(path, d.WAL)
	qt.Assert(t, err, qt.IsNil)
	t.Cleanup(func() { db.Close() })
	return db
}

// harness is a file.
type harness struct {
	driver Driver
	t      *testing.T
	path   string
}

func (h harness) Open(ctx context.Context, options storetest.Options) (lifecycle.Registrar, error) {
	all := sqlitestore.Options{Owner: options.Owner, Clock: options.Clock}
	if options.OnStop != nil {
		all.OnStop = func(ctx context.Context, _ sqlitestore.Tx, event lifecycle.Event) error {
			return options.OnStop(ctx, event)
		}
	}
	db := h.driver.open(h.t, h.path)
	store, err := sqlitestore.New(ctx, db, all)
	return exact{store, db}, err
}

func (h harness) Address() string { return h.path }

func (h harness) Fill(ctx context.Context, records []lifecycle.Record) error {
	return Fill(ctx, h.driver.open(h.t, h.path), records)
}

// exact is a storetest.Putter.
type exact struct {
	*sqlitestore.Store
	db *sql.DB
}

// Put registers a record, and then writes into its row what no method would.
func (s exact) Put(ctx context.Context, record lifecycle.Record) error {
	if err := record.Validate(); err != nil {
		return err
	}
	bare := record
	bare.Phase, bare.Identity = lifecycle.Launching, liveness.Identity{}
	_, taken := s.Launch(ctx, bare)
	if taken != nil && !errors.Is(taken, lifecycle.ErrNameTaken) {
		return taken
	}
	beat := record.Heartbeat
	result, err := s.db.ExecContext(ctx, `UPDATE rollcall_records SET owner = ?, phase = ?, identity = ?,
		beat_boot = ?, beat_awake = ?, beat_wall = ?, parent = ?, data = ? WHERE name = ? AND incarnation = ?`,
		record.Owner, record.Phase.String(), record.Identity, beat.Boot.String(), int64(beat.Awake), sql.NullInt64{Int64: beat.Wall.UnixNano(), Valid: !beat.Wall.IsZero()},
		record.Parent, sql.NullString{String: string(record.Data), Valid: record.Data != nil}, record.Name, record.Incarnation)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); n != 1 || err != nil {
		return errors.Join(taken, err)
	}
	_, err = s.db.ExecContext(ctx, `UPDATE rollcall_schema SET registrations = registrations + 1`)
	return err
}

// Fill writes records in one transaction.
func Fill(ctx context.Context, db *sql.DB, records []lifecycle.Record) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, r := range records {
		_, err := tx.ExecContext(ctx, `INSERT INTO rollcall_records (name, incarnation, owner, phase, identity, created_at, beat_boot, beat_awake, beat_wall, parent, data)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, r.Name, r.Incarnation, r.Owner, r.Phase.String(), r.Identity.String(), r.CreatedAt.UnixNano(),
			r.Heartbeat.Boot.String(), int64(r.Heartbeat.Awake), r.Heartbeat.Wall.UnixNano(), r.Parent, string(r.Data))
		if err != nil {
			return err
		}
	}
	return tx.Commit()
}

func value(t testing.TB, db *sql.DB, query string) string {
	var text string
	qt.Assert(t, db.QueryRowContext(t.Context(), query).Scan(&text), qt.IsNil, qt.Commentf("%s", query))
	return text
}

// settings are what a connection has that has read the file: SQLite may be
// compiled to lower synchronous when it finds that the file is in WAL mode.
func settings(t testing.TB, db *sql.DB) string {
	value(t, db, "SELECT count(*) FROM sqlite_master")
	return value(t, db, "PRAGMA journal_mode") + " " + value(t, db, "PRAGMA busy_timeout") + " " + value(t, db, "PRAGMA synchronous")
}

func (d Driver) settingsStay(t *testing.T) {
	for _, test := range []struct{ name, parameters, want string }{
		{"nothing", "", d.Plain},
		{"journal mode", d.WAL, d.WithWAL},
		{"all", d.WAL + "&" + d.Set, "wal 0 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			db, err := d.openDB(path(t), test.parameters)
			c.Assert(err, qt.IsNil)
			defer db.Close()
			db.SetMaxOpenConns(1)
			c.Assert(settings(t, db), qt.Equals, test.want)
			store, err := sqlitestore.New(t.Context(), db, sqlitestore.Options{})
			c.Assert(err, qt.IsNil)
			record, err := store.Launch(t.Context(), lifecycle.Record{Name: "worker"})
			c.Assert(err, qt.IsNil)
			_, err = store.Stop(t.Context(), record, lifecycle.Cause{By: "tester"})
			c.Assert(err, qt.IsNil)
			c.Assert(settings(t, db), qt.Equals, test.want)
		})
	}
}

// blocked returns a store on a file whose write lock somebody else holds until
// end is called. The host does not wait for locks.
func (d Driver) blocked(t *testing.T) (store *sqlitestore.Store, record lifecycle.Record, end func()) {
	c := qt.New(t)
	path := path(t)
	db, err := d.openDB(path, d.WAL+"&"+d.Set)
	c.Assert(err, qt.IsNil)
	t.Cleanup(func() { db.Close() })
	store, err = sqlitestore.New(t.Context(), db, sqlitestore.Options{})
	c.Assert(err, qt.IsNil)
	record, err = store.Launch(t.Context(), lifecycle.Record{Name: "worker"})
	c.Assert(err, qt.IsNil)
	other, err := d.open(t, path).Conn(t.Context())
	c.Assert(err, qt.IsNil)
	_, err = other.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	c.Assert(err, qt.IsNil)
	_, err = db.ExecContext(t.Context(), "CREATE TABLE host (a)")
	c.Assert(err, qt.ErrorMatches, ".*database is locked.*")
	return store, record, func() {
		_, err := other.ExecContext(context.WithoutCancel(t.Context()), "ROLLBACK")
		c.Check(err, qt.IsNil)
		other.Close()
	}
}

func (d Driver) writeWaits(t *testing.T) {
	c := qt.New(t)
	store, record, end := d.blocked(t)
	time.AfterFunc(20*time.Millisecond, end)
	outcome, err := store.Stop(t.Context(), record, lifecycle.Cause{By: "tester"})
	c.Assert(err, qt.IsNil)
	c.Assert(outcome, qt.Equals, lifecycle.Stopped)
}

func (d Driver) cancelEndsWait(t *testing.T) {
	c := qt.New(t)
	store, record, end := d.blocked(t)
	defer end()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := store.Stop(ctx, record, lifecycle.Cause{By: "tester"})
	c.Assert(err, qt.ErrorIs, context.DeadlineExceeded)
}

func (d Driver) inMemory(t *testing.T) {
	c := qt.New(t)
	db, err := sql.Open(d.Name, ":memory:")
	c.Assert(err, qt.IsNil)
	defer db.Close()
	db.SetMaxOpenConns(1)
	store, err := sqlitestore.New(t.Context(), db, sqlitestore.Options{})
	c.Assert(err, qt.IsNil)
	record, err := store.Launch(t.Context(), lifecycle.Record{Name: "worker"})
	c.Assert(err, qt.IsNil)
	outcome, err := store.Stop(t.Context(), record, lifecycle.Cause{By: "tester"})
	c.Assert(err, qt.IsNil)
	c.Assert(outcome, qt.Equals, lifecycle.Stopped)
}
