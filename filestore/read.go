package filestore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
)

// Candidates implements [lifecycle.Store]: all records as they were at the start
// of the iteration, oldest registration first. A line that is garbled is yielded
// as an error that matches [lifecycle.ErrInvalidRecord] and [ErrGarbled] and says
// where it is, with the name if the line tells it.
func (s *Store) Candidates(ctx context.Context) iter.Seq2[lifecycle.Record, error] {
	return func(yield func(lifecycle.Record, error) bool) {
		var rows []*row
		var lost []entry
		err := s.read(ctx, func() error {
			rows, lost = s.state.sorted(), s.state.lost
			return nil
		})
		if err != nil {
			yield(lifecycle.Record{}, fmt.Errorf("filestore: read records: %w", err))
			return
		}
		for _, e := range lost {
			if !yield(lifecycle.Record{}, fmt.Errorf("filestore: %w", e.err)) {
				return
			}
		}
		for _, r := range rows {
			if err := ctx.Err(); err != nil {
				yield(lifecycle.Record{}, fmt.Errorf("filestore: read records: %w", err))
				return
			}
			record, err := r.record()
			if err != nil {
				err = fmt.Errorf("filestore: %w", err)
			}
			if !yield(record, err) {
				return
			}
		}
	}
}

// Records implements [lifecycle.Registrar].
func (s *Store) Records(ctx context.Context) ([]lifecycle.Record, error) {
	return storekit.Records(s.Candidates(ctx))
}

// Record implements [lifecycle.Registrar].
func (s *Store) Record(ctx context.Context, name string) (lifecycle.Record, error) {
	record, err := s.one(ctx, func() *row { return s.state.rows[name] })
	if err != nil {
		return lifecycle.Record{}, fmt.Errorf("filestore: record %s: %w", storekit.Quote(name), err)
	}
	return record, nil
}

// Bound implements [lifecycle.Registrar].
func (s *Store) Bound(ctx context.Context, key string) (lifecycle.Record, error) {
	record, err := s.one(ctx, func() *row {
		name, bound := s.state.keys[key]
		if !bound {
			return nil
		}
		return s.state.rows[name]
	})
	if err != nil {
		return lifecycle.Record{}, fmt.Errorf("filestore: record bound to %s: %w", storekit.Quote(key), err)
	}
	return record, nil
}

func (s *Store) one(ctx context.Context, find func() *row) (record lifecycle.Record, err error) {
	err = s.read(ctx, func() error {
		r := find()
		if r == nil {
			return lifecycle.ErrNotRegistered
		}
		record, err = r.record()
		return err
	})
	return record, err
}

// Events implements [lifecycle.Registrar]. A garbled event has a Seq of one more
// than the event before it and what else can be read of it, which may be nothing.
func (s *Store) Events(ctx context.Context, after int64) ([]lifecycle.Event, error) {
	var events []lifecycle.Event
	var garbled []error
	seq := int64(0)
	err := s.eachEvent(ctx, nil, func(text []byte, line int) bool {
		var e eventLine
		if err := decodeLine(text, &e); err != nil {
			told := legible(text)
			e.Event = lifecycle.Event{Seq: seq + 1, Name: told.Name, Incarnation: told.Incarnation, Action: "stopped"}
			e.Snapshot.Name, e.Snapshot.Incarnation = told.Name, told.Incarnation
			e.Snapshot.Garbled = map[string]string{"line": trimmed(text)}
			if e.Seq > after {
				garbled = append(garbled, fmt.Errorf("filestore: event %d: %w", e.Seq, garbledLine(s.events.path, line, err)))
			}
		}
		seq = e.Seq
		if seq > after {
			events = append(events, e.Event)
		}
		return len(events) < storekit.MaxEvents
	})
	if err != nil {
		return nil, fmt.Errorf("filestore: read events after %d: %w", after, err)
	}
	return events, errors.Join(garbled...)
}

// Snapshot implements [lifecycle.Registrar]. It reads all events.
func (s *Store) Snapshot(ctx context.Context, name string) (lifecycle.Snapshot, error) {
	var snapshot lifecycle.Snapshot
	found := lifecycle.ErrNoSnapshot
	err := s.eachEvent(ctx, quoted(name), func(text []byte, line int) bool {
		var e eventLine
		err := decodeLine(text, &e)
		if err != nil {
			e.Name = legible(text).Name
			err = garbledLine(s.events.path, line, err)
		}
		if e.Name == name {
			snapshot, found = e.Snapshot, err
		}
		return true
	})
	if err == nil {
		err = found
	}
	if err != nil {
		return lifecycle.Snapshot{}, fmt.Errorf("filestore: snapshot of %q: %w", name, err)
	}
	return snapshot, nil
}

// quoted is a text as it stands in a line.
func quoted(text string) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a string always has a text
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// eachEvent calls f for each line of the events that holds a text, until it
// returns false. What was written once is not changed any more, so that no lock
// is needed to read it.
func (s *Store) eachEvent(ctx context.Context, holding []byte, f func(text []byte, line int) bool) error {
	var end int64
	if err := s.read(ctx, func() error { end = s.events.end; return nil }); err != nil {
		return err
	}
	events, err := s.options.disk.OpenFile(s.events.path, os.O_RDONLY)
	if err != nil {
		return err
	}
	return errors.Join(scanEvents(ctx, events, end, holding, f), events.Close())
}

func scanEvents(ctx context.Context, events file, end int64, holding []byte, f func(text []byte, line int) bool) error {
	line := 0
	for text, err := range lines(events, 0, end) {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		line++
		if line == 1 || len(text) == 1 || !bytes.Contains(text, holding) {
			continue
		}
		if !f(text, line) {
			return nil
		}
	}
	return nil
}

// wasStopped reports whether an event of this incarnation was written.
func (s *Store) wasStopped(ctx context.Context, open *files, record lifecycle.Record) (used bool, err error) {
	err = scanEvents(ctx, open.events, s.events.end, quoted(record.Incarnation), func(text []byte, _ int) bool {
		e := decodeEvent(text).event
		used = e.name == record.Name && e.incarnation == record.Incarnation
		return !used
	})
	return used, err
}
