package filestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// read calls f with the state that the files hold, under the shared lock.
func (s *Store) read(ctx context.Context, f func() error) error {
	return s.access(ctx, false, func(*files) error { return f() })
}

// write calls f with that state under the exclusive lock, with the files open for
// writing.
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

// close ignores errors: what had to reach the disk was flushed before.
func (f *files) close() {
	for _, file := range []file{f.records, f.events} {
		if file != nil {
			_ = file.Close()
		}
	}
}

func (s *Store) access(ctx context.Context, exclusive bool, f func(*files) error) error {
	release, err := s.acquire(ctx, exclusive)
	if err != nil {
		return err
	}
	defer release()
	var open files
	defer open.close()
	if err := s.openFiles(&open, exclusive); err != nil {
		return unavailable(err)
	}
	if err := s.catchUp(&open); err != nil {
		return unavailable(err)
	}
	return f(&open)
}

// acquire takes the turn among the calls of this handle, then the lock among all.
func (s *Store) acquire(ctx context.Context, exclusive bool) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	unlock, err := s.lock(ctx, exclusive)
	if err != nil {
		<-s.turn
		if ctx.Err() == nil && !errors.Is(err, lifecycle.ErrUnavailable) {
			err = unavailable(err)
		}
		return nil, err
	}
	return func() { unlock(); <-s.turn }, nil
}

func (s *Store) openFiles(open *files, writable bool) (err error) {
	how := os.O_RDONLY
	if writable {
		how = os.O_RDWR
	}
	if open.records, err = s.options.disk.OpenFile(s.records.path, how); err != nil {
		return err
	}
	open.events, err = s.options.disk.OpenFile(s.events.path, how)
	return err
}

// unavailable marks an error that concerns all records, so that a pass ends with
// it instead of going on with the next record.
func unavailable(err error) error {
	return fmt.Errorf("%w: %w", lifecycle.ErrUnavailable, err)
}

// catchUp takes in what others have written. It reads everything the first time,
// and after the records were rewritten.
func (s *Store) catchUp(open *files) error {
	head, size, err := readHeader(open.records, s.records.path, holdsRecords)
	if err != nil {
		return err
	}
	if s.state == nil || head != s.head {
		return s.load(open, head, size)
	}
	err = s.takeIn(open)
	if errors.Is(err, errShrunk) {
		return s.load(open, head, size)
	}
	return err
}

// load reads both files from the beginning. The records have the given header, of
// the given size.
func (s *Store) load(open *files, head header, size int64) error {
	s.state = nil     // until all is read
	s.registrations++ // a rewritten line has the last operation alone
	_, eventsSize, err := readHeader(open.events, s.events.path, holdsEvents)
	if err != nil {
		return err
	}
	// The events up to head.Events are of records that were left out when the
	// records were rewritten.
	from := max(head.Events, eventsSize)
	if from > eventsSize && !endsLine(open.events, from) {
		return fmt.Errorf("%w: %s does not reach to where %s says, byte %d", ErrGarbled, s.events.path, s.records.path, from)
	}
	s.records.startAt(size, 1, size+head.Body)
	s.events.startAt(from, head.EventLines, 0)
	s.state, s.head = newState(s.records.path), head
	s.state.seq = head.Seq
	if err := s.takeIn(open); err != nil {
		s.state = nil
		return err
	}
	return nil
}

// endsLine reports whether a line ends at a position. None does in a file that has
// become shorter, or in the middle of another file's line.
func endsLine(f file, at int64) bool {
	var last [1]byte
	_, err := f.ReadAt(last[:], at-1)
	return err == nil && last[0] == '\n'
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
	switch e.row.Op {
	case opHeartbeat, opSetData, opBind, opUnbind:
	default: // as of a garbled line
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
		r.Record = legible(text)
		return entry{row: &r, err: err, text: trimmed(text)}
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
		told := legible(text)
		return entry{event: stopped{name: told.Name, incarnation: told.Incarnation}, err: err, text: trimmed(text)}
	}
	return entry{event: stopped{line.Seq, line.Name, line.Incarnation}, more: line.More, lasting: true}
}

func trimmed(text []byte) string { return string(bytes.TrimSuffix(text, []byte("\n"))) }
