package liveness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Watch tells of the deaths of any number of recorded processes, which need not be
// children of the caller. [NewWatch] makes one. It is safe for concurrent use.
//
// Each process is watched as the one it is: as with [Open] it is pinned first
// and judged then. While nothing happens, a Watch takes no processor time.
//
// Linux: one pidfd for each process, in one epoll(7), in the poller of the Go
// runtime: no thread. Windows: one handle for each process; the thread pool of
// the process waits for 63 with each thread. macOS and the BSDs: one kqueue(2) for
// all, and one thread; NetBSD refuses processes of other users.
type Watch struct {
	multiplexer multiplexer
	// turn is held by the Next that waits; the multiplexer has one interruption
	// for all.
	turn chan struct{}

	mu       sync.Mutex
	closed   bool
	lastKey  uint64
	watched  map[uint64]entry
	keys     map[string]uint64 // by the text of the identity
	deaths   []death
	doubtful []uint64 // those whose end could not be confirmed for the moment
}

type entry struct {
	id  Identity
	pin watchedPin
}

type death struct {
	id      Identity
	verdict Verdict
}

// multiplexer waits for the ends of many processes.
type multiplexer interface {
	// add pins the recorded process and waits for its end from then on. The
	// error is a verdictError when its verdict is not Alive.
	add(id *Identity, key uint64) (watchedPin, error)
	// wait returns the keys of processes that may have ended, at least one
	// unless it was interrupted. One goroutine at a time may call it.
	wait() ([]uint64, error)
	// interrupt makes the wait that is under way return, or the next one.
	// reset takes an earlier interruption back.
	interrupt()
	reset()
	close() error
}

// watchedPin is the hold of a multiplexer on one process.
type watchedPin interface {
	// judge says whether the process has ended. The error says that this could
	// not be found out for the moment.
	judge() (Verdict, error)
	close()
}

// NewWatch returns a Watch that watches no process yet. The processes that are added
// are judged by a [System] with the zero Options; for others call [System.NewWatch].
// The error matches [errors.ErrUnsupported] where processes cannot be watched: on
// systems that [Open] does not know, on Linux before 5.3, and with a Root that shows
// another PID namespace. Poll [Liveness.Check] there.
//
// A Watch keeps one descriptor of its own on Linux, three on macOS and the BSDs,
// until it is closed.
func NewWatch() (*Watch, error) {
	system, err := New(Options{})
	if err != nil {
		return nil, fmt.Errorf("liveness: watch: %w", err)
	}
	return system.NewWatch()
}

func watchBy(system processes) (*Watch, error) {
	m, err := system.newMultiplexer()
	if err != nil {
		return nil, fmt.Errorf("liveness: watch: %w", err)
	}
	return newWatch(m), nil
}

func newWatch(m multiplexer) *Watch {
	return &Watch{
		multiplexer: m, turn: make(chan struct{}, 1),
		watched: map[uint64]entry{}, keys: map[string]uint64{},
	}
}

// Add watches the recorded process, until its death was told by Next, or Remove
// or Close is called. A process that is dead already is told at once; one that
// is watched already is watched once.
//
// When there is an error, whatever it is, the process is not watched, and Next
// will not tell of it: the caller polls [Liveness.Check], or calls Add again
// later. It matches [ErrUndecided] when it is not known whether the process
// lives, [ErrInvalid] too when none is recorded, [os.ErrClosed] after Close, and
// otherwise wraps that of the system, such as [syscall.EMFILE] when there are no
// descriptors left.
func (w *Watch) Add(id Identity) error {
	if err := w.add(id); err != nil {
		return fmt.Errorf("liveness: watch PID %d: %w", id.PID, err)
	}
	return nil
}

func (w *Watch) add(id Identity) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := id.String()
	switch {
	case w.closed:
		return os.ErrClosed
	case id.IsZero():
		return &verdictError{unreadable(errZeroIdentity)}
	case w.keys[text] != 0:
		return nil
	}
	w.lastKey++
	pin, err := w.multiplexer.add(&id, w.lastKey)
	var refused *verdictError
	switch {
	case errors.As(err, &refused) && refused.Verdict.State == Dead:
		w.deaths = append(w.deaths, death{id, refused.Verdict})
		w.multiplexer.interrupt()
		return nil
	case err != nil:
		return err
	}
	w.watched[w.lastKey] = entry{id, pin}
	w.keys[text] = w.lastKey
	return nil
}

