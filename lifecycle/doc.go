// Package lifecycle decides what becomes of the records that a host keeps of
// its processes, and stops those whose process is gone.
//
// A [Cleaner] goes once through the records of a [Store], asks package liveness
// about each, and stops the ones that are due by the store's one stop path. A
// [BootGate] lets that happen once per boot. This is the line for a host's
// main:
//
//	report, err := cleaner.CleanOncePerBoot(ctx, gate)
//
// A [Watcher] does the same for a host that goes on running, within moments of a
// death. What a stop leaves alive, [Cleaner.Terminate] ends; what lives without a
// record, [Cleaner.Orphans] finds.
//
// The package holds the policy: no SQL and no system calls. A store only
// stores. Package memstore is one in memory, filestore one in plain files, and
// package storetest checks any other; sqlitestore, a module of its own, is one in
// SQLite.
//
// # What is decided
//
//	record                            decision
//	another owner's                   skipped, its process never asked about
//	Launching                         kept until LaunchTimeout; of another boot: stopped, launch_failed
//	Running, its process lives        kept
//	Running, its process is dead      stopped: exit:reboot, exit:died, exit:pid_reused, exit:zombie
//	Running, unknown or no process    kept until StaleAfter; a heartbeat of another boot is stale: stopped, stale
//	Inactive                          kept until InactiveAfter, then stopped, inactive
//
// Ages are awake time of the boot, so that neither a step of the wall clock nor
// a night in suspend changes a decision. Limits of zero are none. A heartbeat
// on a launching record restarts its LaunchTimeout.
//
// # Guarantees
//
//   - Unknown alone stops nothing: it takes a heartbeat that is too old.
//   - A record is stopped once, by whoever comes first, if the store keeps the
//     rules of [Store.Stop]. A name that was registered again is another
//     incarnation and is spared; so is a record that changed after it was judged.
//   - One record's error never keeps the others from being handled.
//   - The gate saves cost and is not what makes a pass safe: two passes at
//     once, or one too many, do no harm.
//
// # Limits
//
//   - A record is stopped with its descendants, whatever their own state or
//     owner: leave [Record.Parent] empty where that is wrong.
//   - Machines that have no machine ID, or were cloned with one, are told
//     apart by [Record.Owner] alone. A sandbox with a kernel of its own, such as
//     gVisor's, is a machine in this sense: where several of them share a store at
//     once, each needs an owner, or the heartbeats and launches of one look like
//     those of an earlier boot to the other.
//   - In a container of LXC or systemd-nspawn a heartbeat has no age to a program
//     that sees the kernel's boot ID in place of the container's.
//
// # Errors
//
// Errors match [ErrInvalidRecord], [ErrChanged], [ErrNotRegistered],
// [ErrNameTaken], [ErrUnavailable], [ErrNotEnded] or [ErrMisconfigured], or those
// of the store, of the KV and of the context, wrapped.
package lifecycle
