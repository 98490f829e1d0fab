// Package filestore keeps records, stopped events and gates in text files, for a
// host without a database. It needs a directory on a local file system.
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
//	// At each start of the host: once per boot, stop what is gone.
//	gate := &lifecycle.BootGate{KV: store.Gate()}
//	report, err := lifecycle.Cleaner{Store: store}.CleanOncePerBoot(ctx, gate)
//
// # Guarantees
//
// A method that returns without an error has written to the disk: its result
// survives a crash and a loss of power. [Store.Heartbeat] is the exception. A
// method that returns an error has written nothing, unless the error says that
// what was written could not be taken back.
//
// Any number of processes may use one directory. A garbled line of a file is
// reported and kept, never dropped.
//
// # Limits
//
// It is for thousands of records: all are held in memory, and the first call of a
// process reads them. It is not for network file systems. On systems without file
// locks (AIX, Solaris, Plan 9, js/wasm) errors match [errors.ErrUnsupported].
//
// The page docs/filestore.md of the module describes the files, who may read
// them, how they are repaired, and the reasons for their format.
//
// # Errors
//
// Errors match [ErrNewerVersion], [ErrForeignFile], [ErrGarbled],
// [lifecycle.ErrNoSnapshot], [lifecycle.ErrInvalidRecord], [lifecycle.ErrNameTaken],
// [lifecycle.ErrNotRegistered], [lifecycle.ErrChanged], or
// [lifecycle.ErrUnavailable] when others keep the lock for longer than BusyTimeout
// or a file cannot be read or written. They wrap the error of the file system,
// such as [io/fs.ErrPermission] or syscall.ENOSPC, or that of the context.
package filestore
