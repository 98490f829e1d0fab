package postgresstore

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
)

// Options are the choices of [New]. The zero value is usable.
type Options struct {
	// Schema is the PostgreSQL schema of the tables. [New] creates it if it does
	// not exist. Empty means the first schema of the search path.
	Schema string

	// Prefix starts the name of every table and index; empty means "rollcall_".
	// It has at most 40 ASCII letters, digits and underscores, and does not
	// start with a digit. Upper case becomes lower case.
	Prefix string

	// Owner names the machine that uses this store. No two machines that share a
	// database may have the same name: they would share a lease and stop each
	// other's records.
	//
	// With an Owner, [Store.Candidates] yields only its records, [Store.Launch]
	// refuses those of others, [Store.Gate] is its own, and [Store.Join] takes
	// its lease. A store without one is for somebody who looks after all
	// machines: it writes without a lease, and a record that it registers belongs
	// to the lease that the record's machine has, if any.
	Owner string

	// BusyTimeout is how long a call waits for locks that others hold, and for a
	// server that it cannot reach, before it gives up; zero means 30 seconds. A
	// context that ends earlier ends the wait. The server ends a transaction
	// whose client has been silent for that long, such as that of a machine that
	// was cut off, and releases its locks.
	BusyTimeout time.Duration

	// Clock is the clock of heartbeats; nil means that of the running system.
	Clock lifecycle.Clock

	// OnStop is called for every record that is stopped, descendants and the
	// records of lost machines included. It runs in the transaction that stops
	// the record, after the event was written. tx is that transaction, for the
	// host's own tables: it refuses Commit and Rollback, and OnStop must close
	// the rows that it reads.
	//
	// An error undoes the stop. A stop that has to be tried again calls OnStop
	// again, in a new transaction; only what is committed counts. All other stops
	// in the database wait while it runs. Effects outside the database belong
	// after the commit: in [lifecycle.Cleaner.OnStopped], or in a reader of
	// [Store.Events], which misses none.
	OnStop func(ctx context.Context, tx pgx.Tx, event lifecycle.Event) error
}

// Store is a [lifecycle.Registrar] in PostgreSQL. It is safe for concurrent use. It
// holds nothing that has to be closed; the pool stays the host's.
type Store struct {
	pool       *pgxpool.Pool
	options    Options
	statements *storekit.Statements // with the host's schema and prefix
	channel    string
	epoch      int64 // of the lease, 0 without one
}

var (
	_ lifecycle.Registrar    = (*Store)(nil)
	_ lifecycle.BatchStopper = (*Store)(nil)
	_ lifecycle.KV           = (*gate)(nil)
)

const (
	defaultPrefix      = "rollcall_"
	maxPrefix          = 40 // PostgreSQL cuts a name off after 63 bytes
	defaultBusyTimeout = 30 * time.Second
)

// New returns a store over the pool, and makes its tables where there are none yet.
// Several processes may do so at once. If the server cannot be written to, such as a
// standby, and has the tables, the store is for reading.
//
// Each call of a method takes one connection of the pool; [Store.Follow] keeps one
// while it waits. A write is a transaction of its own. It is READ COMMITTED whatever
// the host has set, sets lock_timeout, statement_timeout,
// idle_in_transaction_session_timeout and synchronous_commit for itself alone, and
// holds an advisory lock with a random number. Pools that use no prepared statements
// work too.
//
// A server that fails over to a replica must replicate synchronously; otherwise what
// was acknowledged may be gone. This package is tested with PostgreSQL 15.
//
// The error matches [ErrNewerSchema], [ErrForeignSchema], [ErrInvalidOptions]
// or [lifecycle.ErrUnavailable], or wraps that of the driver.
func New(ctx context.Context, pool *pgxpool.Pool, options Options) (*Store, error) {
	if options.Prefix == "" {
		options.Prefix = defaultPrefix
	}
	options.Prefix = strings.ToLower(options.Prefix)
	if options.BusyTimeout <= 0 {
		options.BusyTimeout = defaultBusyTimeout
	}
	if pool == nil {
		return nil, fmt.Errorf("postgresstore: %w: no pool", ErrInvalidOptions)
	}
	if !storekit.IsName(options.Prefix) || len(options.Prefix) > maxPrefix {
		return nil, fmt.Errorf("postgresstore: %w: prefix %q", ErrInvalidOptions, options.Prefix)
	}
	for _, text := range []string{options.Schema, options.Owner} {
		if err := validateText(text); err != nil {
			return nil, fmt.Errorf("postgresstore: %w: %w", ErrInvalidOptions, err)
		}
	}
	s := &Store{pool: pool, options: options, channel: options.Prefix + "stopped"}
	if err := s.open(ctx); err != nil {
		return nil, fmt.Errorf("postgresstore: open tables %s*: %w", options.Prefix, err)
	}
	return s, nil
}

// sql returns a statement, written with the default prefix, for this store's
// tables.
func (s *Store) sql(statement string) string { return s.statements.Text(statement) }

// Owner implements [lifecycle.Registrar].
func (s *Store) Owner() string { return s.options.Owner }
