// Package memstore is the reference [lifecycle.Store]: everything in memory,
// every rule of the interface in the plainest form. It suits tests, and hosts
// that keep their records for no longer than they run.
//
// # Errors
//
// Errors match [lifecycle.ErrInvalidRecord], [lifecycle.ErrNameTaken],
// [lifecycle.ErrNotRegistered], [lifecycle.ErrChanged] or the error of the
// context.
package memstore

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/rollcall-go/rollcall/lifecycle"
)

// Store keeps records, stopped events and gates in memory. The zero Store is
// empty and ready. It is safe for concurrent use; do not copy it.
type Store struct {
	mu       sync.Mutex
	next     int64 // the order in which names were registered
	rows     map[string]*row
	children map[string]map[string]bool // parent name → names
	events   []lifecycle.Event
	stopped  map[incarnation]bool
	gate     map[string]string
	puts     int64
}

type incarnation struct{ name, incarnation string }

var (
	_ lifecycle.Store       = (*Store)(nil)
	_ lifecycle.TreeStopper = (*Store)(nil)
	_ lifecycle.Registry    = (*Store)(nil)
	_ lifecycle.KV          = (*gate)(nil)
)

type row struct {
	order    int64
	record   lifecycle.Record
	bindings []string
}

// Put registers a record, or replaces the one of the same name and
// incarnation. It returns the record as stored: an empty Incarnation becomes a
// new UUIDv7, a zero CreatedAt the present, a zero Heartbeat one of now.
//
// The error matches [lifecycle.ErrInvalidRecord], also for an incarnation that
// was stopped before, or [lifecycle.ErrNameTaken] when another incarnation has
// the name.
func (s *Store) Put(ctx context.Context, record lifecycle.Record) (lifecycle.Record, error) {
	if record.Incarnation == "" {
		record.Incarnation = uuid.Must(uuid.NewV7()).String()
	}
	if record.CreatedAt.IsZero() {
		record.CreatedAt = time.Now()
	}
	if record.Heartbeat.IsZero() {
		record.Heartbeat = lifecycle.Beat(nil)
	}
	if err := cmp.Or(ctx.Err(), record.Validate()); err != nil {
		return lifecycle.Record{}, fmt.Errorf("memstore: put: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.rows[record.Name]
	if old != nil && old.record.Incarnation != record.Incarnation {
		return lifecycle.Record{}, fmt.Errorf("memstore: put %q: %w", record.Name, lifecycle.ErrNameTaken)
	}
	if s.stopped[incarnation{record.Name, record.Incarnation}] {
		return lifecycle.Record{}, fmt.Errorf("memstore: put %q: %w: incarnation %q was stopped before", record.Name, lifecycle.ErrInvalidRecord, record.Incarnation)
	}
	if s.rows == nil {
		s.rows, s.children = map[string]*row{}, map[string]map[string]bool{}
		s.stopped = map[incarnation]bool{}
	}
	if old == nil {
		old = &row{order: s.next}
		s.next++
		s.rows[record.Name] = old
	} else {
		s.unlink(old.record)
	}
	old.record = clone(record)
	s.puts++
	if s.children[record.Parent] == nil {
		s.children[record.Parent] = map[string]bool{}
	}
	s.children[record.Parent][record.Name] = true
	return record, nil
}

func (s *Store) unlink(record lifecycle.Record) {
	delete(s.children[record.Parent], record.Name)
	if len(s.children[record.Parent]) == 0 {
		delete(s.children, record.Parent)
	}
}

// Bind binds a key to a record, until the record is stopped. The error matches
// [lifecycle.ErrNotRegistered] when the store has no record of this name and
// incarnation.
func (s *Store) Bind(ctx context.Context, record lifecycle.Record, key string) error {
	if err := cmp.Or(ctx.Err(), lifecycle.ValidateKey(key)); err != nil {
		return fmt.Errorf("memstore: bind %q: %w", record.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	row := s.rows[record.Name]
	if row == nil || row.record.Incarnation != record.Incarnation {
		return fmt.Errorf("memstore: bind %q: %w", record.Name, lifecycle.ErrNotRegistered)
	}
	if i, found := slices.BinarySearch(row.bindings, key); !found {
		row.bindings = slices.Insert(row.bindings, i, key)
	}
	return nil
}

// Records returns all records in the order in which they were registered.
func (s *Store) Records(ctx context.Context) ([]lifecycle.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := make([]*row, 0, len(s.rows))
	for _, row := range s.rows {
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b *row) int { return cmp.Compare(a.order, b.order) })
	records := make([]lifecycle.Record, len(rows))
	for i, row := range rows {
		records[i] = clone(row.record)
	}
	return records, ctx.Err()
}

// Events returns the stopped events with a Seq above after, oldest first.
func (s *Store) Events(ctx context.Context, after int64) ([]lifecycle.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var events []lifecycle.Event
	for _, event := range s.events {
		if event.Seq > after {
			event.Snapshot = event.Snapshot.Clone()
			events = append(events, event)
		}
	}
	return events, ctx.Err()
}

// Candidates implements [lifecycle.Store]: the records as they were at the
// start of the iteration.
func (s *Store) Candidates(ctx context.Context) iter.Seq2[lifecycle.Record, error] {
	return func(yield func(lifecycle.Record, error) bool) {
		records, err := s.Records(ctx)
		if err != nil {
			yield(lifecycle.Record{}, fmt.Errorf("memstore: %w", err))
			return
		}
		for _, record := range records {
			if !yield(record, nil) {
				return
			}
		}
	}
}

// Stop implements [lifecycle.Store].
func (s *Store) Stop(ctx context.Context, record lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	_, outcome, err := s.StopTree(ctx, record, cause)
	return outcome, err
}

// StopTree implements [lifecycle.TreeStopper].
func (s *Store) StopTree(ctx context.Context, record lifecycle.Record, cause lifecycle.Cause) ([]lifecycle.Record, lifecycle.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, fmt.Errorf("memstore: stop %q: %w", record.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	row := s.rows[record.Name]
	if row == nil || row.record.Incarnation != record.Incarnation {
		return nil, lifecycle.AlreadyStopped, nil
	}
	if !cause.Holds(record, row.record) {
		return nil, 0, fmt.Errorf("memstore: stop %q: %w", record.Name, lifecycle.ErrChanged)
	}
	first := len(s.events)
	s.remove(row, cause)
	var descendants []lifecycle.Record
	for _, event := range s.events[first : len(s.events)-1] { // its own is the last
		descendants = append(descendants, clone(event.Snapshot.Record))
	}
	return descendants, lifecycle.Stopped, nil
}

// Registrations implements [lifecycle.Registry].
func (s *Store) Registrations(ctx context.Context) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.puts, ctx.Err()
}

// remove takes the row out first, so that a cycle of parents ends here, then
// its descendants, children before parents.
func (s *Store) remove(row *row, cause lifecycle.Cause) {
	name := row.record.Name
	delete(s.rows, name)
	s.unlink(row.record)
	for child := range s.children[name] {
		if childRow := s.rows[child]; childRow != nil {
			s.remove(childRow, lifecycle.Cause{By: cause.By, Reason: lifecycle.ReasonParentStopped})
		}
	}
	event := lifecycle.NewEvent(lifecycle.Snapshot{Record: row.record, Bindings: row.bindings}, cause)
	event.Seq = int64(len(s.events)) + 1
	s.events = append(s.events, event)
	s.stopped[incarnation{name, event.Incarnation}] = true
}

// Gate returns the store's place for a [lifecycle.BootGate].
func (s *Store) Gate() lifecycle.KV { return (*gate)(s) }

type gate Store

func (g *gate) Get(ctx context.Context, key string) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.gate[key], ctx.Err()
}

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
	record.Data = append(json.RawMessage(nil), record.Data...)
	return record
}
