// Package livenesstest has a scripted machine for tests: processes start,
// exit and lose their PIDs, the machine reboots and sleeps, exactly when the
// test says so, and no real process is involved.
//
//	world := livenesstest.New()
//	worker := world.Start()
//	world.Reboot()
//	cleaner := lifecycle.Cleaner{Store: store, Liveness: world, Clock: world}
//	report, err := cleaner.Clean(ctx)
//
// A [World] is a [liveness.Liveness], and a lifecycle.Clock. Its verdicts
// follow the rules of package liveness on Linux.
package livenesstest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/liveness"
)

// ErrDenied is the Err of a verdict about a process that [World.Deny] hides.
var ErrDenied = errors.New("permission denied by the test")

// World is a scripted machine with one process, the one that judges, and
// whatever others the test starts. [New] makes one. It is safe for concurrent
// use.
type World struct {
	mu        sync.Mutex
	boots     int
	awake     time.Duration // of this boot
	suspended time.Duration // of this boot
	wall      time.Time
	namespace namespace
	given     uint64 // the last namespace number given
	nextPID   int
	unique    uint64 // the last one given
	noUnique  bool
	exclusive bool
	self      liveness.Identity
	processes map[int]*process
}

type namespace struct{ number, initStart uint64 }

type process struct {
	start, unique uint64
	began         time.Time // in wall time, as the clock of now has it
	marker        string
	zombie        bool
	denied        bool
}

var _ liveness.Liveness = (*World)(nil)

const (
	// tick is the step of start stamps, that of Linux.
	tick = 10 * time.Millisecond
	// firstNamespace is the number that Linux gives to the PID namespace in
	// which it boots, and timeNamespace to the time namespace.
	firstNamespace = 4026531836
	timeNamespace  = 4026531834
	// firstPID is the PID of the process that judges.
	firstPID = 100
	// maxPID is the largest that Linux gives.
	maxPID = 1 << 22
	// windowTolerance is that of package liveness.
	windowTolerance = 2 * time.Second
)

// New returns a machine in its first boot, one minute after it has started,
// with one process: the one that judges, see [World.Self].
func New() *World {
	w := &World{given: firstNamespace, wall: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)}
	w.boot()
	return w
}

func (w *World) boot() {
	w.boots++
	w.awake, w.suspended, w.unique = time.Minute, 0, 0
	// The first process starts at another moment in each boot.
	w.namespace = namespace{firstNamespace, uint64(w.boots)}
	w.restart()
}

func (w *World) restart() {
	w.nextPID, w.processes = firstPID, map[int]*process{}
	w.self = w.start(w.freePID(), "")
}

// Start starts a process under a PID that nobody has, and returns its identity.
func (w *World) Start() liveness.Identity {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.start(w.freePID(), "")
}

// StartMarked starts a process with a marker in its environment.
func (w *World) StartMarked(marker string) liveness.Identity {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.start(w.freePID(), marker)
}

// StartElsewhere starts a process in another PID namespace of this machine, as
// in a container, and returns the identity that was recorded there.
func (w *World) StartElsewhere() liveness.Identity {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.given++
	w.unique++
	ns := namespace{w.given, w.stamp()}
	return w.identity(1, &process{start: w.stamp(), unique: w.unique}, ns)
}

// Reuse ends the process that has the PID, if one has, and gives the number to
// another process, whose identity it returns. Unless time has passed, its start
// stamp may be the same.
func (w *World) Reuse(pid int) liveness.Identity {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.start(pid, "")
}

func (w *World) freePID() int {
	for w.processes[w.nextPID] != nil {
		w.nextPID++
	}
	return w.nextPID
}

func (w *World) start(pid int, marker string) liveness.Identity {
	w.unique++
	p := &process{start: w.stamp(), unique: w.unique, began: w.wall, marker: marker}
	w.processes[pid] = p
	w.nextPID = max(w.nextPID, pid+1)
	return w.identity(pid, p, w.namespace)
}

// stamp is the start stamp of a process that starts now. Time in suspend
// counts.
func (w *World) stamp() uint64 { return uint64((w.awake + w.suspended) / tick) }

func (w *World) identity(pid int, p *process, ns namespace) liveness.Identity {
	id := liveness.Identity{PID: pid, Boot: w.bootID(), Namespace: view(ns), Start: p.start, Marker: p.marker}
	if !w.noUnique {
		id.Unique = p.unique
	}
	return id
}

// Exit ends a process and has it waited for: nobody has its PID then.
func (w *World) Exit(pid int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.processes, pid)
}

// ExitUnreaped ends a process that its parent does not wait for: a zombie.
func (w *World) ExitUnreaped(pid int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.processes[pid]; p != nil {
		p.zombie = true
	}
}

// Deny makes all that is recorded of a process unreadable, whatever it is; only
// that its PID is in use is known. On Linux without pidfs this is so for
// another user's process under hidepid.
func (w *World) Deny(pid int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.processes[pid]; p != nil {
		p.denied = true
	}
}

// Reboot ends every process and begins another boot, whose first process is
// the one that judges. PIDs and all numbers start over.
func (w *World) Reboot() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.boot()
}

// RestartContainer ends every process and continues in a new PID namespace of
// the same boot, as a container does. PIDs start over.
func (w *World) RestartContainer() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.given++
	w.namespace = namespace{w.given, w.stamp()}
	w.restart()
}

// ExclusiveNamespace has the World judge as with
// [liveness.Options.ExclusiveNamespace].
func (w *World) ExclusiveNamespace() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.exclusive = true
}

// WithoutUnique has the World be a system that gives no unique numbers, such
// as Linux before 6.9. Processes that have the same PID and start stamp are
// the same to it.
func (w *World) WithoutUnique() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noUnique = true
	w.self.Unique = 0
}

// Advance lets time pass while the machine is awake.
func (w *World) Advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.awake += d
	w.wall = w.wall.Add(d)
}

// Suspend lets time pass while the machine sleeps: no process runs, and nothing
// grows older in awake time.
func (w *World) Suspend(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.suspended += d
	w.wall = w.wall.Add(d)
}

// StepClock sets the wall clock forward, or back. The wall time at which
// processes started, which the kernel computes from the clock of now, moves
// with it.
func (w *World) StepClock(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wall = w.wall.Add(d)
	for _, p := range w.processes {
		p.began = p.began.Add(d)
	}
}

// Now returns the wall time, such as a host writes into a row.
func (w *World) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wall
}

// Boot returns the boot ID. It never fails.
func (w *World) Boot() (bootid.ID, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bootID(), nil
}

// Awake returns the awake time of this boot. It never fails.
func (w *World) Awake() (time.Duration, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.awake, nil
}

// Self returns the identity of the process that judges. It never fails.
func (w *World) Self() (liveness.Identity, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.self, nil
}

func (w *World) bootID() bootid.ID {
	return bootid.ID{
		Machine: "00000000000000000000000000000001",
		Boot:    fmt.Sprintf("00000000-0000-4000-8000-%012d", w.boots),
		Quality: bootid.Native,
	}
}

func view(ns namespace) liveness.Namespace {
	return liveness.Namespace{PID: ns.number, PIDUnique: ns.number, InitStart: ns.initStart, Time: timeNamespace}
}
