// Package postgresstore keeps the records of many machines in one PostgreSQL
// database, in tables beside the host's own, over the host's [pgxpool.Pool]. When a
// machine is lost, the others stop its records.
//
//	store, err := postgresstore.New(ctx, pool, postgresstore.Options{Owner: "machine-7"})
//	lease, err := store.Join(ctx, postgresstore.LeaseOptions{})
//	store = lease.Store() // this machine writes through its lease
//	gate := &lifecycle.BootGate{KV: store.Gate()}
//	report, err := lifecycle.Cleaner{Store: store}.CleanOncePerBoot(ctx, gate)
//	err = lease.Run(ctx) // in a goroutine: beats, and stops the records of lost machines
//
//	record, err := store.Launch(ctx, lifecycle.Record{Name: "worker"})
//	marker := liveness.Plant(cmd)
//	err = cmd.Start()
//	identity, err := liveness.CaptureProcess(cmd.Process)
//	identity.Marker = marker
//	err = store.Activate(ctx, record, identity)
//
// Every record has an owner, the machine that it belongs to. A machine judges only
// its own records. [Options] says how a store is used, [Lease] how a machine is
// found to be lost, and [New] what the package does to connections.
//
// # Guarantees
//
// A stop is one transaction. It writes the event with its snapshot and deletes the
// record and its bindings, and does the same for the descendants. A unique key makes
// a second stopped event for one incarnation impossible. If the connection is cut
// during the commit, the call finds out over another one whether the transaction
// took place: at most one call returns [lifecycle.Stopped].
//
// Events are numbered in the order in which they commit, so a reader who goes on
// from the last one misses none.
//
// Nobody takes the records of a machine over while its lease holds. Once others have
// done so, the machine can write nothing under that lease: it is fenced, [ErrFenced].
//
// What a method other than [Store.Heartbeat] has acknowledged survives a crash of
// the server and of its machine, as far as its disk keeps what it acknowledges.
//
// # Errors
//
// An error means that nothing was written, unless it matches [ErrOutcomeUnknown]. It
// matches [lifecycle.ErrUnavailable] when others kept a lock, or the server could
// not be reached, for longer than [Options.BusyTimeout]. Other errors match those of
// this package or of package lifecycle, or wrap that of the driver or the context.
package postgresstore
