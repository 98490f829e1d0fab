package storetest_test

import (
	"context"
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/lifecycle/storetest"
)

// faulty is a memstore with everything that a case asks for, in which each
// step can be replaced by a wrong one. With no step replaced it is right.
type faulty struct {
	*memstore.Store
	quit <-chan struct{} // closed at the end of the test: whoever hangs gives up

	candidates func(context.Context) iter.Seq2[lifecycle.Record, error]
	put        func(context.Context, lifecycle.Record) error
	bind       func(context.Context, lifecycle.Record, string) error
	events     func(context.Context) ([]lifecycle.Event, error)
	stop       func(context.Context, lifecycle.Record, lifecycle.Cause) (lifecycle.Outcome, error)
	stopBatch  func(context.Context, []lifecycle.Stop) (int, error)
	registered func(context.Context) (int64, error)
	reopen     func() storetest.Subject
}

var (
	_ storetest.Subject      = (*faulty)(nil)
	_ storetest.Reopener     = (*faulty)(nil)
	_ lifecycle.BatchStopper = (*faulty)(nil)
)

func newFaulty(quit <-chan struct{}) *faulty {
	f := &faulty{Store: new(memstore.Store), quit: quit}
	f.candidates, f.bind, f.stop = f.Store.Candidates, f.Store.Bind, f.Store.Stop
	f.registered = f.Store.Registrations
	f.put = func(ctx context.Context, r lifecycle.Record) error {
		_, err := f.Store.Put(ctx, r)
		return err
	}
	f.events = func(ctx context.Context) ([]lifecycle.Event, error) { return f.Store.Events(ctx, 0) }
	f.stopBatch = f.Store.StopBatch
	f.reopen = func() storetest.Subject { return f }
	return f
}

func (f *faulty) Registrations(ctx context.Context) (int64, error) { return f.registered(ctx) }

func (f *faulty) Candidates(ctx context.Context) iter.Seq2[lifecycle.Record, error] {
	return f.candidates(ctx)
}
func (f *faulty) Put(ctx context.Context, r lifecycle.Record) error { return f.put(ctx, r) }
func (f *faulty) Bind(ctx context.Context, r lifecycle.Record, key string) error {
	return f.bind(ctx, r, key)
}
func (f *faulty) Events(ctx context.Context) ([]lifecycle.Event, error) { return f.events(ctx) }
func (f *faulty) Stop(ctx context.Context, r lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	return f.stop(ctx, r, cause)
}
func (f *faulty) StopBatch(ctx context.Context, stops []lifecycle.Stop) (int, error) {
	return f.stopBatch(ctx, stops)
}
func (f *faulty) Reopen(context.Context) (storetest.Subject, error) { return f.reopen(), nil }

// stored returns the record of a name as the memstore has it.
func (f *faulty) stored(name string) (lifecycle.Record, bool) {
	records, _ := f.Records(context.Background())
	for _, r := range records {
		if r.Name == name {
			return r, true
		}
	}
	return lifecycle.Record{}, false
}

// editPuts changes every record on its way in.
func editPuts(edit func(*lifecycle.Record)) func(*faulty) {
	return func(f *faulty) {
		put := f.put
		f.put = func(ctx context.Context, r lifecycle.Record) error {
			edit(&r)
			return put(ctx, r)
		}
	}
}

// editEvents changes every event on its way out.
func editEvents(edit func(*lifecycle.Event)) func(*faulty) {
	return func(f *faulty) {
		f.events = func(ctx context.Context) ([]lifecycle.Event, error) {
			events, err := f.Store.Events(ctx, 0)
			for i := range events {
				edit(&events[i])
			}
			return events, err
		}
	}
}

// editStops changes every record and cause before it is stopped.
func editStops(edit func(*faulty, *lifecycle.Record, *lifecycle.Cause)) func(*faulty) {
	return func(f *faulty) {
		f.stop = func(ctx context.Context, r lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
			edit(f, &r, &cause)
			return f.Store.Stop(ctx, r, cause)
		}
	}
}

// orphan takes the parent away from the records that have it.
func (f *faulty) orphan(parent string) {
	records, _ := f.Records(context.Background())
	for _, r := range records {
		if r.Parent == parent {
			r.Parent = ""
			_, _ = f.Store.Put(context.Background(), r)
		}
	}
}

// children lists the names of the records that have the parent.
func (f *faulty) children(parent string) (names []string) {
	records, _ := f.Records(context.Background())
	for _, r := range records {
		if r.Parent == parent {
			names = append(names, r.Name)
		}
	}
	return names
}

// keepsBindings gives the next incarnation of a name the bindings of the last
// one, where the name is one of those that forget spares.
func keepsBindings(forget bool) func(*faulty) {
	return func(f *faulty) {
		bound := map[string][]string{}
		f.bind = func(ctx context.Context, r lifecycle.Record, key string) error {
			bound[r.Name] = append(bound[r.Name], key)
			return f.Store.Bind(ctx, r, key)
		}
		f.stop = func(ctx context.Context, r lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
			if forget { // those of the record itself, not of its descendants
				delete(bound, r.Name)
			}
			return f.Store.Stop(ctx, r, cause)
		}
		f.put = func(ctx context.Context, r lifecycle.Record) error {
			r, err := f.Store.Put(ctx, r)
			for _, key := range bound[r.Name] {
				_ = f.Store.Bind(ctx, r, key)
			}
			return err
		}
	}
}

