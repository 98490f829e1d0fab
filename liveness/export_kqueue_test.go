package liveness

import (
	"os"
	"sync"
)

// FakeKernel plays the kernel of macOS and the BSDs for kqueue.go. A process has
// a PID and a start stamp; its zombie keeps the PID.
type FakeKernel struct {
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

// NewFakeKernel returns a kernel without processes.
func NewFakeKernel() *FakeKernel {
	return &FakeKernel{wake: make(chan struct{}, 1), processes: map[int]*FakeProcess{}, notes: map[int]*FakeProcess{}, own: 1}
}

// Start gives a PID to a new process.
func (k *FakeKernel) Start(pid, group int, start uint64) (*FakeProcess, Identity) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := &FakeProcess{PID: pid, Group: group, start: start}
	k.processes[pid] = p
	return p, Identity{PID: pid, Start: start}
}

// Exit makes a zombie of a process, and tells of it.
func (k *FakeKernel) Exit(pid int) {
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
func (k *FakeKernel) Reap(pid int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.processes, pid)
}

// Open is how many kqueues are open, Registered how many registrations there are.
func (k *FakeKernel) Open() int       { k.mu.Lock(); defer k.mu.Unlock(); return k.open }
func (k *FakeKernel) Registered() int { k.mu.Lock(); defer k.mu.Unlock(); return len(k.notes) }

// Checks is how often a process was judged.
func (k *FakeKernel) Checks() int { k.mu.Lock(); defer k.mu.Unlock(); return k.checks }

// Pin opens a process as the Open of a system with a kqueue does.
func (k *FakeKernel) Pin(id Identity) (*Process, error) { return openProcess(fakeView{k: k}, id) }

// Watch makes a Watch of it.
func (k *FakeKernel) Watch() *Watch {
	k.mu.Lock()
	k.open++
	k.mu.Unlock()
	return newWatch(newKqueueMultiplexer(k, k.check))
}

type fakeView struct {
	processes // of which pin alone is called
	k         *FakeKernel
}

func (v fakeView) pin(id *Identity) (Hold, error) {
	v.k.mu.Lock()
	v.k.open++
	v.k.mu.Unlock()
	return newKqueuePin(v.k, v.k.check, id)
}

func (k *FakeKernel) once(f *func()) {
	k.mu.Lock()
	run := *f
	*f = nil
	k.mu.Unlock()
	if run != nil {
		run()
	}
}

func (k *FakeKernel) check(id *Identity) Verdict {
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

func (k *FakeKernel) register(pid int) error {
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

func (k *FakeKernel) unregister(pid int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.notes, pid)
}

func (k *FakeKernel) signal() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *FakeKernel) ended(wait bool) ([]int, error) {
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

func (k *FakeKernel) interrupt() { k.mu.Lock(); defer k.mu.Unlock(); k.signal() }
func (k *FakeKernel) reset()     {}

func (k *FakeKernel) kill(pid int, sig os.Signal) error {
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

func (k *FakeKernel) exists(pid int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.processes {
		if p.PID == pid || p.Group == -pid {
			return nil
		}
	}
	return ErrNoProcess
}

func (k *FakeKernel) group(pid int) (int, error) {
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

func (k *FakeKernel) close() error { k.mu.Lock(); defer k.mu.Unlock(); k.open--; return nil }
