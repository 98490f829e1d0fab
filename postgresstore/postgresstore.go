package postgresstore

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

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
	// and for a missing pool, and by [Store.Join] for a time to live below
	// zero.
	ErrInvalidOptions = errors.New("invalid options")
	// ErrOwner is returned by [Store.Launch] for a record without an owner, or
	// of another owner than that of the store, and by [Store.Join] of a store
	// without one.
	ErrOwner = errors.New("no owner, or another one")
	// ErrFenced is returned by every write of a machine whose lease others have
	// taken over, and of one that has a lease but writes without it. Nothing
	// was written.
	ErrFenced = errors.New("fenced: the lease is not that of this machine any more")
	// ErrOutcomeUnknown is returned, beside what went wrong, when the connection
	// was cut while a transaction was committed and the server was not to be
	// reached again in time: it is not known whether the transaction took
	// place. A retry is safe.
	ErrOutcomeUnknown = errors.New("it is not known whether the transaction took place")
)

// Options are the choices of [New]. The zero value is usable.
type Options struct {
	// Schema is the PostgreSQL schema of the tables, which is made where it
	// does not exist; empty is the first one of the search path.
	Schema string

	// Prefix starts the name of every table and index; empty is "rollcall_".
	// It consists of ASCII letters, digits and underscores, does not start
	// with a digit, and has at most 40 of them. Upper case is lower case here.
	Prefix string

	// Owner is the machine that this store is used on: its name among all
	// that share the database, which no other has. [Store.Candidates] then
	// yields its records alone, [Store.Launch] registers none of others,
	// [Store.Gate] is its own, and [Store.Join] takes its lease. Empty is the
	// store of somebody who looks at all machines; what it writes needs no
	// lease. A record that it registers belongs to the lease that the machine
	// has, if any.
	Owner string

	// BusyTimeout is how long a call waits for the locks of others, and for a
	// server that is not to be reached, before it gives up; zero is 30 seconds. A
	// context that ends earlier ends the wait. A transaction whose client is
	// silent for so long, such as that of a machine that was cut off, is ended
	// by the server.
	BusyTimeout time.Duration

	// Clock is the clock of heartbeats; nil is that of the running system.
	Clock lifecycle.Clock

	// OnStop is called for every record that is stopped, descendants and the
	// records of lost machines included, inside the transaction that stops it,
	// after the event was written. tx is that transaction, for the host's own
	// tables; its Commit and Rollback are refused, and rows that are read from
	// it must be closed. An error undoes the stop. A stop that has to be tried
	// again calls it again, in a new transaction; only what is committed
	// counts. All other stops of the database wait while it runs. Effects
	// outside of the database belong after the commit:
	// [lifecycle.Cleaner.OnStopped], or a reader of [Store.Events], which has
	// all of them.
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
	maxPrefix          = 40 // names have 63 bytes, and the rest would be cut off
	defaultBusyTimeout = 30 * time.Second
	product            = "github.com/rollcall-go/rollcall/postgresstore"
	schemaVersion      = 1
)

// sql returns a statement that is written with the default prefix as the server
// takes it.
func (s *Store) sql(statement string) string { return s.statements.Text(statement) }

// Owner implements [lifecycle.Registrar].
func (s *Store) Owner() string { return s.options.Owner }
