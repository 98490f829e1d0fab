// Package memstore keeps records in memory: a [lifecycle.Registrar] in its plainest
// form. It is for a host's own tests, and for hosts that keep their records for no
// longer than they run.
//
//	store := memstore.New(memstore.Options{})
//	record, err := store.Launch(ctx, lifecycle.Record{Name: "worker"})
//	err = store.Activate(ctx, record, identity)
//	report, err := lifecycle.Cleaner{Store: store}.Clean(ctx)
//
// [Store.Put] writes a record in any state, for tests.
//
// # Errors
//
// Errors match [lifecycle.ErrInvalidRecord], [lifecycle.ErrNameTaken],
// [lifecycle.ErrNotRegistered], [lifecycle.ErrChanged], [lifecycle.ErrNoSnapshot]
// or the error of the context, or wrap that of OnStop.
package memstore

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

// Options are the choices of [New]. The zero value is usable.
type Options struct {
	// Owner is the machine or device whose records the store registers; empty is
	// none in particular.
	Owner string

	// Clock is the clock of heartbeats; nil is that of the running system.
	Clock lifecycle.Clock

	// OnStop is called for every record that is about to be stopped, descendants
	// included, with its event. An error undoes the stop. It must not call the
	// store, which is locked.
	OnStop func(context.Context, lifecycle.Event) error
}

// Store keeps records, stopped events and gates in memory. [New] makes one; the
// zero Store is one with zero Options. It is safe for concurrent use; do not copy
// it.
type Store struct {
	options  Options
	mu       sync.Mutex
	next     int64 // the order in which names were registered
	rows     map[string]*row
	keys     map[string]*row
	children map[string]map[string]*row // parent name → name → row
	events   []lifecycle.Event
	stopped  map[incarnation]bool
	gate     map[string]string
	changes  int64 // see Registrations
}

type incarnation struct{ name, incarnation string }

var (
	_ lifecycle.Registrar    = (*Store)(nil)
	_ lifecycle.BatchStopper = (*Store)(nil)
	_ lifecycle.KV           = (*gate)(nil)
)

// New returns an empty store.
func New(options Options) *Store { return &Store{options: options} }

type row struct {
	order    int64
	record   lifecycle.Record
	bindings []string // sorted
}

// Owner implements [lifecycle.Registrar].
func (s *Store) Owner() string { return s.options.Owner }

// Launch implements [lifecycle.Registrar].
func (s *Store) Launch(ctx context.Context, record lifecycle.Record) (lifecycle.Record, error) {
	launching, _, err := storekit.Launching(record, s.options.Owner, s.options.Clock)
	if err == nil {
		err = cmp.Or(ctx.Err(), launching.Validate())
	}
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err = s.vacant(launching); err == nil {
			s.put(launching, nil)
		}
	}
	if err != nil {
		return lifecycle.Record{}, fmt.Errorf("memstore: launch %q: %w", record.Name, err)
	}
	return launching, nil
}

// vacant returns an error unless the record may be registered.
func (s *Store) vacant(record lifecycle.Record) error {
	switch {
	case s.rows[record.Name] != nil:
		return lifecycle.ErrNameTaken
	case s.stopped[incarnation{record.Name, record.Incarnation}]:
		return storekit.StoppedBefore(record.Incarnation)
	}
	return nil
}

// Put registers a record exactly as given, for tests that need one in a state of
// their choice, or replaces the one of the same name and incarnation. It returns
// the record as stored: an empty Incarnation becomes a new UUIDv7, a zero CreatedAt
// the present, a zero Heartbeat one of now. Errors are those of Launch.
func (s *Store) Put(ctx context.Context, record lifecycle.Record) (lifecycle.Record, error) {
	if record.Incarnation == "" {
		record.Incarnation = uuid.Must(uuid.NewV7()).String()
	}
	if record.CreatedAt.IsZero() {
		record.CreatedAt = time.Now()
	}
	if record.Heartbeat.IsZero() {
		record.Heartbeat = lifecycle.Beat(s.options.Clock)
	}
	err := cmp.Or(ctx.Err(), record.Validate())
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		old := s.find(record)
		if old == nil {
			err = s.vacant(record)
		}
		if err == nil {
			s.put(record, old)
		}
	}
	if err != nil {
		return lifecycle.Record{}, fmt.Errorf("memstore: put %q: %w", record.Name, err)
	}
	return record, nil
}

// put stores a record in the place of an old row, or in a new one.
func (s *Store) put(record lifecycle.Record, r *row) {
	if s.rows == nil {
		s.rows, s.keys, s.children = map[string]*row{}, map[string]*row{}, map[string]map[string]*row{}
		s.stopped = map[incarnation]bool{}
	}
	if r == nil {
		r = &row{order: s.next}
		s.next++
		s.rows[record.Name] = r
	} else {
		s.unlink(r)
	}
	r.record = clone(record)
	if s.children[record.Parent] == nil {
		s.children[record.Parent] = map[string]*row{}
	}
	s.children[record.Parent][record.Name] = r
	s.changes++
}

