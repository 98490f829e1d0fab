// Package postgresstore keeps records, stopped events and gates in PostgreSQL,
// for many machines that share one database, in tables of their own beside the
// host's, over the host's own [pgxpool.Pool].
//
//	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
//	store, err := postgresstore.New(ctx, pool, postgresstore.Options{Owner: "machine-7"})
//
//	record, err := store.Launch(ctx, lifecycle.Record{Name: "worker", Owner: "machine-7"})
//	marker := liveness.Plant(cmd)
//	err = cmd.Start()
//	identity, err := liveness.CaptureProcess(cmd.Process)
//	identity.Marker = marker
//	err = store.Activate(ctx, record, identity)
//
// # Machines
//
// Every record has an owner, the machine that it belongs to, and a machine judges
// its own alone: with [Options.Owner] a [lifecycle.Cleaner] sees no others, and
// the gate is that machine's. A machine that never comes back is found by its
// lease:
//
//	lease, err := store.Join(ctx, postgresstore.LeaseOptions{TTL: 30 * time.Second})
//	store = lease.Store() // all writes of this machine go through its lease
//	cleaner := lifecycle.Cleaner{Store: store, Owner: "machine-7"}
//	report, err := cleaner.CleanOncePerBoot(ctx, gate)
//	err = lease.Run(ctx) // beats, and takes over; ErrFenced: this machine was taken over
//
// A beat renews the lease for all records of the machine at once. All times are
// those of the server's clock: what the clocks of the machines show decides
// nothing. When a lease has run out, the machines that are left stop its records
// with reason [lifecycle.ReasonHostLost], each once, in batches that they share.
//
// # Guarantees
//
// A stop is one transaction: the event with its snapshot is written and the
// record and its bindings are deleted together, descendants included. A unique
// key makes a second stopped event for one incarnation impossible. What a
// method has acknowledged survives a crash of the server and of its machine
// (synchronous_commit is on for each write, [Store.Heartbeat] excepted), as far
// as the disk keeps what it acknowledges.
//
// Where the connection is cut in the commit, the call finds out with another one
// whether its transaction took place: [lifecycle.Stopped] is returned for one
// call at most.
//
// Events are numbered in the order in which they are committed, so a reader who
// goes on from the last one that it has seen misses none.
//
// While the lease of a machine holds, nobody takes its records over. Once it was
// taken over the machine can write nothing under it: every write locks the lease
// of its machine, so that it is either committed before or refused with
// [ErrFenced].
//
// # Rules for faults
//
//   - A machine that is cut off, or paused, for longer than TTL is taken for
//     lost. It learns so at its next beat, or write: [ErrFenced]. Its processes
//     may still run, without a record. It joins again and registers anew.
//   - A lease that has run out and that nobody has taken over is renewed by the
//     next beat.
//   - A server that was away, or whose clock was set forward, makes the leases of
//     all machines run out at once. Therefore a machine may take over another
//     only if it has itself been beating, without a gap of more than half of its
//     TTL, for the TTL of the other: after such an event everybody has a whole
//     TTL to beat first. One whose own TTL is longer than that of the other, and
//     so the gaps that it does not count, waits for the mean of both. A clock that was set back delays a take-over by as much.
//   - A transaction whose client is gone without a word is ended by the server
//     after BusyTimeout, and its locks with it.
//
// # What it does to connections
//
// Each call takes one connection of the pool. Writes are transactions of their
// own, READ COMMITTED whatever the host has set, which set lock_timeout,
// statement_timeout, idle_in_transaction_session_timeout and synchronous_commit
// for themselves alone, and hold an advisory lock with a random number.
// [Store.Follow] holds a connection while it waits. Pools that use no
// prepared statements will do.
//
// # Limits
//
// Two machines with one owner's name share a lease, and stop each other's
// records. A server that fails over to a replica must replicate synchronously:
// otherwise what was acknowledged may be gone. PostgreSQL 15 is tested.
//
// A stop by a machine takes descendants along, also those on other machines; a
// take-over does not.
//
// # Errors
//
// Errors match [ErrNewerSchema], [ErrForeignSchema], [ErrInvalidOptions],
// [lifecycle.ErrNoSnapshot], [ErrOwner], [ErrFenced], [lifecycle.ErrInvalidRecord],
// [lifecycle.ErrNameTaken], [lifecycle.ErrNotRegistered], [lifecycle.ErrChanged],
// or [lifecycle.ErrUnavailable] when others kept a lock, or the server was not to
// be reached, for longer than BusyTimeout, or wrap the error of the driver or of
// the context. An error means that nothing was written, unless it matches
// [ErrOutcomeUnknown].
package postgresstore
