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
// A [World] is a [liveness.Liveness], a [liveness.Opener] and a lifecycle.Clock.
// Its verdicts follow the rules of package liveness on Linux, its processes take
// signals as on Linux, whatever system the test runs on. What a host does to its
// processes can be tested too:
//
//	world.Ignore(worker.PID, syscall.SIGTERM)
//	cleaner.Terminate = &lifecycle.Termination{Grace: time.Second}
//	outcome, err := cleaner.Stop(ctx, record, cause)
//	// world.Signals() is map[worker.PID: {SIGTERM, SIGCONT, SIGKILL}]
//
// The grace passes at once in a bubble of [testing/synctest].
package livenesstest

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/liveness"
)

// ErrDenied is the Err of a verdict about a process that [World.Deny] hides, and
// the error of [World.Boot] where the [View] has no boot ID.
var ErrDenied = errors.New("permission denied by the test")

// World is a scripted machine with one process, the one that judges, and
// whatever others the test starts. [New] makes one. It is safe for concurrent
// use.
//
// A method that is given a PID that no process has does nothing, unless it starts a
// process.
type World struct {
	mu         sync.Mutex
	view       View
	bootIDs    uint64        // how many boot IDs there were so far
	awake      time.Duration // of this boot
	suspended  time.Duration // of this boot
	wall       time.Time
	namespaces uint64 // the last number given to a PID namespace
	nextPID    int
	unique     uint64 // the last one given

	noUnique, exclusive, sameMachine bool

	self      *process
	processes map[int]*process
	signals   map[int][]os.Signal
	waiting   map[chan struct{}]struct{} // closed when a process ends or is let go
}

// process is a process that runs, or has exited.
type process struct {
	pid           int
	start, unique uint64
	began         time.Time // in wall time, as the clock of now has it
	environ       []string
	denied        bool
	exited        bool

	group   *process // the leader of its group
	paused  bool
	pending []os.Signal // come while it was paused
	ignores []os.Signal
}

var (
	_ liveness.Liveness = (*World)(nil)
	_ liveness.Opener   = (*World)(nil)
)

const (
	// markerVariable is that of the zero liveness.Options.
	markerVariable = "ROLLCALL_MARKER"
	// tick is the step of start stamps, that of Linux.
	tick = 10 * time.Millisecond
	// firstPID is the PID of the process that judges.
	firstPID = 100
)

// New returns a machine in its first boot, one minute after it has started,
// with one process: the one that judges, see [World.Self].
func New() *World {
	w := &World{
		view:       firstView,
		namespaces: firstView.Namespace.PID, wall: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC),
		waiting: map[chan struct{}]struct{}{},
	}
	w.boot()
	return w
}

// Start starts a process under a free PID, and returns its identity.
func (w *World) Start() liveness.Identity { return w.startUnder(0, "") }

// StartMarked starts a process with a marker in its environment.
func (w *World) StartMarked(marker string) liveness.Identity { return w.startUnder(0, marker) }

// Reuse ends the process that has the PID, if one has, and gives the number to
// another process, whose identity it returns. Unless time has passed, its start
// stamp may be the same.
func (w *World) Reuse(pid int) liveness.Identity { return w.startUnder(pid, "") }

func (w *World) startUnder(pid int, marker string) liveness.Identity {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.start(pid)
	id := w.identity(p, w.view.Namespace)
	if marker != "" {
		p.environ = append(p.environ, markerVariable+"="+marker)
		id.Marker = marker
	}
	return id
}

// StartElsewhere starts a process in another PID namespace of this machine, as
// in a container, and returns the identity that was recorded there.
func (w *World) StartElsewhere() liveness.Identity {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unique++
	p := &process{pid: 1, start: w.stamp(), unique: w.unique}
	return w.identity(p, w.newNamespace())
}

// start starts a process under the PID, or for 0 under a free one. It is in the
// process group of the one that judges.
func (w *World) start(pid int) *process {
	if pid == 0 {
		for w.processes[w.nextPID] != nil {
			w.nextPID++
		}
		pid = w.nextPID
	}
	w.end(w.processes[pid])
	w.unique++
	p := &process{
		pid: pid, start: w.stamp(), unique: w.unique, began: w.wall,
		environ: []string{"PATH=/usr/bin"}, group: w.self,
	}
	w.processes[pid] = p
	w.nextPID = max(w.nextPID, pid+1)
	return p
}

// stamp is the start stamp of a process that starts now, outside of time
// namespaces. Time in suspend counts.
func (w *World) stamp() uint64 { return uint64((w.awake + w.suspended) / tick) }

// identity is what is recorded of a process in this view, but for the marker.
func (w *World) identity(p *process, namespace liveness.Namespace) liveness.Identity {
	id := liveness.Identity{PID: p.pid, Boot: w.view.Boot, Namespace: w.seen(namespace), Start: w.seenStamp(p.start)}
	if !w.noUnique {
		id.Unique = p.unique
	}
	return id
}

// Exec has the process execute a program with this environment. Its PID, Start
// and Unique stay the same; a marker that is not in the environment is lost. The
// entries are "NAME=value", with ROLLCALL_MARKER for a marker, or
// anything else without a NUL that a careless program passes on.
func (w *World) Exec(pid int, environ ...string) {
	w.change(pid, func(p *process) { p.environ = environ })
}

// Exit ends a process and has it waited for: its PID is free then.
func (w *World) Exit(pid int) {
	w.change(pid, w.end)
}

// ExitUnreaped ends a process that its parent does not wait for: a zombie.
func (w *World) ExitUnreaped(pid int) {
	w.change(pid, func(p *process) {
		w.end(p)
		w.processes[pid] = p
	})
}

// Deny makes all that is recorded of a process unreadable, whatever it is; only
// that its PID is in use is known. On Linux without pidfs this is so for
// another user's process under hidepid.
func (w *World) Deny(pid int) {
	w.change(pid, func(p *process) { p.denied = true })
}

// change does something to the process that has the PID, if one has.
func (w *World) change(pid int, change func(*process)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.processes[pid]; p != nil {
		change(p)
	}
}

// end has a process exit and be waited for.
func (w *World) end(p *process) {
	if p == nil {
		return
	}
	p.exited = true
	delete(w.processes, p.pid)
	w.wake()
}

// Reboot ends every process and begins another boot, whose first process is
// the one that judges. PIDs, unique numbers and the awake time start over. The
// boot ID is a new one of the same quality, and the machine ID stays: for a
// machine that repeats its boot ID, or has another machine ID in each boot, put
// them into the [View] afterwards.
func (w *World) Reboot() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.boot()
}

func (w *World) boot() {
	w.awake, w.suspended, w.unique = time.Minute, 0, 0
	w.enterBoot()
	w.restart()
}

// RestartContainer ends every process and continues in a new PID namespace of
// the same boot, as a container does. PIDs start over. A boot ID that the
// container was given is a new one.
func (w *World) RestartContainer() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.enterContainer()
	w.restart()
}

// restart ends all processes and starts the one that judges.
func (w *World) restart() {
	for _, p := range w.processes {
		w.end(p)
	}
	w.nextPID, w.processes, w.signals = firstPID, map[int]*process{}, map[int][]os.Signal{}
	w.self = w.start(0)
	w.self.group = w.self
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

// Boot returns the boot ID of the [View]. Where that has none, the error matches
// [ErrDenied], and the ID holds the machine alone.
func (w *World) Boot() (bootid.ID, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.view.Boot.Boot == "" {
		return w.view.Boot, errNoBoot
	}
	return w.view.Boot, nil
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
	return w.identity(w.self, w.view.Namespace), nil
}
