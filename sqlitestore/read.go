package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
)

// pageSize is how many records are read at a time. Between pages no lock and no
// connection is held.
const pageSize = 1024

const (
	selectPage   = `SELECT ` + columns + ` FROM rollcall_records WHERE seq > ? ORDER BY seq LIMIT ?`
	selectRecord = `SELECT ` + columns + ` FROM rollcall_records WHERE name = ?`
	selectBound  = `SELECT ` + columns + ` FROM rollcall_records WHERE seq = (SELECT record FROM rollcall_bindings WHERE key = ?)`
)

// Candidates implements [lifecycle.Store]: all records, oldest registration first. A
// row that cannot be decoded is yielded as an error that matches
// [lifecycle.ErrInvalidRecord] and names row and column.
//
// While one page of rows is yielded, a goroutine reads the next one. It ends with the
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
				record, err := p.rows[i].Record()
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

// readPages sends all records page by page, and returns after the first error.
func (s *Store) readPages(ctx context.Context, pages chan<- page) {
	// A receiver is done with one page before it receives the next: two are enough.
	var buffers [2][]row
	after := int64(0)
	for i, last := 0, false; !last; i++ {
		p := s.pageAfter(ctx, after, buffers[i%2][:0])
		buffers[i%2] = p.rows
		if last = len(p.rows) < pageSize || p.err != nil; !last {
			after = p.rows[pageSize-1].Seq
		}
		pages <- p // received even if the iteration is over
	}
}

// pageAfter reads the records above a seq into a buffer.
func (s *Store) pageAfter(ctx context.Context, seq int64, buffer []row) (p page) {
	p.err = s.read(ctx, func(ctx context.Context, conn *sql.Conn) error {
		rows, err := conn.QueryContext(ctx, s.sql(selectPage), seq, pageSize)
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
	record, err := s.one(ctx, s.sql(selectRecord), name)
	if err != nil {
		return lifecycle.Record{}, fmt.Errorf("sqlitestore: record %s: %w", storekit.Quote(name), err)
	}
	return record, nil
}

// Bound implements [lifecycle.Registrar].
func (s *Store) Bound(ctx context.Context, key string) (lifecycle.Record, error) {
	record, err := s.one(ctx, s.sql(selectBound), key)
	if err != nil {
		return lifecycle.Record{}, fmt.Errorf("sqlitestore: record bound to %s: %w", storekit.Quote(key), err)
	}
	return record, nil
}

func (s *Store) one(ctx context.Context, query, arg string) (record lifecycle.Record, err error) {
	err = s.read(ctx, func(ctx context.Context, conn *sql.Conn) error {
		var r row
		err := scanRow(conn.QueryRowContext(ctx, query, arg), &r)
		if errors.Is(err, sql.ErrNoRows) {
			return lifecycle.ErrNotRegistered
		}
		if err != nil {
			return err
		}
		record, err = r.Record()
		return err
	})
	return record, err
}
