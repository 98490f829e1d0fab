// Package livenesstest has a scripted machine for tests: processes start,
// exit and lose their PIDs, the machine reboots and sleeps, exactly when the
// test says so, and no real process is involved.
//
//	world := livenesstest.New()
//	worker := world.Start()
//	world.Reboot()
//	cleaner := lifecycle.Cleaner{Store: store, Liveness: world, Clock: world}
//
// A [World] is a [liveness.Liveness], and a lifecycle.Clock. Its verdicts
// follow the rules of package liveness for the boot, the PID namespace, the
// unique number, the start stamp and the marker; bounds in wall time are not
// simulated.
package livenesstest

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/liveness"
)

// ErrDenied is the Err of a verdict about a process that [World.Deny] hides.
var ErrDenied = errors.New("permission denied by the test")

// tick is the step of start stamps, that of Linux.
const tick = 10 * time.Millisecond

// World is a scripted machine. [New] makes one. It is safe for concurrent use.
type World struct {
	mu        sync.Mutex
	boots     int
	awake     time.Duration
	namespace uint64
	nextPID   int
	unique    uint64 // the last one given
	noUnique  bool
	exclusive bool
	self      liveness.Identity
	processes map[int]*process
}

type process struct {
	start, unique uint64
	marker        string
	zombie        bool
	denied        bool
}

var _ liveness.Liveness = (*World)(nil)

// firstNamespace is the number that Linux gives to the PID namespace in which
// it boots.
const firstNamespace = 4026531836

// New returns a machine in its first boot, one minute after it has started,
// with one process: the one that judges, see [World.Self].
func New() *World {
	w := &World{namespace: firstNamespace}
	w.boot()
	return w
}

func (w *World) boot() {
	w.boots++
	w.awake, w.unique, w.nextPID = time.Minute, 0, 100
	w.processes = map[int]*process{}
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

// Reuse ends the process that has the PID, if one has, and gives the number to
// another process, whose identity it returns.
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
	p := &process{start: uint64(w.awake / tick), unique: w.unique, marker: marker}
	w.processes[pid] = p
	w.nextPID = max(w.nextPID, pid+1)
	id := liveness.Identity{PID: pid, Boot: w.bootID(), Namespace: w.view(), Start: p.start, Marker: marker}
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

// Deny makes all that is known about a process unreadable, as for one of
// another user.
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
	w.namespace++
	w.nextPID, w.processes = 100, map[int]*process{}
	w.self = w.start(w.freePID(), "")
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
}

// Advance lets time pass while the machine is awake. Time in suspend and steps
// of the wall clock have no method, because they have no effect.
func (w *World) Advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.awake += d
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

func (w *World) view() liveness.Namespace {
	return liveness.Namespace{PID: w.namespace, PIDUnique: w.namespace, InitStart: 1, Time: 4026531834}
}

// Check implements [liveness.Liveness].
func (w *World) Check(id liveness.Identity) liveness.Verdict {
	if id.IsZero() {
		return liveness.Verdict{}
	}
	if id.PID < 1 || uint64(id.PID) > math.MaxUint32 {
		return liveness.Verdict{Reason: liveness.Unreadable, Err: fmt.Errorf("%w: PID %d", liveness.ErrInvalid, id.PID)}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	relation := id.Boot.Compare(w.bootID())
	otherNamespace := id.Namespace.PID != 0 && id.Namespace.PID != w.namespace
	switch {
	case relation == bootid.OtherMachine:
		return liveness.Verdict{Reason: liveness.OtherMachine}
	case relation == bootid.OtherBoot && (!otherNamespace || w.exclusive):
		return liveness.Verdict{State: liveness.Dead, Reason: liveness.Rebooted}
	case otherNamespace && w.exclusive:
		return liveness.Verdict{State: liveness.Dead, Reason: liveness.OtherNamespace}
	case otherNamespace:
		return liveness.Verdict{Reason: liveness.OtherNamespace}
	}
	return w.judge(id, relation == bootid.SameBoot)
}

func (w *World) judge(id liveness.Identity, sameBoot bool) liveness.Verdict {
	p := w.processes[id.PID]
	var same bool
	switch {
	case p == nil:
		return liveness.Verdict{State: liveness.Dead, Reason: liveness.NoProcess}
	case p.denied:
		return liveness.Verdict{Reason: liveness.Unreadable, Err: ErrDenied}
	case sameBoot && id.Unique != 0 && !w.noUnique:
		same = id.Unique == p.unique
	case sameBoot && id.Start != 0:
		same = id.Start == p.start
	case id.Marker != "":
		same = id.Marker == p.marker
	default:
		return liveness.Verdict{Reason: liveness.NoEvidence}
	}
	switch {
	case !same:
		return liveness.Verdict{State: liveness.Dead, Reason: liveness.PIDReused}
	case p.zombie:
		return liveness.Verdict{State: liveness.Dead, Reason: liveness.Zombie}
	default:
		return liveness.Verdict{State: liveness.Alive, Reason: liveness.SameProcess}
	}
}
