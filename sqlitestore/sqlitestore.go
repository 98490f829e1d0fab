// Package sqlitestore keeps records, stopped events and gates in SQLite, in tables
// beside the host's own, over the host's [sql.DB]. It imports no driver: the host
// chooses one. It is tested with modernc.org/sqlite, github.com/ncruces/go-sqlite3 and
// github.com/mattn/go-sqlite3; docs/sqlite.md has what to know about each.
//
//	db, err := sql.Open("sqlite", "file:state.db?_pragma=journal_mode(WAL)")
//	store, err := sqlitestore.New(ctx, db, sqlitestore.Options{})
//	gate := &lifecycle.BootGate{KV: store.Gate()}
//	report, err := lifecycle.Cleaner{Store: store}.CleanOncePerBoot(ctx, gate)
//
//	record, err := store.Launch(ctx, lifecycle.Record{Name: "worker"})
//	marker := liveness.Plant(cmd)
//	err = cmd.Start()
//	identity, err := liveness.CaptureProcess(cmd.Process)
//	identity.Marker = marker
//	err = store.Activate(ctx, record, identity)
//
// # Guarantees
//
// A stop is one transaction. It writes the event with its snapshot and deletes the
// record and its bindings, and does the same for the descendants. A unique key makes
// a second stopped event for one incarnation impossible.
//
// What a method other than [Store.Heartbeat] has acknowledged survives a crash of the
// process and a loss of power, as far as the disk keeps what it acknowledges. This
// does not hold with journal_mode MEMORY or OFF.
//
// Any number of processes may use one file. Writers wait for each other; a cleaning
// pass writes in transactions of about 20 ms, or less while others write. One that
// stops records with much Data, or many descendants, takes as long as these take.
//
// # Errors
//
// An error means that nothing was written. It matches [lifecycle.ErrUnavailable] when
// others kept the database locked for longer than [Options.BusyTimeout]. Other errors
// match those of this package or of package lifecycle, or wrap that of the driver or
// the context.
package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
)

var (
	// ErrNewerSchema is returned by [New] when a newer version of this package made
	// the tables. New then reads and writes nothing.
	ErrNewerSchema = errors.New("schema of a newer version")
	// ErrForeignSchema is returned by [New] when tables with the prefix exist that
	// this package did not make.
	ErrForeignSchema = errors.New("foreign tables")
	// ErrInvalidOptions is returned by [New] for a prefix that is not an SQL name,
	// and without a database.
	ErrInvalidOptions = errors.New("invalid options")
)

// Options are the choices of [New]. The zero value is usable.
type Options struct {
	// Prefix starts the name of every table and index; empty means "rollcall_".
	// It consists of ASCII letters, digits and underscores. It must not start with
	// a digit, nor with "sqlite_", which SQLite reserves.
	Prefix string

	// BusyTimeout is how long a call waits for other writers before it returns
	// SQLite's "database is locked"; zero means 30 seconds. The context can end
	// the wait earlier.
	BusyTimeout time.Duration

	// Owner is the machine or device whose records the store registers; empty
	// means none in particular.
	Owner string

	// Clock is the clock of heartbeats; nil means that of the running system.
	Clock lifecycle.Clock

	// OnStop is called for every record that is stopped, descendants included,
	// in the transaction that stops it and after the event was written. tx is that
	// transaction, for the host's own tables. An error undoes the stop. OnStop may
	// be called again for the same record, in a new transaction; only what is
	// committed counts. Effects outside the database belong after the commit: into
	// [lifecycle.Cleaner.OnStopped], or into a reader of [Store.Events], which also
	// sees descendants. When it is called, other records that are stopped in the same
	// transaction may be events already.
	OnStop func(ctx context.Context, tx Tx, event lifecycle.Event) error
}

// Tx is the part of a transaction that a hook may use. Rows that the hook leaves open
// are closed when it returns.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Store is a [lifecycle.Registrar] in SQLite. It is safe for concurrent use. It has
// nothing to close; the [sql.DB] remains the host's.
type Store struct {
	db          *sql.DB
	options     Options
	statements  *storekit.Statements
	asked, able atomic.Bool               // see canStopSets
	othersWrote atomic.Pointer[time.Time] // when another connection was last seen to have written
}

var (
	_ lifecycle.Registrar    = (*Store)(nil)
	_ lifecycle.BatchStopper = (*Store)(nil)
	_ lifecycle.KV           = (*gate)(nil)
)

const (
	defaultPrefix      = "rollcall_"
	defaultBusyTimeout = 30 * time.Second
)

// New returns a store over db, and makes its tables if there are none. Several
// processes may do so at once. If the file cannot be written but has the tables, the
// store can read. SQLite 3.24 or later is needed, and 3.38 or later (or one built with
// JSON) to stop many records quickly.
//
// Each method of the store borrows one connection for the time of the call, so a pool
// of one connection is enough. A write begins with BEGIN IMMEDIATE and sets PRAGMA
// synchronous=EXTRA; a busy timeout is lowered, and BusyTimeout takes its place. Both
// settings are put back afterwards. A busy handler of the host's stays, and so does the
// journal mode: with journal_mode=WAL readers and writers do not wait for each other.
// The host must not leave a transaction of its own open on the connection.
//
// A database in memory is private to its connection: call db.SetMaxOpenConns(1).
//
// The error matches [ErrNewerSchema], [ErrForeignSchema] or [ErrInvalidOptions], or
// wraps that of the driver.
func New(ctx context.Context, db *sql.DB, options Options) (*Store, error) {
	if options.Prefix == "" {
		options.Prefix = defaultPrefix
	}
	if options.BusyTimeout <= 0 {
		options.BusyTimeout = defaultBusyTimeout
	}
	if db == nil {
		return nil, fmt.Errorf("sqlitestore: %w: no database", ErrInvalidOptions)
	}
	if !storekit.IsName(options.Prefix) || strings.HasPrefix(strings.ToLower(options.Prefix), "sqlite_") {
		return nil, fmt.Errorf("sqlitestore: %w: prefix %q", ErrInvalidOptions, options.Prefix)
	}
	s := &Store{db: db, options: options, statements: storekit.NewStatements(defaultPrefix, options.Prefix)}
	if err := s.open(ctx); err != nil {
		return nil, fmt.Errorf("sqlitestore: open tables %s*: %w", options.Prefix, err)
	}
	return s, nil
}

// Owner implements [lifecycle.Registrar].
func (s *Store) Owner() string { return s.options.Owner }

// sql returns a statement with the host's prefix in place of the default one.
func (s *Store) sql(statement string) string { return s.statements.Text(statement) }
