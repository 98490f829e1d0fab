package filestore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

// Launch implements [lifecycle.Registrar]. For an incarnation of the host's own all
// events are read, to find out whether it was stopped before.
func (s *Store) Launch(ctx context.Context, record lifecycle.Record) (lifecycle.Record, error) {
	launching, made, err := storekit.Launching(record, s.options.Owner, s.options.Clock)
	if err == nil {
		err = launching.Validate()
	}
	if err == nil {
		err = s.write(ctx, func(open *files) error {
			if s.state.rows[record.Name] != nil {
				return lifecycle.ErrNameTaken
			}
			return s.register(ctx, open, launching, made)
		})
	}
	if err != nil {
		return lifecycle.Record{}, fmt.Errorf("filestore: launch %q: %w", record.Name, err)
	}
	return launching, nil
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
			return storekit.StoppedBefore(record.Incarnation)
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

// Activate implements [lifecycle.Registrar].
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

// Deactivate implements [lifecycle.Registrar].
func (s *Store) Deactivate(ctx context.Context, record lifecycle.Record) error {
	err := s.update(ctx, record, opDeactivate, func(line *recordLine) {
		line.Phase, line.Identity, line.Heartbeat = lifecycle.Inactive, liveness.Identity{}, lifecycle.Beat(s.options.Clock)
	})
	if err != nil {
		return fmt.Errorf("filestore: deactivate %q: %w", record.Name, err)
	}
	return nil
}

// Heartbeat implements [lifecycle.Registrar].
func (s *Store) Heartbeat(ctx context.Context, record lifecycle.Record) error {
	err := s.update(ctx, record, opHeartbeat, func(line *recordLine) {
		line.Heartbeat = lifecycle.Beat(s.options.Clock)
	})
	if err != nil {
		return fmt.Errorf("filestore: heartbeat of %q: %w", record.Name, err)
	}
	return nil
}

// SetData implements [lifecycle.Registrar].
func (s *Store) SetData(ctx context.Context, record lifecycle.Record, data json.RawMessage) error {
	err := storekit.ValidateData(record, data)
	if err == nil {
		data = slices.Clone(data)
		err = s.update(ctx, record, opSetData, func(line *recordLine) { line.Data = data })
	}
	if err != nil {
		return fmt.Errorf("filestore: set Data of %q: %w", record.Name, err)
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

// Bind implements [lifecycle.Registrar].
func (s *Store) Bind(ctx context.Context, record lifecycle.Record, key string) error {
	err := storekit.ValidateKey(key)
	if err == nil {
		err = s.write(ctx, func(open *files) error { return s.bind(open, record, key) })
	}
	if err != nil {
		return fmt.Errorf("filestore: bind %s to %q: %w", storekit.Quote(key), record.Name, err)
	}
	return nil
}

func (s *Store) bind(open *files, record lifecycle.Record, key string) error {
	line, err := s.line(record, opBind)
	if err != nil {
		return err
	}
	line.Bindings = storekit.InsertKey(line.Bindings, key)
	var lines []recordLine
	switch holder, bound := s.state.keys[key]; {
	case bound && holder == line.Name:
		return nil
	case bound:
		other := s.state.rows[holder].recordLine
		other.Op = opUnbind
		other.Bindings = storekit.RemoveKey(other.Bindings, key)
		lines = append(lines, other)
	}
	return s.put(open, append(lines, line)...)
}

// Registrations implements [lifecycle.Registrar]. It reads what was written since
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
