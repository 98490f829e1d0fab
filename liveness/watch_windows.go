package liveness

import (
	"sync"

	"golang.org/x/sys/windows"
)

// exitQueue is a multiplexer of handles: the thread pool puts in the keys of
// those that became ready.
type exitQueue struct {
	view *windowsView
	// some holds a token when there may be keys, or an interruption.
	some chan struct{}

	mu   sync.Mutex
	keys []uint64
}

func (v *windowsView) newMultiplexer() (multiplexer, error) {
	return &exitQueue{view: v, some: make(chan struct{}, 1)}, nil
}

// queuedHandle is a handle that an exitQueue waits for.
type queuedHandle struct {
	handle windows.Handle
	stop   func()
}

func (q *exitQueue) add(id *Identity, key uint64) (watchedPin, error) {
	handle, err := q.view.openHandle(id, queryAccess)
	if err != nil {
		return nil, err
	}
	stop, err := onExit(handle, func() {
		q.mu.Lock()
		q.keys = append(q.keys, key)
		q.mu.Unlock()
		q.interrupt()
	})
	if err != nil {
		windows.CloseHandle(handle)
		return nil, err
	}
	return &queuedHandle{handle, stop}, nil
}

func (q *exitQueue) wait() ([]uint64, error) {
	<-q.some
	q.mu.Lock()
	defer q.mu.Unlock()
	keys := q.keys
	q.keys = nil
	return keys, nil
}

func (q *exitQueue) interrupt() {
	select {
	case q.some <- struct{}{}:
	default:
	}
}

func (*exitQueue) reset()       {} // an interruption too many does no harm
func (*exitQueue) close() error { return nil }

func (h *queuedHandle) judge() (Verdict, error) {
	over, err := isOver(h.handle)
	return verdictOf(over), err
}

func (h *queuedHandle) close() {
	h.stop()
	windows.CloseHandle(h.handle)
}
