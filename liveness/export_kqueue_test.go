package liveness

import (
	"os"
	"sync"

	"github.com/rollcall-go/rollcall/internal/pinned"
)

// FakeKqueue plays a kqueue and its kernel. A process has
// a PID and a start stamp; its zombie keeps the PID.
type FakeKqueue struct {
	mu        sync.Mutex
	wake      chan struct{}
	processes map[int]*FakeProcess
	notes     map[int]*FakeProcess // registrations, told or not
	told      []int
	stopped   bool
	open      int
	own       int
	checks    int

	// BeforeRegister, BeforeCheck and BeforeKill, if set, run at that point, once.
	BeforeRegister, BeforeCheck, BeforeKill func()
	// Late makes an end be told before the zombie is to be seen.
	Late bool
	// Blind makes checks be Unknown.
	Blind bool
}

// FakeProcess is one of its processes.
type FakeProcess struct {
	PID, Group int
	start      uint64
	zombie     bool
	Signals    []os.Signal
}

// NewFakeKqueue returns a kernel without processes.
func NewFakeKqueue() *FakeKqueue {
	return &FakeKqueue{wake: make(chan struct{}, 1), processes: map[int]*FakeProcess{}, notes: map[int]*FakeProcess{}, own: 1}
}

// Start gives a PID to a new process.
func (k *FakeKqueue) Start(pid, group int, start uint64) (*FakeProcess, Identity) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := &FakeProcess{PID: pid, Group: group, start: start}
	k.processes[pid] = p
	return p, Identity{PID: pid, Start: start}
}

// Exit makes a zombie of a process, and tells of it.
func (k *FakeKqueue) Exit(pid int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.processes[pid]
	p.zombie = !k.Late
	if k.notes[pid] == p {
		k.told = append(k.told, pid)
		k.signal()
	}
}

// Reap takes the PID away.
func (k *FakeKqueue) Reap(pid int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.processes, pid)
}

// Open is how many kqueues are open, Registered how many registrations there are.
func (k *FakeKqueue) Open() int       { k.mu.Lock(); defer k.mu.Unlock(); return k.open }
func (k *FakeKqueue) Registered() int { k.mu.Lock(); defer k.mu.Unlock(); return len(k.notes) }

// Checks is how often a process was judged.
func (k *FakeKqueue) Checks() int { k.mu.Lock(); defer k.mu.Unlock(); return k.checks }

// Pin opens a process as the Open of a system with a kqueue does.
func (k *FakeKqueue) Pin(id Identity) (*Process, error) { return openProcess(fakeView{k: k}, id) }

// Watch makes a Watch of it.
func (k *FakeKqueue) Watch() *Watch {
	k.mu.Lock()
	k.open++
	k.mu.Unlock()
	return newWatch(newKqueueMultiplexer(k, k.check))
}

type fakeView struct {
	processes // of which open alone is called
	k         *FakeKqueue
}

func (v fakeView) open(id *Identity) (pinned.Process, error) {
	v.k.mu.Lock()
	v.k.open++
	v.k.mu.Unlock()
	return newKqueuePin(v.k, v.k.check, id)
}

func (k *FakeKqueue) once(f *func()) {
	k.mu.Lock()
	run := *f
	*f = nil
	k.mu.Unlock()
	if run != nil {
		run()
	}
}

func (k *FakeKqueue) check(id *Identity) Verdict {
	k.once(&k.BeforeCheck)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.checks++
	p := k.processes[id.PID]
	switch {
	case k.Blind:
		return Verdict{Reason: Unreadable}
	case p == nil:
		return Verdict{State: Dead, Reason: NoProcess}
	case p.start != id.Start:
		return Verdict{State: Dead, Reason: PIDReused}
	default:
		return verdictOf(p.zombie)
	}
}

func (k *FakeKqueue) register(pid int) error {
	k.once(&k.BeforeRegister)
	k.mu.Lock()
	defer k.mu.Unlock()
	switch p := k.processes[pid]; {
	case k.notes[pid] != nil:
		return nil
	case p == nil || p.zombie:
		return ErrNoProcess
	default:
		k.notes[pid] = p
		return nil
	}
}

func (k *FakeKqueue) unregister(pid int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.notes, pid)
}

func (k *FakeKqueue) signal() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *FakeKqueue) ended(wait bool) ([]int, error) {
	if wait {
		<-k.wake
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	told := k.told
	k.told = nil
	for _, pid := range told {
		delete(k.notes, pid)
	}
	if k.stopped {
		return told, os.ErrClosed
	}
	return told, nil
}

func (k *FakeKqueue) interrupt() { k.mu.Lock(); defer k.mu.Unlock(); k.signal() }
func (k *FakeKqueue) reset()     {}

func (k *FakeKqueue) kill(pid int, sig os.Signal) error {
	k.once(&k.BeforeKill)
	k.mu.Lock()
	defer k.mu.Unlock()
	hit := false
	for _, p := range k.processes {
		if p.PID == pid || p.Group == -pid {
			p.Signals = append(p.Signals, sig)
			hit = true
		}
	}
	if !hit {
		return ErrNoProcess
	}
	return nil
}

func (k *FakeKqueue) exists(pid int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.processes {
		if p.PID == pid || p.Group == -pid {
			return nil
		}
	}
	return ErrNoProcess
}

func (k *FakeKqueue) group(pid int) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if pid == 0 {
		return k.own, nil
	}
	if p := k.processes[pid]; p != nil {
		return p.Group, nil
	}
	return 0, ErrNoProcess
}

func (k *FakeKqueue) close() error { k.mu.Lock(); defer k.mu.Unlock(); k.open--; return nil }
