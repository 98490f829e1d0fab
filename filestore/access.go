package filestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// read calls f with the state as the files have it.
func (s *Store) read(ctx context.Context, f func() error) error {
	return s.access(ctx, false, func(*files) error { return f() })
}

// write does so under the exclusive lock, with the files open for writing.
func (s *Store) write(ctx context.Context, f func(*files) error) error {
	return s.access(ctx, true, func(files *files) error {
		if err := s.rewriteIfDue(files); err != nil {
			return err
		}
		return f(files)
	})
}

// files are the open files of one call.
type files struct{ records, events file }

// close closes them. What was written was flushed before, or need not be.
func (f *files) close() {
	for _, file := range []file{f.records, f.events} {
		if file != nil {
			_ = file.Close()
		}
	}
}

func (s *Store) access(ctx context.Context, exclusive bool, f func(*files) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	unlock, err := s.lock(ctx, exclusive)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, lifecycle.ErrUnavailable) {
			err = unavailable(err)
		}
		return err
	}
	defer unlock()
	var open files
	defer open.close()
	how := os.O_RDONLY
	if exclusive {
		how = os.O_RDWR
	}
	if open.records, err = s.options.disk.OpenFile(s.records.path, how); err != nil {
		return unavailable(err)
	}
	if open.events, err = s.options.disk.OpenFile(s.events.path, how); err != nil {
		return unavailable(err)
	}
	if err := s.catchUp(&open); err != nil {
		return unavailable(err)
	}
	return f(&open)
}

// unavailable makes an error of the files one that ends a pass: it is not about
// one record, and would meet all others too.
func unavailable(err error) error {
	return fmt.Errorf("%w: %w", lifecycle.ErrUnavailable, err)
}

// catchUp takes in what others have written, or everything if the records were
// rewritten since or not read yet.
func (s *Store) catchUp(open *files) error {
	head, size, err := readHeader(open.records, s.records.path, holdsRecords)
	if err != nil {
		return err
	}
	if s.state != nil && head == s.head {
		err = s.takeIn(open)
		if !errors.Is(err, errShrunk) {
			return err
		}
	}
	return s.load(open, head, size)
}

func (s *Store) load(open *files, head header, size int64) error {
	s.state = nil     // until all is read
	s.registrations++ // a rewritten line tells the last operation alone
	_, eventsSize, err := readHeader(open.events, s.events.path, holdsEvents)
	if err != nil {
		return err
	}
	from := max(head.Events, eventsSize)
	if from > eventsSize {
		// Less than there was, or another file.
		var last [1]byte
		if _, err := open.events.ReadAt(last[:], from-1); err != nil || last[0] != '\n' {
			return fmt.Errorf("%w: %s does not reach to where %s says, byte %d", ErrGarbled, s.events.path, s.records.path, from)
		}
	}
	s.records.end, s.records.flushed, s.records.lines, s.records.unended = size, size+head.Body, 1, false
	s.events.end, s.events.lines, s.events.unended = from, head.EventLines, false
	state := newState(s.records.path)
	state.seq = head.Seq
	s.state, s.head = state, head
	if err := s.takeIn(open); err != nil {
		s.state = nil
		return err
	}
	return nil
}

func (s *Store) takeIn(open *files) error {
	if err := s.records.catchUp(open.records, s.applyRecord); err != nil {
		return fmt.Errorf("%s: %w", s.records.path, err)
	}
	if err := s.events.catchUp(open.events, s.state.applyEvent); err != nil {
		return fmt.Errorf("%s: %w", s.events.path, err)
	}
	return nil
}

func (s *Store) applyRecord(e entry) {
	if op := e.row.Op; op != opHeartbeat && op != opBind && op != opUnbind {
		s.registrations++
	}
	s.state.applyRecord(e)
}

func decodeRecord(text []byte) entry {
	var line recordLine
	err := decodeLine(text, &line)
	if err == nil && line.Name == "" {
		err = fmt.Errorf("%w: a record without a name", ErrGarbled)
	}
	if err != nil {
		var r row
		r.Name, r.Incarnation = legible(text)
		return entry{row: &r, err: err, text: trimmed(text), lasting: true}
	}
	return entry{row: &row{recordLine: line}, more: line.More, lasting: line.Op != opHeartbeat}
}

func decodeEvent(text []byte) entry {
	var line struct {
		Seq               int64
		Name, Incarnation string
		More              int
	}
	err := decodeLine(text, &line)
	if err != nil {
		name, incarnation := legible(text)
		return entry{event: stopped{name: name, incarnation: incarnation}, err: err, text: trimmed(text), lasting: true}
	}
	return entry{event: stopped{line.Seq, line.Name, line.Incarnation}, more: line.More, lasting: true}
}

func trimmed(text []byte) string { return string(bytes.TrimSuffix(text, []byte("\n"))) }
