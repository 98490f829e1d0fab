package liveness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rollcall-go/rollcall/internal/pinned"
)

// This file acts on processes of macOS and the BSDs by what a kqueue tells of
// them. It has no build tag, so that its tests run everywhere, on a kernel that
// they play. A Liveness of these systems gives its view the methods of processes
// by newKqueuePin and newKqueueMultiplexer, with a kqueue and its own check.
//
// A registration for NOTE_EXIT belongs to the process that has the PID when it is
// made, and tells of its end before its parent can wait for it, and so before its PID
// is given away (kqueue(2)). As long as nothing was told, the PID is that of the
// process that was registered, and a verdict on the PID is a verdict on that process.
// But a signal can only be sent to a number: between the last look and kill(2) the
// process can end, be waited for and lose its number to another. This window of some
// microseconds remains.

// kqueue is a kqueue(2), and the calls that signal what it tells of. Its errors match
// ErrNoProcess for ESRCH.
type kqueue interface {
	// register asks for the end of the process that has the PID to be told once.
	// If a registration for the PID exists, told or not, it stays as it is.
	register(pid int) error
	unregister(pid int)
	// ended returns the PIDs of registrations that tell of an end, and forgets
	// them. If wait is true, it waits for one or an interruption.
	ended(wait bool) ([]int, error)
	// interrupt makes ended return, now or the next time; reset takes it back.
	interrupt()
	reset()
	// kill is kill(2): a negative number is that of a group.
	kill(pid int, sig os.Signal) error
	// exists is kill(2) with signal 0.
	exists(pid int) error
	// group returns the process group of a process, of the caller for 0.
	group(pid int) (int, error)
	close() error
}

// kqueueMultiplexer is a multiplexer of one kqueue.
type kqueueMultiplexer struct {
	kqueue kqueue
	check  func(*Identity) Verdict

	mu sync.Mutex
	// registered are the processes with a PID: one that died and one that has its PID
	// now can both be watched.
	registered map[int][]*registered
}

func newKqueueMultiplexer(k kqueue, check func(*Identity) Verdict) *kqueueMultiplexer {
	return &kqueueMultiplexer{kqueue: k, check: check, registered: map[int][]*registered{}}
}

// registered is a process registered with a kqueue.
type registered struct {
	multiplexer *kqueueMultiplexer
	id          Identity
	key         uint64
	// doubts is how often the process is still to be looked at, because an end was
	// told and cannot be seen yet.
	doubts int
}

// maxDoubts is how often a process is looked at after its end was told: for a second,
// every recheck.
const maxDoubts = 50

var errStillThere = errors.New("its end was told, and it is still there")

func (q *kqueueMultiplexer) add(id *Identity, key uint64) (watchedPin, error) {
	r := &registered{multiplexer: q, id: *id, key: key}
	q.mu.Lock()
	q.registered[id.PID] = append(q.registered[id.PID], r)
	q.mu.Unlock()
	verdict, err := r.judge()
	if err == nil && verdict.State == Alive {
		return r, nil
	}
	r.close()
	if err != nil {
		return nil, err
	}
	return nil, &verdictError{verdict}
}

// judge registers the process and judges it then. A registration of a process that had
// the PID before may exist: it tells of an end soon, and the process is registered and
// judged again.
//
// An end is told a moment before the process is seen to be a zombie. Because the end
// may be that of another process, the process is looked at again for a while.
func (r *registered) judge() (Verdict, error) {
	err := r.multiplexer.kqueue.register(r.id.PID)
	verdict := r.multiplexer.check(&r.id)
	switch {
	case verdict.State == Dead:
		return verdict, nil
	case verdict.State == Unknown:
		return verdict, &verdictError{verdict}
	case errors.Is(err, ErrNoProcess): // a kqueue knows no zombies
		return Verdict{State: Dead, Reason: NoProcess}, nil
	case err == nil && r.doubts > 0:
		r.doubts--
		return verdict, errStillThere
	default:
		return verdict, err
	}
}

func (r *registered) close() {
	q := r.multiplexer
	q.mu.Lock()
	defer q.mu.Unlock()
	pid := r.id.PID
	others := slices.DeleteFunc(q.registered[pid], func(other *registered) bool { return other == r })
	if len(others) > 0 {
		q.registered[pid] = others
		return
	}
	delete(q.registered, pid)
	q.kqueue.unregister(pid)
}

func (q *kqueueMultiplexer) wait() ([]uint64, error) { return q.collect(true) }

