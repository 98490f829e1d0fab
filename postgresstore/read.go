package postgresstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
)

// pageSize is how many records are read at a time: between pages no connection is held.
const pageSize = 256

// Candidates implements [lifecycle.Store]: the records of [Options.Owner], or all
// records of a store without one, oldest registration first. A row that cannot
// be decoded is yielded as an error that matches [lifecycle.ErrInvalidRecord]
// and names row and column.
func (s *Store) Candidates(ctx context.Context) iter.Seq2[lifecycle.Record, error] {
	return s.records(ctx, s.options.Owner)
}

const pageQuery = `SELECT ` + columns + ` FROM rollcall_records WHERE seq > $1 ORDER BY seq LIMIT $2`

const ownPageQuery = `SELECT ` + columns + ` FROM rollcall_records WHERE seq > $1 AND owner = $3 ORDER BY owner, seq LIMIT $2`

func (s *Store) records(ctx context.Context, owner string) iter.Seq2[lifecycle.Record, error] {
	return func(yield func(lifecycle.Record, error) bool) {
		var after int64
		for {
			var page []storekit.Row
			err := s.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) (err error) {
				if owner != "" {
					page, err = collect(ctx, conn, s.sql(ownPageQuery), after, pageSize, owner)
				} else {
					page, err = collect(ctx, conn, s.sql(pageQuery), after, pageSize)
				}
				return err
			})
			if err != nil {
				yield(lifecycle.Record{}, fmt.Errorf("postgresstore: read records: %w", err))
				return
			}
			for _, r := range page {
				record, err := r.Record()
				if err != nil {
					err = fmt.Errorf("postgresstore: %w", err)
				}
				if !yield(record, err) {
					return
				}
				after = r.Seq
			}
			if len(page) < pageSize {
				return
			}
		}
	}
}

// Records implements [lifecycle.Registrar].
func (s *Store) Records(ctx context.Context) ([]lifecycle.Record, error) {
	return storekit.Records(s.records(ctx, ""))
}

const findQuery = `SELECT ` + columns + ` FROM rollcall_records WHERE name = $1`

// Record implements [lifecycle.Registrar].
func (s *Store) Record(ctx context.Context, name string) (lifecycle.Record, error) {
	record, err := s.one(ctx, s.sql(findQuery), name)
	if err != nil {
		return lifecycle.Record{}, fmt.Errorf("postgresstore: record %s: %w", storekit.Quote(name), err)
	}
	return record, nil
}

const boundToQuery = `SELECT ` + columns + ` FROM rollcall_records
	WHERE seq = (SELECT record FROM rollcall_bindings WHERE key = $1)`

// Bound implements [lifecycle.Registrar].
func (s *Store) Bound(ctx context.Context, key string) (lifecycle.Record, error) {
	record, err := s.one(ctx, s.sql(boundToQuery), key)
	if err != nil {
		return lifecycle.Record{}, fmt.Errorf("postgresstore: record bound to %s: %w", storekit.Quote(key), err)
	}
	return record, nil
}

func (s *Store) one(ctx context.Context, query, arg string) (record lifecycle.Record, err error) {
	if validateText(arg) != nil {
		return record, lifecycle.ErrNotRegistered // nor can it be
	}
	err = s.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		r, err := collectOne(ctx, conn, query, arg)
		if err != nil {
			return err
		}
		record, err = r.Record()
		return err
	})
	return record, err
}

// Events implements [lifecycle.Registrar]. An event that is committed later has a
// higher Seq than all that were there before: nothing is missed. [Store.Follow]
// waits for more.
//
// An event whose snapshot cannot be decoded, such as one that a newer version of
// this package wrote, has one with the name and the incarnation alone.
func (s *Store) Events(ctx context.Context, after int64) ([]lifecycle.Event, error) {
	var events []lifecycle.Event
	var garbled []error
	for event, err := range s.page(ctx, after) {
		switch {
		case event.Seq == 0:
			return nil, fmt.Errorf("postgresstore: read events after %d: %w", after, err)
		case err != nil:
			garbled = append(garbled, err)
		}
		events = append(events, event)
	}
	return events, errors.Join(garbled...)
}

// readEvent is an event and what is wrong with its snapshot.
type readEvent struct {
	event   lifecycle.Event
	garbled error
}

const eventsQuery = `SELECT seq, at, name, incarnation, action, by, reason, verdict, snapshot::text, data::text
	FROM rollcall_events WHERE seq > $1 ORDER BY seq LIMIT $2`

func (s *Store) eventsAfter(ctx context.Context, from querier, after int64) ([]readEvent, error) {
	rows, err := from.Query(ctx, s.sql(eventsQuery), after, storekit.MaxEvents)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (readEvent, error) {
		var e lifecycle.Event
		var snapshot string
		var data *string
		if err := row.Scan(&e.Seq, &e.At, &e.Name, &e.Incarnation, &e.Action, &e.By, &e.Reason, &e.Verdict, &snapshot, &data); err != nil {
			return readEvent{}, err
		}
		e.At = e.At.UTC()
		var garbled error
		if e.Snapshot, garbled = decodeSnapshot(snapshot, data); garbled != nil {
			garbled = fmt.Errorf("postgresstore: event %d: snapshot of %q: %w", e.Seq, e.Name, garbled)
			e.Snapshot = lifecycle.Snapshot{Record: lifecycle.Record{Name: e.Name, Incarnation: e.Incarnation}}
		}
		return readEvent{e, garbled}, nil
	})
}

// snapshotQuery says "+ 0" to keep the planner from reading the events backwards
// until it meets the name: few events have it.
const snapshotQuery = `SELECT snapshot::text, data::text FROM rollcall_events WHERE name = $1 AND action = 'stopped' ORDER BY seq + 0 DESC LIMIT 1`

// Snapshot implements [lifecycle.Registrar].
func (s *Store) Snapshot(ctx context.Context, name string) (lifecycle.Snapshot, error) {
	var snapshot lifecycle.Snapshot
	err := s.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		if validateText(name) != nil {
			return lifecycle.ErrNoSnapshot
		}
		var text string
		var data *string
		err := conn.QueryRow(ctx, s.sql(snapshotQuery), name).Scan(&text, &data)
		if errors.Is(err, pgx.ErrNoRows) {
			return lifecycle.ErrNoSnapshot
		}
		if err == nil {
			snapshot, err = decodeSnapshot(text, data)
		}
		return err
	})
	if err != nil {
		return lifecycle.Snapshot{}, fmt.Errorf("postgresstore: snapshot of %q: %w", name, err)
	}
	return snapshot, nil
}

// encodeSnapshot splits a snapshot into what jsonb keeps the meaning of, and the
// data, of which it would not keep the text.
func encodeSnapshot(snapshot lifecycle.Snapshot) (text string, data *string, err error) {
	if snapshot.Data != nil {
		s := string(snapshot.Data)
		data = &s
	}
	snapshot.Data = nil
	b, err := json.Marshal(snapshot)
	return string(b), data, err
}

func decodeSnapshot(text string, data *string) (lifecycle.Snapshot, error) {
	var snapshot lifecycle.Snapshot
	if err := json.Unmarshal([]byte(text), &snapshot); err != nil {
		return lifecycle.Snapshot{}, err
	}
	snapshot.Data = nil
	if data != nil {
		snapshot.Data = json.RawMessage(*data)
	}
	return snapshot, nil
}
