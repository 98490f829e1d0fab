// Package filestore keeps records, stopped events and gates in plain files, for a
// host that has no database. It needs nothing but a directory.
//
//	store, err := filestore.New(ctx, "/var/lib/host/records", filestore.Options{})
//
//	record, err := store.Launch(ctx, lifecycle.Record{Name: "worker"})
//	marker := liveness.Plant(cmd)
//	err = cmd.Start()
//	identity, err := liveness.CaptureProcess(cmd.Process)
//	identity.Marker = marker
//	err = store.Activate(ctx, record, identity)
//
// # Files
//
//	records.jsonl  a line for each change of a record: the whole record, after it
//	events.jsonl   a line for each stop, with the snapshot
//	gate           the state of the gate, see [Gate]
//	lock, turn     are locked by who works on the directory, and by who waits for
//	               that; both are always empty
//	gate.lock      the same for the gate
//
// All are text. The last line of a name in records.jsonl is what is known of it,
// unless events.jsonl has a stop of its incarnation:
//
//	grep '"name":"worker"' records.jsonl | tail -n 1
//	tail -f events.jsonl
//
// A line is a JSON object that ends in a checksum (CRC-32C) of what is before it,
// so that a line that was edited or damaged is noticed. Lines may be deleted by
// hand while no program uses the directory, not edited.
//
// Once the lines of records.jsonl that do not count any more outweigh the others,
// the next writer puts a new file in its place. events.jsonl only grows.
//
// # Why it is made like this
//
// A stop must write the event and take away the record and its bindings in one
// step. Here the event is all that is written: a record whose incarnation has an
// event is stopped, whatever records.jsonl says. So one append to one file,
// flushed to the disk, is the whole transaction, descendants included. If it is
// cut short, by kill -9 or a loss of power, its last line is missing or does not
// have its checksum; then it did not happen, and the next writer cuts it off.
// Nothing has to be rolled back or finished.
//
// A file for each record was the other choice. There a stop touches a file for
// each record and one for the log, which takes a journal that is played back, or
// an order of steps to be finished by whoever comes next; a stop has to look into
// every file for children; and a directory has to be flushed after each change,
// which Windows has no call for.
//
// # Guarantees
//
// What a method has acknowledged survives a crash of the process and a loss of
// power, heartbeats excepted, as far as the disk keeps what it acknowledges (on
// Windows a directory cannot be flushed: the names of new files are as safe as
// MOVEFILE_WRITE_THROUGH makes them). An error means that nothing was written,
// unless it says that what was written could not be taken back.
//
// Any number of processes may use one directory, each with any number of handles.
// They exclude each other by a lock of the system (flock(2), LockFileEx), of which
// the system lets go when its holder ends, in whatever way. Do not delete lock, turn
// or gate.lock while a program uses the directory: two would hold the lock.
//
// A garbled line of records.jsonl is never dropped. It is yielded as an error
// by [Store.Candidates] and named by file and line; if it tells its name, that
// name stays taken, is not judged, and can be stopped by who knows better, with
// the line in the snapshot. Delete the line to give it up. If it does not tell its
// name, the record of that name is as its line before has it.
//
// # Limits
//
// Not for network file systems (NFS, SMB, 9p and the like): locks, the order of
// writes and renames are promised there by nobody, so nothing is promised here.
//
// All records are held in memory, and the first call of a process reads
// records.jsonl. [Store.Snapshot], [Store.Events] and a Launch with an incarnation
// of the host's own read events.jsonl. This is for thousands of records; for more
// take sqlitestore.
//
// New files are readable for their owner alone, because they may hold what a
// program was started with. Where several users share a directory, change the
// permissions of the files: files that are replaced keep theirs, and their owner.
//
// On systems without flock(2) and LockFileEx (AIX, Solaris, Plan 9, js/wasm)
// errors match [errors.ErrUnsupported].
//
// # Errors
//
// Errors match [ErrNewerVersion], [ErrForeignFile], [ErrGarbled],
// [lifecycle.ErrNoSnapshot], [lifecycle.ErrInvalidRecord], [lifecycle.ErrNameTaken],
// [lifecycle.ErrNotRegistered], [lifecycle.ErrChanged], or
// [lifecycle.ErrUnavailable] when others kept the lock for longer than BusyTimeout
// or a file could not be read or written. They wrap the error of the file system,
// such as [io/fs.ErrPermission] or syscall.ENOSPC, or that of the context.
package filestore
