package lifecycle

import (
	"context"
	"encoding/json"

	"github.com/rollcall-go/rollcall/liveness"
)

// Registrar is a [Store] together with all that a host does with its records
// while they are registered. The stores of this module implement it: memstore,
// filestore, sqlitestore and postgresstore. Package storetest checks one.
//
// A method that is given a Record goes by its Name and Incarnation. With an error
// nothing was written, unless the store says otherwise. Methods are safe for
// concurrent use, also by several processes where they share the records.
type Registrar interface {
	Store

	// Owner is the machine or device whose records this store registers, and
	// which a [Cleaner] without an Owner judges; empty is none in particular.
	Owner() string

	// Launch registers a record in phase Launching, before its process is
	// started, and returns it as stored: a new UUIDv7 where Incarnation was empty,
	// the store's where Owner was, the present where CreatedAt was zero, a
	// heartbeat of now. Keep what it returns: its Name and Incarnation are what
	// the other methods go by.
	//
	// It takes no Identity, and no Phase but Launching or the zero one: its process
	// is not started yet, and Activate sets both. To resume from a snapshot, launch a
	// new Record with its Name, Owner, Parent and Data.
	//
	// The error matches [ErrNameTaken] when a record has the name ([Registrar.Record]
	// returns it, and [Cleaner.Decide] says what has become of it), and
	// [ErrInvalidRecord] for a record that cannot be stored, that has an Identity or
	// another Phase, or whose incarnation this name has had before.
	Launch(ctx context.Context, record Record) (Record, error)

	// Activate puts a record into phase Running with the identity of its
	// process, and counts as a heartbeat. The zero Identity is right where no
	// process is tracked: heartbeats alone decide then.
	//
	// The error matches [ErrNotRegistered] when the record was stopped or its
	// name registered anew: the process has no record. It matches
	// [liveness.ErrInvalid] for an identity that no process can have.
	Activate(ctx context.Context, record Record, identity liveness.Identity) error

	// Deactivate puts a record into phase Inactive, without a process, and counts
	// as a heartbeat. Activate makes it run again. The error matches
	// [ErrNotRegistered] as for Activate.
	Deactivate(ctx context.Context, record Record) error

	// Heartbeat notes a sign of life. On a launching record it restarts the time
	// that this has to come up. It is the one write that a loss of power may undo.
	// The error matches [ErrNotRegistered] as for Activate.
	Heartbeat(ctx context.Context, record Record) error

	// SetData replaces the Data of a record, such as with an ID that a host learns
	// from the process; nil is none. It is no sign of life and no registration:
	// heartbeat and phase stay, and a [Watcher] need not know, for nothing is
	// decided by Data. A stop of the record as it was read before still goes
	// through, and its snapshot has the new Data. The store keeps a copy.
	//
	// The error matches [ErrNotRegistered] as for Activate, and
	// [ErrInvalidRecord] for Data that [Record.Validate] refuses.
	SetData(ctx context.Context, record Record, data json.RawMessage) error

	// Bind binds a key, such as the name of a session, to a record until the
	// record is stopped or the key is bound to another one. Snapshots list the
	// keys; Bound finds the record.
	//
	// The error matches [ErrNotRegistered] as for Activate, and
	// [ErrInvalidRecord] for a key that is not UTF-8.
	Bind(ctx context.Context, record Record, key string) error

	// Record returns the record of a name, and Bound the one that a key is bound
	// to. The error matches [ErrNotRegistered] when there is none, and
	// [ErrInvalidRecord] when it cannot be decoded.
	Record(ctx context.Context, name string) (Record, error)
	Bound(ctx context.Context, key string) (Record, error)

	// Records returns all records, also those of other owners, oldest
	// registration first. What cannot be decoded is left out and named in the
	// error, which comes with the others and matches [ErrInvalidRecord].
	Records(ctx context.Context) ([]Record, error)

	// Events returns the stopped events with a Seq above after, oldest first, at
	// most 1,000 of them: call again with the last Seq for more.
	//
	// An event whose snapshot cannot be decoded comes with what is left of it,
	// such as its name, and is named in the error, which comes with all events
	// and matches [ErrInvalidRecord].
	Events(ctx context.Context, after int64) ([]Event, error)

	// Snapshot returns the snapshot of the newest stop of a name, for resuming
	// it. The error matches [ErrNoSnapshot] when that name was never stopped, and
	// [ErrInvalidRecord] when the snapshot cannot be decoded.
	Snapshot(ctx context.Context, name string) (Snapshot, error)

	// Registrations returns a number that is another one whenever a record was
	// registered or its phase or process changed since it was read last, by
	// whatever process. A heartbeat or a stop need not change it. A [Watcher] asks
	// for it before it reads all records; any other Store may have the method too.
	Registrations(ctx context.Context) (int64, error)

	// Gate returns the place for a [BootGate] in this store.
	Gate() KV
}
