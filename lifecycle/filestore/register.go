package filestore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

// Launch registers a record in phase Launching, before its process is started,
// and returns it as stored: a new UUIDv7 where Incarnation was empty, the
// present where CreatedAt was zero, a heartbeat of now. Keep what it returns:
// its Name and Incarnation are what the other methods go by.
//
// The error matches [lifecycle.ErrNameTaken] when a record has the name ([Store.Record]
// returns it, and [lifecycle.Cleaner.Judge] says what has become of it), and
// [lifecycle.ErrInvalidRecord] for a record that cannot be stored, or whose
// incarnation this name has had before. For an incarnation that is not made here
// all events are read to find that out.
func (s *Store) Launch(ctx context.Context, record lifecycle.Record) (lifecycle.Record, error) {
	made := record.Incarnation == ""
	if made {
		record.Incarnation = uuid.Must(uuid.NewV7()).String()
	}
	if record.CreatedAt.IsZero() {
		record.CreatedAt = time.Now()
	}
	record.Phase, record.Identity, record.Heartbeat = lifecycle.Launching, liveness.Identity{}, lifecycle.Beat(s.options.Clock)
	err := record.Validate()
	if err == nil {
		err = s.write(ctx, func(open *files) error {
			if s.state.rows[record.Name] != nil {
				return lifecycle.ErrNameTaken
			}
			return s.register(ctx, open, record, made)
		})
	}
	if err != nil {
		return lifecycle.Record{}, fmt.Errorf("filestore: launch %q: %w", record.Name, err)
	}
	return record, nil
}

// register writes the first line of a record. An incarnation that was made for
// it cannot have been stopped before.
func (s *Store) register(ctx context.Context, open *files, record lifecycle.Record, made bool) error {
	if !made {
		used, err := s.wasStopped(ctx, open, record)
		if err != nil {
			return err
		}
		if used {
			return fmt.Errorf("%w: incarnation %q was stopped before", lifecycle.ErrInvalidRecord, record.Incarnation)
		}
	}
	record.Data = slices.Clone(record.Data)
	return s.put(open, recordLine{Record: record, Number: s.state.next, Op: opLaunch})
}

// put writes lines of records in one step, and takes them in.
func (s *Store) put(open *files, lines ...recordLine) error {
	var text []byte
	entries := make([]entry, len(lines))
	for i, line := range lines {
		line.More = len(lines) - 1 - i
		// As they will be read.
		line.CreatedAt, line.Heartbeat.Wall = line.CreatedAt.Round(0).UTC(), line.Heartbeat.Wall.Round(0).UTC()
		before := len(text)
		var err error
		if text, err = appendLine(text, line); err != nil {
			return fmt.Errorf("%w: %w", lifecycle.ErrInvalidRecord, err)
		}
		entries[i] = entry{row: &row{recordLine: line}, size: int64(len(text) - before)}
	}
	if err := s.records.append(open.records, text, lines[0].Op != opHeartbeat); err != nil {
		return unavailable(err)
	}
	for _, e := range entries {
		s.applyRecord(e)
	}
	return nil
}

// Activate puts a record into phase Running with the identity of its process,
// and counts as a heartbeat. The zero Identity is right where no process is
// tracked: heartbeats alone decide then.
//
// The error matches [lifecycle.ErrNotRegistered] when the record was stopped
// or its name registered anew: the process it speaks of has no record.
func (s *Store) Activate(ctx context.Context, record lifecycle.Record, identity liveness.Identity) error {
	_, err := identity.MarshalText()
	if err == nil {
		err = s.update(ctx, record, opActivate, func(line *recordLine) {
			line.Phase, line.Identity, line.Heartbeat = lifecycle.Running, identity, lifecycle.Beat(s.options.Clock)
		})
	}
	if err != nil {
		return fmt.Errorf("filestore: activate %q: %w", record.Name, err)
	}
	return nil
}

