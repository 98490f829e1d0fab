package postgresstore

import "errors"

var (
	// ErrNewerSchema is returned by [New] when a newer version of this package
	// made the tables. Nothing is read or written then.
	ErrNewerSchema = errors.New("schema of a newer version")
	// ErrForeignSchema is returned by [New] when tables with the prefix exist
	// that this package did not make.
	ErrForeignSchema = errors.New("foreign tables")
	// ErrInvalidOptions is returned by [New] for a missing pool or a prefix that
	// is not an SQL name, and by [Store.Join] for a negative TTL.
	ErrInvalidOptions = errors.New("invalid options")
	// ErrOwner is returned by [Store.Launch], together with
	// [lifecycle.ErrInvalidRecord], for a record whose owner is not that of the
	// store, or that has none in a store without one, and by [Store.Join] of a
	// store without an owner.
	ErrOwner = errors.New("no owner, or another one")
	// ErrFenced is returned by every write of a machine whose lease others have
	// taken over, and of one that has a lease but writes without it. Nothing
	// was written.
	ErrFenced = errors.New("fenced: the lease is not that of this machine any more")
	// ErrOutcomeUnknown is returned, together with the cause, when the connection
	// was cut during a commit and the server could not be asked in time whether
	// the transaction took place. A retry is safe.
	ErrOutcomeUnknown = errors.New("it is not known whether the transaction took place")
)