// lockWhileYielding holds a lock during an iteration. kept: only after one that
// was left early.
func lockWhileYielding(kept bool) func(*faulty) {
	return func(f *faulty) {
		lock := make(chan struct{}, 1)
		acquire := func() {
			select {
			case lock <- struct{}{}:
			case <-f.quit:
			}
		}
		release := func() {
			select {
			case <-lock:
			default: // given up
			}
		}
		f.stop = func(ctx context.Context, r lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
			acquire()
			defer release()
			return f.Store.Stop(ctx, r, cause)
		}
		f.candidates = func(ctx context.Context) iter.Seq2[lifecycle.Record, error] {
			return func(yield func(lifecycle.Record, error) bool) {
				if !kept {
					acquire()
					defer release()
				}
				for r, err := range f.Store.Candidates(ctx) {
					if !yield(r, err) {
						if kept {
							acquire()
						}
						return
					}
				}
			}
		}
	}
}

// sharesData gives out one slice of Data for each name, again and again.
func sharesData(f *faulty) {
	shared := map[string]json.RawMessage{}
	f.candidates = func(ctx context.Context) iter.Seq2[lifecycle.Record, error] {
		return func(yield func(lifecycle.Record, error) bool) {
			for r, err := range f.Store.Candidates(ctx) {
				if shared[r.Name] == nil {
					shared[r.Name] = r.Data
				}
				r.Data = shared[r.Name]
				if !yield(r, err) {
					return
				}
			}
		}
	}
}

// sharesEvents gives out the memory of the first answer ever after.
func sharesEvents(part func(shared, event *lifecycle.Snapshot)) func(*faulty) {
	return func(f *faulty) {
		shared := map[int64]*lifecycle.Snapshot{}
		editEvents(func(e *lifecycle.Event) {
			if shared[e.Seq] == nil {
				snapshot := e.Snapshot
				shared[e.Seq] = &snapshot
			}
			part(shared[e.Seq], &e.Snapshot)
		})(f)
	}
}

// twoWinners lets two callers find a record before either removes it, and
// tells both that they did.
func twoWinners(f *faulty) {
	pairs := newPairs(f.quit)
	f.stop = func(ctx context.Context, r lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
		stored, found := f.stored(r.Name)
		if !found || stored.Incarnation != r.Incarnation {
			return lifecycle.AlreadyStopped, nil
		}
		pairs.meet(r.Name)
		_, err := f.Store.Stop(ctx, r, cause)
		return lifecycle.Stopped, err
	}
}

// pairs lets the first caller under a name wait for the second.
type pairs struct {
	quit <-chan struct{}
	mu   sync.Mutex
	met  map[string]chan struct{}
}

func newPairs(quit <-chan struct{}) *pairs {
	return &pairs{quit: quit, met: map[string]chan struct{}{}}
}

func (p *pairs) meet(name string) {
	p.mu.Lock()
	second := p.met[name]
	if second == nil {
		second = make(chan struct{})
		p.met[name] = second
	} else {
		select {
		case <-second:
		default:
			close(second)
		}
	}
	p.mu.Unlock()
	select {
	case <-second:
	case <-p.quit:
	}
}

// faultyKV is a KV of a map in which a step can be replaced.
type faultyKV struct {
	mu     sync.Mutex
	values map[string]string
	key    func(string) string
	swap   func(k *faultyKV, key, old, new string) bool
	deaf   bool // to the context
	before func(key string)
	after  func(won *bool)
}

func (k *faultyKV) Get(_ context.Context, key string) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.values[k.key(key)], nil
}

func (k *faultyKV) CompareAndSwap(ctx context.Context, key, old, new string) (bool, error) {
	if err := ctx.Err(); err != nil && !k.deaf {
		return false, err
	}
	k.before(key)
	k.mu.Lock()
	defer k.mu.Unlock()
	won := k.swap(k, k.key(key), old, new)
	k.after(&won)
	return won, nil
}

func newFaultyKV() *faultyKV {
	return &faultyKV{
		values: map[string]string{},
		key:    func(key string) string { return key },
		before: func(string) {},
		after:  func(*bool) {},
		swap: func(k *faultyKV, key, old, new string) bool {
			if k.values[key] != old {
				return false
			}
			k.values[key] = new
			return true
		},
	}
}

// reversed yields events newest first.
func reversed(f *faulty) {
	f.events = func(ctx context.Context) ([]lifecycle.Event, error) {
		events, err := f.Store.Events(ctx, 0)
		slices.Reverse(events)
		return events, err
	}
}

// without yields all records but those of some names.
func without(names map[string]bool) func(*faulty) {
	return func(f *faulty) {
		names := maps.Clone(names)
		f.candidates = func(ctx context.Context) iter.Seq2[lifecycle.Record, error] {
			return func(yield func(lifecycle.Record, error) bool) {
				for r, err := range f.Store.Candidates(ctx) {
					if !names[r.Name] && !yield(r, err) {
						return
					}
				}
			}
		}
	}
}
