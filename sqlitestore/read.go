package sqlitestore

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
)

// pageSize is how many records are read at a time: between pages no lock is held and no connection.
const pageSize = 1024

// Candidates implements [lifecycle.Store]: all records, oldest registration
// first. A row that cannot be decoded is yielded as an error that matches
// [lifecycle.ErrInvalidRecord] and names row and column.
//
// The next page is read while one is yielded, in a goroutine that ends with the
// iteration.
func (s *Store) Candidates(ctx context.Context) iter.Seq2[lifecycle.Record, error] {
	return func(yield func(lifecycle.Record, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		pages := make(chan page)
		go func() {
			defer close(pages)
			s.readPages(ctx, pages)
		}()
		defer func() {
			cancel()
			for range pages { // until the goroutine has ended
			}
		}()
		for p := range pages {
			if p.err != nil {
				yield(lifecycle.Record{}, fmt.Errorf("sqlitestore: read records: %w", p.err))
				return
			}
			for i := range p.rows {
				record, err := p.rows[i].record()
				if err != nil {
					err = fmt.Errorf("sqlitestore: %w", err)
				}
				if !yield(record, err) {
					return
				}
			}
		}
	}
}

type page struct {
	rows []row
	err  error
}

// readPages hands over all records page by page, and ends with the first error.
func (s *Store) readPages(ctx context.Context, pages chan<- page) {
	// Who takes a page is done with the one before: two are enough.
	var buffers [2][]row
	after := int64(0)
	for i, last := 0, false; !last; i++ {
		p := s.pageAfter(ctx, after, buffers[i%2][:0])
		buffers[i%2] = p.rows
		if last = len(p.rows) < pageSize || p.err != nil; !last {
			after = p.rows[pageSize-1].seq
		}
		pages <- p // received even where the iteration is over
	}
}

// pageAfter reads the records above a seq into a buffer.
func (s *Store) pageAfter(ctx context.Context, seq int64, buffer []row) (p page) {
	p.err = s.read(ctx, func(ctx context.Context, conn *sql.Conn) error {
		rows, err := conn.QueryContext(ctx, s.sql.page, seq, pageSize)
		if err != nil {
			return err
		}
		p.rows, err = scanRows(buffer, rows)
		return err
	})
	return p
}

// Records implements [lifecycle.Registrar].
func (s *Store) Records(ctx context.Context) ([]lifecycle.Record, error) {
	return storekit.Records(s.Candidates(ctx))
}

// Record implements [lifecycle.Registrar].
func (s *Store) Record(ctx context.Context, name string) (lifecycle.Record, error) {
	record, err := s.one(ctx, s.sql.find, name)
	if err != nil {
		return lifecycle.Record{}, fmt.Errorf("sqlitestore: record %s: %w", storekit.Quote(name), err)
	}
	return record, nil
}

// Bound implements [lifecycle.Registrar].
func (s *Store) Bound(ctx context.Context, key string) (lifecycle.Record, error) {
	record, err := s.one(ctx, s.sql.boundTo, key)
	if err != nil {
		return lifecycle.Record{}, fmt.Errorf("sqlitestore: record bound to %s: %w", storekit.Quote(key), err)
	}
	return record, nil
}

func (s *Store) one(ctx context.Context, query, arg string) (record lifecycle.Record, err error) {
	err = s.read(ctx, func(ctx context.Context, conn *sql.Conn) error {
		var r row
		err := r.scan(conn.QueryRowContext(ctx, query, arg))
		if errors.Is(err, sql.ErrNoRows) {
			return lifecycle.ErrNotRegistered
		}
		if err != nil {
			return err
		}
		record, err = r.record()
		return err
	})
	return record, err
}

// Events implements [lifecycle.Registrar]. An event whose snapshot cannot be
// decoded, such as one that a newer version of this package wrote, has one with the
// name and the incarnation alone.
func (s *Store) Events(ctx context.Context, after int64) ([]lifecycle.Event, error) {
	var events []lifecycle.Event
	var garbled []error
	err := s.read(ctx, func(ctx context.Context, conn *sql.Conn) error {
		events, garbled = events[:0], nil
		rows, err := conn.QueryContext(ctx, s.sql.events, after, storekit.MaxEvents)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var e lifecycle.Event
			var at int64
			var snapshot string
			if err := rows.Scan(&e.Seq, &at, &e.Name, &e.Incarnation, &e.Action, &e.By, &e.Reason, &e.Verdict, &snapshot); err != nil {
				return err
			}
			e.At = time.Unix(0, at).UTC()
			if err := json.Unmarshal([]byte(snapshot), &e.Snapshot); err != nil {
				garbled = append(garbled, fmt.Errorf("sqlitestore: event %d: snapshot of %q: %w", e.Seq, e.Name, err))
				e.Snapshot = lifecycle.Snapshot{Record: lifecycle.Record{Name: e.Name, Incarnation: e.Incarnation}}
			}
			events = append(events, e)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("sqlitestore: read events after %d: %w", after, err)
	}
	return events, errors.Join(garbled...)
}

// Snapshot implements [lifecycle.Registrar].
func (s *Store) Snapshot(ctx context.Context, name string) (lifecycle.Snapshot, error) {
	var snapshot lifecycle.Snapshot
	err := s.read(ctx, func(ctx context.Context, conn *sql.Conn) error {
		var text string
		err := conn.QueryRowContext(ctx, s.sql.snapshot, name).Scan(&text)
		if errors.Is(err, sql.ErrNoRows) {
			return lifecycle.ErrNoSnapshot
		}
		if err != nil {
			return err
		}
		return json.Unmarshal([]byte(text), &snapshot)
	})
	if err != nil {
		return lifecycle.Snapshot{}, fmt.Errorf("sqlitestore: snapshot of %q: %w", name, err)
	}
	return snapshot, nil
}

// encodeSnapshot writes the host's Data as it stands, without the escapes that
// json.Marshal adds for HTML.
func encodeSnapshot(snapshot lifecycle.Snapshot) (string, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(snapshot); err != nil {
		return "", err
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}