// Deactivate puts a record into phase Inactive, without a process, and counts
// as a heartbeat. Activate makes it run again.
//
// The error matches [lifecycle.ErrNotRegistered] as for Activate.
func (s *Store) Deactivate(ctx context.Context, record lifecycle.Record) error {
	err := s.update(ctx, record, opDeactivate, func(line *recordLine) {
		line.Phase, line.Identity, line.Heartbeat = lifecycle.Inactive, liveness.Identity{}, lifecycle.Beat(s.options.Clock)
	})
	if err != nil {
		return fmt.Errorf("filestore: deactivate %q: %w", record.Name, err)
	}
	return nil
}

// Heartbeat notes a sign of life. It is the one write that a loss of power may
// undo: see the package comment. On a launching record it restarts the time
// that this has to come up.
//
// The error matches [lifecycle.ErrNotRegistered] as for Activate.
func (s *Store) Heartbeat(ctx context.Context, record lifecycle.Record) error {
	err := s.update(ctx, record, opHeartbeat, func(line *recordLine) {
		line.Heartbeat = lifecycle.Beat(s.options.Clock)
	})
	if err != nil {
		return fmt.Errorf("filestore: heartbeat of %q: %w", record.Name, err)
	}
	return nil
}

// update writes the record's line anew.
func (s *Store) update(ctx context.Context, record lifecycle.Record, op string, edit func(*recordLine)) error {
	return s.write(ctx, func(open *files) error {
		line, err := s.line(record, op)
		if err != nil {
			return err
		}
		edit(&line)
		return s.put(open, line)
	})
}

// line returns the line of a registered record, for another operation.
func (s *Store) line(record lifecycle.Record, op string) (recordLine, error) {
	r := s.state.find(record)
	switch {
	case r == nil:
		return recordLine{}, lifecycle.ErrNotRegistered
	case r.err != nil:
		return recordLine{}, r.err // what it held would be lost
	}
	line := r.recordLine
	line.Op = op
	return line, nil
}

// Bind binds a key, such as the name of a session, to a record until it is
// stopped or the key is bound to another. Snapshots list the keys; [Store.Bound]
// finds the record.
//
// The error matches [lifecycle.ErrNotRegistered] as for Activate, and
// [lifecycle.ErrInvalidRecord] for a key that is not UTF-8.
func (s *Store) Bind(ctx context.Context, record lifecycle.Record, key string) error {
	err := lifecycle.ValidateKey(key)
	if err == nil {
		err = s.write(ctx, func(open *files) error { return s.bind(open, record, key) })
	}
	if err != nil {
		return fmt.Errorf("filestore: bind %s to %q: %w", quoteShort(key), record.Name, err)
	}
	return nil
}

func (s *Store) bind(open *files, record lifecycle.Record, key string) error {
	line, err := s.line(record, opBind)
	if err != nil {
		return err
	}
	line.Bindings = insert(line.Bindings, key)
	var lines []recordLine
	switch holder, bound := s.state.keys[key]; {
	case bound && holder == line.Name:
		return nil
	case bound:
		other := s.state.rows[holder].recordLine
		other.Op = opUnbind
		other.Bindings = slices.DeleteFunc(slices.Clone(other.Bindings), func(k string) bool { return k == key })
		lines = append(lines, other)
	}
	return s.put(open, append(lines, line)...)
}

// insert returns the sorted keys with another one.
func insert(keys []string, key string) []string {
	i, found := slices.BinarySearch(keys, key)
	if found {
		return keys
	}
	return slices.Insert(slices.Clone(keys), i, key)
}

// Registrations implements [lifecycle.Registry]. It reads what was written since
// the last call of any method.
func (s *Store) Registrations(ctx context.Context) (n int64, err error) {
	err = s.read(ctx, func() error {
		n = s.registrations
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("filestore: read registrations: %w", err)
	}
	return n, nil
}

func quoteShort(s string) string {
	const most = 80
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}