// Remove ends the watch over a process. Once it has returned, Next does not tell
// of its death any more, unless the process is added again. It is no error if
// the process was not watched.
func (w *Watch) Remove(id Identity) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := id.String()
	w.forget(w.keys[text])
	kept := w.deaths[:0]
	for _, d := range w.deaths {
		if d.id.String() != text {
			kept = append(kept, d)
		}
	}
	clear(w.deaths[len(kept):])
	w.deaths = kept
}

func (w *Watch) forget(key uint64) {
	if e, ok := w.watched[key]; ok {
		e.pin.close()
		delete(w.watched, key)
		delete(w.keys, e.id.String())
	}
}

// Len returns how many processes are watched, those whose death Next has not told
// yet included.
func (w *Watch) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.watched) + len(w.deaths)
}

// Next waits for the next death and returns the Identity as it was added, and a
// verdict that is Dead: [Zombie], [NoProcess], or what Check said of one that was
// dead when it was added. Each added process is told of once, in no particular
// order, and is not watched any more then.
//
// When ctx is done first, the error wraps ctx.Err(), and nothing is lost; after
// Close it matches [os.ErrClosed].
func (w *Watch) Next(ctx context.Context) (Identity, Verdict, error) {
	d, err := w.next(ctx)
	if err != nil {
		return Identity{}, Verdict{}, fmt.Errorf("liveness: watch: %w", err)
	}
	return d.id, d.verdict, nil
}

func (w *Watch) next(ctx context.Context) (death, error) {
	select {
	case w.turn <- struct{}{}:
		defer func() { <-w.turn }()
	case <-ctx.Done():
		return death{}, ctx.Err()
	}
	defer interruptOnDone(ctx, w.multiplexer.interrupt)()
	for {
		w.multiplexer.reset() // what happens from here on interrupts the wait below
		if d, ok, err := w.take(ctx); ok || err != nil {
			return d, err
		}
		keys, err := w.wait()
		w.confirm(keys)
		if err != nil && !errors.Is(err, os.ErrClosed) {
			return death{}, err
		}
	}
}

// interruptOnDone has interrupt called when ctx is done. The function that it returns
// ends that, and returns when no call is under way: a late one would interrupt the next
// wait, or work on what was closed.
func interruptOnDone(ctx context.Context, interrupt func()) (end func()) {
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		interrupt()
		close(interrupted)
	})
	return func() {
		if !stop() {
			<-interrupted
		}
	}
}

// take returns a death that is known.
func (w *Watch) take(ctx context.Context) (death, bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return death{}, false, os.ErrClosed
	case len(w.deaths) > 0:
		d := w.deaths[0]
		w.deaths = w.deaths[1:]
		return d, true, nil
	default:
		return death{}, false, ctx.Err()
	}
}

// recheck is how often a process is looked at that cannot be waited for, or whose
// end could not be confirmed for the moment.
const recheck = 20 * time.Millisecond

// wait waits for keys, and for the time to look at the doubtful again.
func (w *Watch) wait() ([]uint64, error) {
	w.mu.Lock()
	doubtful := w.doubtful
	w.doubtful = nil
	w.mu.Unlock()
	if len(doubtful) > 0 {
		defer time.AfterFunc(recheck, w.multiplexer.interrupt).Stop()
	}
	keys, err := w.multiplexer.wait()
	return append(keys, doubtful...), err
}

// confirm makes deaths of those that have ended, and releases them.
func (w *Watch) confirm(keys []uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, key := range keys {
		e, ok := w.watched[key]
		if !ok {
			continue // removed
		}
		switch verdict, err := e.pin.judge(); {
		case err != nil:
			w.doubtful = append(w.doubtful, key)
		case verdict.State == Dead:
			w.forget(key)
			w.deaths = append(w.deaths, death{e.id, verdict})
		}
	}
}

// Close releases all that the Watch holds. A Next that is under way returns. The
// processes go on.
func (w *Watch) Close() error {
	if err := w.close(); err != nil {
		return fmt.Errorf("liveness: close watch: %w", err)
	}
	return nil
}

func (w *Watch) close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return os.ErrClosed
	}
	w.closed = true
	for key := range w.watched {
		w.forget(key)
	}
	w.deaths, w.doubtful = nil, nil
	w.mu.Unlock()
	w.multiplexer.interrupt()
	w.turn <- struct{}{} // no Next is under way any more
	defer func() { <-w.turn }()
	return w.multiplexer.close()
}
