package lifecycle

import "errors"

var (
	// ErrInvalidRecord is returned for a [Record] that cannot be stored or
	// judged: without a name or an incarnation, with a phase that does not
	// exist, or with Data that is no JSON or is nested too deep. [Registrar.Launch]
	// returns it also for a record with an Identity, or in a phase that no launch
	// has.
	ErrInvalidRecord = errors.New("invalid record")

	// ErrChanged is returned by [Store.Stop] when [Cause.IfUnchanged] is set
	// and the stored record is no longer as it was read. Nothing happened;
	// read it and judge it again.
	ErrChanged = errors.New("record changed since it was read")

	// ErrUnavailable is returned by a store that cannot be used for now, such
	// as a database that others have kept locked for longer than it waits.
	// A [Cleaner] then ends its pass: what holds up one record would hold up
	// all others too.
	ErrUnavailable = errors.New("store is unavailable")

	// ErrNotRegistered is returned by the methods of a [Registrar] that are
	// about one record when there is none of that name, key or incarnation: it
	// was stopped, or the name was registered again.
	ErrNotRegistered = errors.New("not registered")

	// ErrNameTaken is returned by [Registrar.Launch] for a name that a record
	// has already. Stop that record first.
	ErrNameTaken = errors.New("name is taken")

	// ErrNoSnapshot is returned by [Registrar.Snapshot] when no record of that
	// name was ever stopped.
	ErrNoSnapshot = errors.New("no snapshot")

	// ErrNotEnded is returned when a record was stopped, but its process could
	// not be ended, see [Cleaner.Terminate]: it may live on without a record.
	ErrNotEnded = errors.New("the record is stopped, but its process was not ended")

	// ErrMisconfigured is returned when a required field of a [Cleaner] or a
	// [BootGate] is missing, or the gate itself, and by a [Watcher] whose Cleaner
	// is a DryRun.
	ErrMisconfigured = errors.New("misconfigured")
)
