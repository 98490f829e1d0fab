// Package lifecycle decides which of the records that a program, the host, keeps of
// its processes are over, and stops each of them once.
//
//	cleaner := lifecycle.Cleaner{Store: store, StaleAfter: time.Hour}
//	gate := &lifecycle.BootGate{KV: store.Gate()}
//	report, err := cleaner.CleanOncePerBoot(ctx, gate) // in main: the first start after a boot cleans
//
//	record, err := store.Launch(ctx, lifecycle.Record{Name: "web"}) // before a process is started
//	err = store.Activate(ctx, record, identity)                     // once it runs
//	err = store.SetData(ctx, record, data)                          // what a resume needs, as it is learned
//	outcome, err := cleaner.Stop(ctx, record, lifecycle.Cause{By: "user", Reason: "asked"})
//	snapshot, err := store.Snapshot(ctx, "web") // what it is resumed from
//
// A [Cleaner] goes through the records of a [Store], asks package liveness about
// each and stops what is due. A [Watcher] does so within moments of a death. A
// [Registrar] is a Store with all that a host does with records: memstore,
// filestore, sqlitestore and postgresstore. Package storetest checks others.
//
//	record                          decision
//	of another owner                skipped
//	Launching                       kept until LaunchTimeout; of another boot: launch_failed
//	Running, its process lives      kept
//	Running, its process is dead    stopped: exit:reboot, exit:died, exit:pid_reused, exit:zombie
//	Running, unknown or untracked   kept until StaleAfter; a heartbeat of another boot is stale
//	Inactive                        kept until InactiveAfter
//
// A limit of zero keeps such records. Unknown alone stops nothing. A record is stopped
// once, whoever comes first; one that changed after it was judged, or whose name was
// registered again, is spared. One record's error never keeps others from being judged.
//
// Errors match the Err variables here, or wrap that of the store, KV or context.
package lifecycle
