// Package sqlitestore keeps records, stopped events and gates in SQLite, in
// tables of their own beside the host's, over the host's own [sql.DB]. It
// imports no driver: the host chooses one.
//
//	db, err := sql.Open("sqlite", "file:state.db?_pragma=journal_mode(WAL)")
//	store, err := sqlitestore.New(ctx, db, sqlitestore.Options{})
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
// A stop is one transaction: the event with its snapshot is written and the
// record and its bindings are deleted together, descendants included. A unique
// key makes a second stopped event for one incarnation impossible. What a
// method has acknowledged survives a crash of the process and a loss of power
// (PRAGMA synchronous=EXTRA), heartbeats excepted, as far as the disk keeps
// what it acknowledges. Not so with journal_mode MEMORY or OFF.
//
// Any number of processes may use one file. Writers wait for one another; a
// write transaction of a cleaning pass is kept near 20 ms, or as long as it
// takes to stop one record with its descendants.
//
// # What it does to connections
//
// Each call borrows one connection from the [sql.DB], opens the transaction of
// a write with BEGIN IMMEDIATE, lowers busy_timeout where there is one and
// raises synchronous for the time of the work, and puts them back after. A busy
// handler of the host's stays. No connection is held between calls, so a pool
// of one connection is enough.
// The journal mode belongs to the host's file and is left alone; with
// journal_mode=WAL readers and writers do not wait for each other.
//
// # Drivers
//
// Nothing has to be set for this package: no busy timeout, no kind of
// transaction, no format of times. It is tested with the three drivers below. What
// a host sets for itself, such as the journal mode, it writes in different ways:
//
//	modernc.org/sqlite            sql.Open("sqlite", "file:state.db?_pragma=journal_mode(WAL)")
//	github.com/ncruces/go-sqlite3 sql.Open("sqlite3", "file:state.db?_pragma=journal_mode(WAL)")
//	github.com/mattn/go-sqlite3   sql.Open("sqlite3", "file:state.db?_journal_mode=WAL")
//
// Where several processes may be the first to open a file, call New before any other
// statement: who sets the journal mode to WAL at the same time as another is refused
// at once, whatever the busy timeout. New tries again.
//
// modernc.org/sqlite: without a busy_timeout, the host's own statements fail at
// once where they find a lock.
//
// github.com/ncruces/go-sqlite3 (package driver): the same, if there is any
// _pragma; without one it waits for a minute. A name that does not begin with
// "file:" is that of a file as it stands, parameters included. With WAL, what the
// host itself writes is synchronous=NORMAL, unless it sets another.
//
// github.com/mattn/go-sqlite3: needs cgo and a C compiler. It ignores _pragma, and
// has parameters of its own, such as _busy_timeout, which is 5 seconds by default,
// and _synchronous, which is NORMAL in every journal mode. The last two drivers
// have one name in database/sql, so a program can have one of them.
//
// # Limits
//
// The host must not share one transaction with these methods: they run their
// own. SQLite 3.24 or later is needed. A database in memory is private to its
// connection: set SetMaxOpenConns(1) for it.
//
// # Errors
//
// Errors match [ErrNewerSchema], [ErrForeignSchema], [ErrInvalidOptions],
// [lifecycle.ErrNoSnapshot], [lifecycle.ErrInvalidRecord], [lifecycle.ErrNameTaken],
// [lifecycle.ErrNotRegistered], [lifecycle.ErrChanged], or
// [lifecycle.ErrUnavailable] when others kept the database locked for longer
// than BusyTimeout, or wrap the error of the driver or of the context. An error
// means that nothing was written.
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
	// ErrNewerSchema is returned by [New] when the tables were made by a newer
	// version of this package. Nothing is read or written then.
	ErrNewerSchema = errors.New("schema of a newer version")
	// ErrForeignSchema is returned by [New] when tables with the prefix exist
	// and are not of this package.
	ErrForeignSchema = errors.New("foreign tables")
	// ErrInvalidOptions is returned by [New] for a prefix that is no SQL name,
	// and for a missing database.
	ErrInvalidOptions = errors.New("invalid options")
)

// Options are the choices of [New]. The zero value is usable.
type Options struct {
	// Prefix starts the name of every table and index; empty is "rollcall_".
	// It consists of ASCII letters, digits and underscores and does not start
	// with a digit, nor with "sqlite_", which SQLite keeps to itself.
	Prefix string

	// BusyTimeout is how long a call waits for other writers before it gives
	// up with SQLite's "database is locked"; zero is 30 seconds. A context
	// that ends earlier ends the wait.
	BusyTimeout time.Duration

	// Owner is the machine or device whose records the store registers; empty is
	// none in particular.
	Owner string

	// Clock is the clock of heartbeats; nil is that of the running system.
	Clock lifecycle.Clock

	// OnStop is called for every record that is stopped, descendants
	// included, inside the transaction that stops it, after the event was
	// written. tx is that transaction, for the host's own tables. An error
	// undoes the stop. A stop that has to be tried again calls it again, in a
	// new transaction; only what is committed counts. Effects outside of the
	// database belong after the commit: [lifecycle.Cleaner.OnStopped], or a
	// reader of [Store.Events], which has descendants too.
	OnStop func(ctx context.Context, tx Tx, event lifecycle.Event) error
}

// Tx is the part of a transaction that a hook may use. Rows that it leaves open
// are closed when it returns.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Store is a [lifecycle.Registrar] in SQLite. It is safe for concurrent use. It
// holds nothing that has to be closed; the [sql.DB] stays the host's.
type Store struct {
	db          *sql.DB
	options     Options
	statements  *storekit.Statements
	asked, able atomic.Bool // whether SQLite can stop sets, see canStopSets
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

// New returns a store over db, and makes its tables where there are none yet.
// Several processes may do so at once. A file that cannot be written is served
// for reading if it has the tables.
//
// The error matches [ErrNewerSchema], [ErrForeignSchema] or
// [ErrInvalidOptions], or wraps that of the driver.
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
	if !isName(options.Prefix) {
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

func isName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '_', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', i > 0 && '0' <= c && c <= '9':
		default:
			return false
		}
	}
	return s != "" && !strings.HasPrefix(strings.ToLower(s), "sqlite_")
}

// sql returns a statement with the host's prefix in place of the default one.
func (s *Store) sql(statement string) string { return s.statements.Text(statement) }