// collect returns the keys of those whose end may have been told.
func (q *kqueueMultiplexer) collect(wait bool) ([]uint64, error) {
	pids, err := q.kqueue.ended(wait)
	q.mu.Lock()
	defer q.mu.Unlock()
	var keys []uint64
	for _, pid := range pids {
		for _, r := range q.registered[pid] {
			r.doubts = maxDoubts
			keys = append(keys, r.key)
		}
	}
	return keys, err
}

func (q *kqueueMultiplexer) interrupt()   { q.kqueue.interrupt() }
func (q *kqueueMultiplexer) reset()       { q.kqueue.reset() }
func (q *kqueueMultiplexer) close() error { return q.kqueue.close() }

// kqueuePin holds one process by a kqueue of its own: an end that it tells of is
// that of the process that was judged when it was registered.
type kqueuePin struct {
	id          Identity
	multiplexer *kqueueMultiplexer
	registered  watchedPin
	// turn is held while the kqueue is asked.
	turn   chan struct{}
	over   bool // guarded by turn
	closed atomic.Bool
}

func newKqueuePin(k kqueue, check func(*Identity) Verdict, id *Identity) (pinned.Process, error) {
	q := newKqueueMultiplexer(k, check)
	r, err := q.add(id, 1)
	if err != nil {
		_ = q.close()
		return nil, err
	}
	return &kqueuePin{id: *id, multiplexer: q, registered: r, turn: make(chan struct{}, 1)}, nil
}

func (p *kqueuePin) Wait(ctx context.Context) error {
	if over, err := p.ended(); over || err != nil {
		return err
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	defer interruptOnDone(ctx, p.multiplexer.interrupt)()
	for !p.over {
		p.multiplexer.reset() // what happens from here on interrupts the wait below
		switch {
		case p.closed.Load():
			return os.ErrClosed
		case ctx.Err() != nil:
			return ctx.Err()
		}
		keys, err := p.multiplexer.wait()
		if err != nil {
			return err
		}
		p.over = len(keys) > 0
	}
	return nil
}

// ended reports whether the end of the process was told. It is false while a Wait is
// under way, which is told instead.
func (p *kqueuePin) ended() (bool, error) {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	default:
		return false, nil
	}
	switch {
	case p.closed.Load():
		return false, os.ErrClosed
	case p.over:
		return true, nil
	}
	keys, err := p.multiplexer.collect(false)
	p.over = len(keys) > 0
	return p.over, err
}

// verify returns nil if the PID is that of the process at this moment.
func (p *kqueuePin) verify() error {
	if p.closed.Load() {
		return os.ErrClosed
	}
	if verdict := p.multiplexer.check(&p.id); verdict.State != Alive {
		return &verdictError{verdict}
	}
	over, err := p.ended()
	if over {
		return ErrNoProcess
	}
	return err
}

func (p *kqueuePin) Signal(sig os.Signal) error {
	if err := p.verify(); err != nil {
		return err
	}
	return p.multiplexer.kqueue.kill(p.id.PID, sig)
}

// SignalGroup signals the group by its number, which is the leader's while it
// lives.
func (p *kqueuePin) SignalGroup(sig os.Signal) error {
	own, ownErr := p.multiplexer.kqueue.group(0)
	group, groupErr := p.multiplexer.kqueue.group(p.id.PID)
	err := p.verify()
	switch {
	case errors.Is(err, os.ErrClosed):
		return err
	case ownErr != nil:
		return ownErr
	case own == p.id.PID:
		return pinned.ErrOwnGroup
	case errors.Is(err, ErrNoProcess):
		return p.lostGroup()
	case err != nil:
		return err
	case groupErr != nil:
		return groupErr
	case group != p.id.PID:
		return ErrNoGroup
	default:
		return p.multiplexer.kqueue.kill(-p.id.PID, sig)
	}
}

var errLostGroup = fmt.Errorf("its leader is gone: whose group has the number is not known: %w", errors.ErrUnsupported)

// lostGroup is the error for a group whose number may be another's now.
func (p *kqueuePin) lostGroup() error {
	if err := p.multiplexer.kqueue.exists(-p.id.PID); errors.Is(err, ErrNoProcess) {
		return err
	}
	return errLostGroup
}

// WaitGroup waits for the leader, and then until no process has the number of the
// group.
func (p *kqueuePin) WaitGroup(ctx context.Context) error {
	if err := p.Wait(ctx); err != nil {
		return err
	}
	for !errors.Is(p.lostGroup(), ErrNoProcess) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(recheck):
		}
	}
	return nil
}

func (p *kqueuePin) Close() error {
	if p.closed.Swap(true) {
		return os.ErrClosed
	}
	p.multiplexer.interrupt()
	p.turn <- struct{}{} // no Wait is under way any more
	defer func() { <-p.turn }()
	p.registered.close()
	return p.multiplexer.close()
}