// unlink takes a row from its parent.
func (s *Store) unlink(r *row) {
	delete(s.children[r.record.Parent], r.record.Name)
	if len(s.children[r.record.Parent]) == 0 {
		delete(s.children, r.record.Parent)
	}
}

// find returns the row of a name and an incarnation, or nil.
func (s *Store) find(record lifecycle.Record) *row {
	if r := s.rows[record.Name]; r != nil && r.record.Incarnation == record.Incarnation {
		return r
	}
	return nil
}

// Activate implements [lifecycle.Registrar].
func (s *Store) Activate(ctx context.Context, record lifecycle.Record, identity liveness.Identity) error {
	if _, err := identity.MarshalText(); err != nil {
		return fmt.Errorf("memstore: activate %q: %w", record.Name, err)
	}
	return s.update(ctx, "activate", record, func(r *row) { s.setPhase(r, lifecycle.Running, identity) })
}

// Deactivate implements [lifecycle.Registrar].
func (s *Store) Deactivate(ctx context.Context, record lifecycle.Record) error {
	return s.update(ctx, "deactivate", record, func(r *row) { s.setPhase(r, lifecycle.Inactive, liveness.Identity{}) })
}

func (s *Store) setPhase(r *row, phase lifecycle.Phase, identity liveness.Identity) {
	r.record.Phase, r.record.Identity, r.record.Heartbeat = phase, identity, lifecycle.Beat(s.options.Clock)
	s.changes++
}

// Heartbeat implements [lifecycle.Registrar].
func (s *Store) Heartbeat(ctx context.Context, record lifecycle.Record) error {
	return s.update(ctx, "heartbeat of", record, func(r *row) { r.record.Heartbeat = lifecycle.Beat(s.options.Clock) })
}

// SetData implements [lifecycle.Registrar].
func (s *Store) SetData(ctx context.Context, record lifecycle.Record, data json.RawMessage) error {
	if err := storekit.ValidateData(record, data); err != nil {
		return fmt.Errorf("memstore: set Data of %q: %w", record.Name, err)
	}
	// A copy, as what was handed out before is not to change.
	return s.update(ctx, "set Data of", record, func(r *row) { r.record.Data = slices.Clone(data) })
}

// Bind implements [lifecycle.Registrar].
func (s *Store) Bind(ctx context.Context, record lifecycle.Record, key string) error {
	if err := storekit.ValidateKey(key); err != nil {
		return fmt.Errorf("memstore: bind to %q: %w", record.Name, err)
	}
	return s.update(ctx, "bind "+storekit.Quote(key)+" to", record, func(r *row) {
		if holder := s.keys[key]; holder != nil {
			holder.bindings = storekit.RemoveKey(holder.bindings, key)
		}
		s.keys[key] = r
		r.bindings = storekit.InsertKey(r.bindings, key)
	})
}

// update edits the row of a registered record.
func (s *Store) update(ctx context.Context, verb string, record lifecycle.Record, edit func(*row)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.find(record), ctx.Err()
	if err == nil && r == nil {
		err = lifecycle.ErrNotRegistered
	}
	if err != nil {
		return fmt.Errorf("memstore: %s %q: %w", verb, record.Name, err)
	}
	edit(r)
	return nil
}

// Record implements [lifecycle.Registrar].
func (s *Store) Record(ctx context.Context, name string) (lifecycle.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return one(ctx, s.rows[name], "record", name)
}

// Bound implements [lifecycle.Registrar].
func (s *Store) Bound(ctx context.Context, key string) (lifecycle.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return one(ctx, s.keys[key], "record bound to", key)
}

func one(ctx context.Context, r *row, what, name string) (lifecycle.Record, error) {
	err := ctx.Err()
	if err == nil && r == nil {
		err = lifecycle.ErrNotRegistered
	}
	if err != nil {
		return lifecycle.Record{}, fmt.Errorf("memstore: %s %s: %w", what, storekit.Quote(name), err)
	}
	return clone(r.record), nil
}

