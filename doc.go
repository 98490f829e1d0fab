// Package rollcall is the overview of a module that calls the roll of the
// processes a program has on record, when the program starts: which of them
// are still the same living processes? The records of the others are stopped,
// exactly once, each with an event and a snapshot to resume from.
//
// The package holds no code. Data flows one way through those that do:
//
//   - [github.com/rollcall-go/rollcall/bootid]: which boot of which machine
//     this is, and how long it has been awake.
//   - [github.com/rollcall-go/rollcall/liveness]: what to record about a
//     process, and whether that process still lives. Its subpackage
//     livenesstest is a scripted machine for tests.
//   - [github.com/rollcall-go/rollcall/lifecycle]: records, the decision what
//     to do with them, the Cleaner that does it and the BootGate that does it
//     once per boot. It depends on a Store interface of two methods; its
//     subpackage storetest checks an implementation; memstore is one in
//     memory.
//   - [github.com/rollcall-go/rollcall/filestore]: a Store in plain files, for
//     hosts without a database.
//   - github.com/rollcall-go/rollcall/sqlitestore, a module of its own: a
//     Store over the host's own database/sql SQLite database.
//   - github.com/rollcall-go/rollcall/postgresstore, a module of its own: a
//     Store for many machines that share one PostgreSQL.
//
// Programs to run and to copy are in the module
// github.com/rollcall-go/rollcall/examples.
//
// # Platforms
//
//	system           boot ID  start  unique  marker  proven by
//	Linux >= 6.9     native   yes    yes     yes     tests on real processes, Linux 6.18
//	Linux before     native   yes    no      yes     the same tests with the unique number switched off; Linux 6.1
//	Android          denied   see    below   yes     type-checked only
//	Windows          see (1)  yes    see (2) yes     tests on Wine 8; never run on Windows itself
//	macOS            native   yes    no      yes     tests on a played kernel; never run on macOS itself
//	FreeBSD          native   yes    no      yes     the same; before FreeBSD 13 the boot ID is derived
//	OpenBSD, NetBSD  derived  yes    no      yes     the same
//	DragonFly        derived  yes    no      no      the same
//	every other      no       no     no      no      type-checked only: verdicts are Unknown
//
// docs/platforms.md has where each comes from and what it is worth; tests hold it
// against what the code does.
//
// In containers, and on an older kernel; CI runs the tests in each of them:
//
//	place                      boot ID                PID namespace       unique
//	runc and what uses it      native, the host's     its own             as on the host
//	bubblewrap, firejail       native, the host's     its own             as on the host
//	systemd-nspawn, LXC        given to each          its own             as on the host
//	gVisor                     native, of a sandbox   number 5, in each   no
//	Linux 6.1                  native                 the first one       no
//
// A given boot ID was put over the kernel's, which a program in the container may
// still see: an unequal one proves nothing.
//
// Android denies the boot ID to applications. Without it equal start stamps and
// unique numbers prove nothing; an unequal stamp still proves another process. A
// process that may read it has all four.
//
// (1) Native where two places of Windows agree on its boot counter, otherwise
// derived from the time at which it started. (2) ProcessStartKey, where Windows
// gives it. Wine gives neither, so both are written after their documentation
// and not proven.
//
// # Guarantees
//
//   - A living process that this module captured is not called dead, and a dead
//     one is not called alive. In doubt the verdict is Unknown, and Unknown
//     alone stops nothing.
//   - One stopped event per registration of a name, whoever stops it, however
//     many do so at once, and wherever they are killed on the way.
//   - No record goes without its event and snapshot, and no binding outlives
//     its record.
//   - A name that was registered again is not stopped for what its earlier
//     registration was.
//
// The last three are properties of the Store; memstore keeps them as long as
// the process lives, sqlitestore, filestore and postgresstore across crashes.
//
// # Limits
//
// The package documentation of liveness and lifecycle lists what cannot be
// told: PIDs reused within one clock tick on kernels without pidfs, other PID
// namespaces, restored snapshots of virtual machines, stepped clocks where
// only wall times were recorded.
package rollcall
