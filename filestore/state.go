package filestore

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// row is a record according to its last line. It is never changed: a later line
// makes another row. So a reader needs no lock once it has the row.
type row struct {
	recordLine
	size    int64 // of the line
	err     error // of a garbled line; only its name and incarnation are known
	garbled string
}

// stopped is what an event says about the records.
type stopped struct {
	seq               int64
	name, incarnation string
}

// state is what the files hold, in memory.
type state struct {
	path     string // of the records
	rows     map[string]*row
	children map[string]map[string]bool // parent name → names
	keys     map[string]string          // key → name
	lost     []entry                    // garbled lines without a legible name
	next     int64                      // number of the next registration
	live     int64                      // bytes of the lines that are not outdated
	seq      int64                      // of the last event
}

func newState(path string) *state {
	return &state{path: path, rows: map[string]*row{}, children: map[string]map[string]bool{}, keys: map[string]string{}, next: 1}
}

// applyRecord applies a line of the records.
func (s *state) applyRecord(e entry) {
	if e.err != nil {
		e.err = garbledLine(s.path, e.line, e.err)
	}
	if e.row.Name == "" {
		s.lost = append(s.lost, e)
		s.live += e.size
		return
	}
	e.row.size, e.row.err, e.row.garbled = e.size, e.err, e.text
	s.put(e.row)
}

func (s *state) put(r *row) {
	if old := s.rows[r.Name]; old != nil {
		if r.err != nil { // what an earlier line tells is better than nothing
			r.Number, r.Parent = old.Number, cmp.Or(r.Parent, old.Parent)
		}
		s.remove(old)
	}
	if r.Number == 0 {
		r.Number = s.next
	}
	s.next = max(s.next, r.Number+1)
	s.live += r.size
	s.rows[r.Name] = r
	if r.Parent != "" {
		if s.children[r.Parent] == nil {
			s.children[r.Parent] = map[string]bool{}
		}
		s.children[r.Parent][r.Name] = true
	}
	for _, key := range r.Bindings {
		s.keys[key] = r.Name
	}
}

func (s *state) remove(r *row) {
	delete(s.rows, r.Name)
	s.live -= r.size
	if children := s.children[r.Parent]; children != nil {
		delete(children, r.Name)
		if len(children) == 0 {
			delete(s.children, r.Parent)
		}
	}
	for _, key := range r.Bindings {
		if s.keys[key] == r.Name {
			delete(s.keys, key)
		}
	}
}

// applyEvent applies a line of the events. Its order relative to later lines of the
// records does not matter, since an incarnation is never registered again.
func (s *state) applyEvent(e entry) {
	s.seq = max(s.seq, e.event.seq)
	if e.err != nil {
		s.seq++ // its number cannot be read
	}
	if r := s.rows[e.event.name]; r != nil && r.Incarnation == e.event.incarnation {
		s.remove(r)
	}
}

// sorted returns the rows in the order of their registration.
func (s *state) sorted() []*row {
	return slices.SortedFunc(maps.Values(s.rows), func(a, b *row) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Name, b.Name))
	})
}

// find returns the row of a name and an incarnation, or nil.
func (s *state) find(record lifecycle.Record) *row {
	if r := s.rows[record.Name]; r != nil && r.Incarnation == record.Incarnation {
		return r
	}
	return nil
}

// childrenOf returns the children of a row, by name.
func (s *state) childrenOf(r *row) []*row {
	var children []*row
	for _, name := range slices.Sorted(maps.Keys(s.children[r.Name])) {
		children = append(children, s.rows[name])
	}
	return children
}

// record returns the record, which belongs to the caller. The error of a
// garbled one comes with what is certain: the name and the incarnation.
func (r *row) record() (lifecycle.Record, error) {
	if r.err != nil {
		return lifecycle.Record{Name: r.Name, Incarnation: r.Incarnation}, r.err
	}
	record := r.Record
	record.Data = slices.Clone(record.Data)
	return record, nil
}

// snapshot returns the snapshot of a stop.
func (r *row) snapshot() lifecycle.Snapshot {
	if r.err != nil {
		record := lifecycle.Record{Name: r.Name, Incarnation: r.Incarnation}
		return lifecycle.Snapshot{Record: record, Garbled: map[string]string{"line": r.garbled}}
	}
	return lifecycle.Snapshot{Record: r.Record, Bindings: r.Bindings}
}

// garbledLine says which line of which file is garbled, and why.
func garbledLine(path string, line int, err error) error {
	return fmt.Errorf("%w: %s: line %d: %w", lifecycle.ErrInvalidRecord, path, line, err)
}