// Records implements [lifecycle.Registrar].
func (s *Store) Records(ctx context.Context) ([]lifecycle.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("memstore: read records: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := slices.SortedFunc(maps.Values(s.rows), func(a, b *row) int { return cmp.Compare(a.order, b.order) })
	records := make([]lifecycle.Record, len(rows))
	for i, r := range rows {
		records[i] = clone(r.record)
	}
	return records, nil
}

// Candidates implements [lifecycle.Store]: the records as they were at the
// start of the iteration.
func (s *Store) Candidates(ctx context.Context) iter.Seq2[lifecycle.Record, error] {
	return func(yield func(lifecycle.Record, error) bool) {
		records, err := s.Records(ctx)
		if err != nil {
			yield(lifecycle.Record{}, err)
			return
		}
		for _, record := range records {
			if !yield(record, nil) {
				return
			}
		}
	}
}

// Registrations implements [lifecycle.Registrar].
func (s *Store) Registrations(ctx context.Context) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("memstore: read registrations: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes, nil
}

// Events implements [lifecycle.Registrar].
func (s *Store) Events(ctx context.Context, after int64) ([]lifecycle.Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("memstore: read events after %d: %w", after, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	first := min(max(after, 0), int64(len(s.events))) // the first event has Seq 1
	events := slices.Clone(s.events[first:min(first+storekit.MaxEvents, int64(len(s.events)))])
	for i := range events {
		events[i].Snapshot = events[i].Snapshot.Clone()
	}
	return events, nil
}

// Snapshot implements [lifecycle.Registrar].
func (s *Store) Snapshot(ctx context.Context, name string) (lifecycle.Snapshot, error) {
	err := ctx.Err()
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, event := range slices.Backward(s.events) {
			if event.Name == name {
				return event.Snapshot.Clone(), nil
			}
		}
		err = lifecycle.ErrNoSnapshot
	}
	return lifecycle.Snapshot{}, fmt.Errorf("memstore: snapshot of %q: %w", name, err)
}

// Stop implements [lifecycle.Store].
func (s *Store) Stop(ctx context.Context, record lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	return storekit.StopOne(ctx, s, record, cause)
}

// StopBatch implements [lifecycle.BatchStopper].
func (s *Store) StopBatch(ctx context.Context, stops []lifecycle.Stop) (n int, err error) {
	for i := range stops {
		err := ctx.Err()
		if err == nil {
			err = s.stop(ctx, &stops[i])
		}
		if err != nil {
			return i, fmt.Errorf("memstore: stop %q: %w", stops[i].Record.Name, err)
		}
	}
	return len(stops), nil
}

func (s *Store) stop(ctx context.Context, stop *lifecycle.Stop) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	root := s.find(stop.Record)
	if root == nil {
		stop.Outcome, stop.Descendants = lifecycle.AlreadyStopped, nil
		return nil
	}
	if !stop.Cause.Holds(stop.Record, root.record) {
		return lifecycle.ErrChanged
	}
	family := storekit.Family(root, func(r *row) string { return r.record.Name }, s.childrenOf, map[string]bool{})
	events := make([]lifecycle.Event, 0, len(family))
	for _, member := range slices.Backward(family) { // children before parents
		cause := stop.Cause
		if member != root {
			cause = cause.ForDescendant()
		}
		event := cause.Event(lifecycle.Snapshot{Record: member.record, Bindings: member.bindings})
		event.Seq = int64(len(s.events)+len(events)) + 1
		if hook := s.options.OnStop; hook != nil {
			seen := event
			seen.Snapshot = event.Snapshot.Clone()
			if err := hook(ctx, seen); err != nil {
				return fmt.Errorf("OnStop of %q: %w", event.Name, err)
			}
		}
		events = append(events, event)
	}
	s.events = append(s.events, events...)
	stop.Outcome, stop.Descendants = lifecycle.Stopped, nil
	for i, member := range slices.Backward(family) {
		s.remove(member)
		if i > 0 {
			stop.Descendants = append(stop.Descendants, clone(member.record))
		}
	}
	return nil
}

// childrenOf returns the children of a row, in the order of their registration.
func (s *Store) childrenOf(r *row) []*row {
	return slices.SortedFunc(maps.Values(s.children[r.record.Name]), func(a, b *row) int { return cmp.Compare(a.order, b.order) })
}

// remove takes out a row and its bindings.
func (s *Store) remove(r *row) {
	delete(s.rows, r.record.Name)
	for _, key := range r.bindings {
		delete(s.keys, key)
	}
	s.unlink(r)
	s.stopped[incarnation{r.record.Name, r.record.Incarnation}] = true
}

// Gate implements [lifecycle.Registrar].
func (s *Store) Gate() lifecycle.KV { return (*gate)(s) }

type gate Store

// Get implements [lifecycle.KV].
func (g *gate) Get(ctx context.Context, key string) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.gate[key], ctx.Err()
}

// CompareAndSwap implements [lifecycle.KV].
func (g *gate) CompareAndSwap(ctx context.Context, key, old, new string) (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := ctx.Err(); err != nil || g.gate[key] != old {
		return false, err
	}
	if g.gate == nil {
		g.gate = map[string]string{}
	}
	g.gate[key] = new
	return true, nil
}

func clone(record lifecycle.Record) lifecycle.Record {
	record.Data = slices.Clone(record.Data)
	return record
}
