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

// pageSize is how many records one query reads. Between pages no connection is held.
const pageSize = 256

// Candidates implements [lifecycle.Store]: the records of [Options.Owner], or all
// records of a store without one, oldest registration first. A row that cannot
// be decoded is yielded as an error that matches [lifecycle.ErrInvalidRecord]
// and names row and column.
func (s *Store) Candidates(ctx context.Context) iter.Seq2[lifecycle.Record, error] {
	return s.records(ctx, s.options.Owner)
}

// records yields the records of an owner; "" is everybody.
func (s *Store) records(ctx context.Context, owner string) iter.Seq2[lifecycle.Record, error] {
	return func(yield func(lifecycle.Record, error) bool) {
		for after, more := int64(0), true; more; {
			page, err := s.recordsAfter(ctx, owner, after)
			if err != nil {
				yield(lifecycle.Record{}, fmt.Errorf("postgresstore: read records: %w", err))
				return
			}
			for _, row := range page {
				record, err := row.Record()
				if err != nil {
					err = fmt.Errorf("postgresstore: %w", err)
				}
				if !yield(record, err) {
					return
				}
				after = row.Seq
			}
			more = len(page) == pageSize
		}
	}
}

const (
	pageQuery    = `SELECT ` + columns + ` FROM rollcall_records WHERE seq > $1 ORDER BY seq LIMIT $2`
	ownPageQuery = `SELECT ` + columns + ` FROM rollcall_records WHERE seq > $1 AND owner = $3 ORDER BY owner, seq LIMIT $2`
)

// recordsAfter returns the next page of records.
func (s *Store) recordsAfter(ctx context.Context, owner string, after int64) (page []storekit.Row, err error) {
	query, args := pageQuery, []any{after, pageSize}
	if owner != "" {
		query, args = ownPageQuery, append(args, owner)
	}
	err = s.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) (err error) {
		page, err = collect(ctx, conn, s.sql(query), args...)
		return err
	})
	return page, err
}

// Records implements [lifecycle.Registrar].
func (s *Store) Records(ctx context.Context) ([]lifecycle.Record, error) {
	return storekit.Records(s.records(ctx, ""))
}

const findQuery = `SELECT ` + columns + ` FROM rollcall_records WHERE name = $1`

// Record implements [lifecycle.Registrar].
func (s *Store) Record(ctx context.Context, name string) (lifecycle.Record, error) {
	record, err := s.one(ctx, findQuery, name)
	if err != nil {
		return lifecycle.Record{}, fmt.Errorf("postgresstore: record %s: %w", storekit.Quote(name), err)
	}
	return record, nil
}

const boundToQuery = `SELECT ` + columns + ` FROM rollcall_records
	WHERE seq = (SELECT record FROM rollcall_bindings WHERE key = $1)`

// Bound implements [lifecycle.Registrar].
func (s *Store) Bound(ctx context.Context, key string) (lifecycle.Record, error) {
	record, err := s.one(ctx, boundToQuery, key)
	if err != nil {
		return lifecycle.Record{}, fmt.Errorf("postgresstore: record bound to %s: %w", storekit.Quote(key), err)
	}
	return record, nil
}

func (s *Store) one(ctx context.Context, query, arg string) (record lifecycle.Record, err error) {
	if validateText(arg) != nil {
		return record, lifecycle.ErrNotRegistered // it cannot be
	}
	err = s.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		row, err := collectOne(ctx, conn, s.sql(query), arg)
		if err != nil {
			return err
		}
		record, err = row.Record()
		return err
	})
	return record, err
}

// Events implements [lifecycle.Registrar]. An event that commits later has a higher
// Seq than all that were there before, so a reader who goes on from the last one
// misses none. [Store.Follow] waits for more.
//
// An event whose snapshot cannot be decoded, such as one that a newer version of
// this package wrote, has one with only the name and the incarnation.
func (s *Store) Events(ctx context.Context, after int64) ([]lifecycle.Event, error) {
	page, err := s.eventsAfter(ctx, after)
	if err != nil {
		return nil, fmt.Errorf("postgresstore: read events after %d: %w", after, err)
	}
	var events []lifecycle.Event
	var garbled []error
	for _, e := range page {
		events = append(events, e.event)
		garbled = append(garbled, e.garbled)
	}
	return events, errors.Join(garbled...)
}

// readEvent is an event, and what is wrong with its snapshot.
type readEvent struct {
	event   lifecycle.Event
	garbled error
}

const eventsQuery = `SELECT seq, at, name, incarnation, action, by, reason, verdict, snapshot::text, data::text
	FROM rollcall_events WHERE seq > $1 ORDER BY seq LIMIT $2`

// eventsAfter returns the next page of events, at most storekit.MaxEvents.
func (s *Store) eventsAfter(ctx context.Context, after int64) (page []readEvent, err error) {
	err = s.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		rows, err := conn.Query(ctx, s.sql(eventsQuery), after, storekit.MaxEvents)
		if err == nil {
			page, err = pgx.CollectRows(rows, scanEvent)
		}
		return err
	})
	return page, err
}

func scanEvent(from pgx.CollectableRow) (readEvent, error) {
	var e lifecycle.Event
	var snapshot string
	var data *string
	if err := from.Scan(&e.Seq, &e.At, &e.Name, &e.Incarnation, &e.Action, &e.By, &e.Reason, &e.Verdict, &snapshot, &data); err != nil {
		return readEvent{}, err
	}
	e.At = e.At.UTC()
	var garbled error
	if e.Snapshot, garbled = decodeSnapshot(snapshot, data); garbled != nil {
		garbled = fmt.Errorf("postgresstore: event %d: snapshot of %q: %w", e.Seq, e.Name, garbled)
		e.Snapshot = storekit.UndecodedSnapshot(e)
	}
	return readEvent{e, garbled}, nil
}

// Snapshot implements [lifecycle.Registrar].
func (s *Store) Snapshot(ctx context.Context, name string) (lifecycle.Snapshot, error) {
	snapshot, err := s.newestSnapshot(ctx, name)
	if err != nil {
		return lifecycle.Snapshot{}, fmt.Errorf("postgresstore: snapshot of %q: %w", name, err)
	}
	return snapshot, nil
}

// snapshotQuery says "+ 0" to keep the planner from reading the events backwards
// until it meets the name: few events have it.
const snapshotQuery = `SELECT snapshot::text, data::text FROM rollcall_events WHERE name = $1 AND action = 'stopped' ORDER BY seq + 0 DESC LIMIT 1`

func (s *Store) newestSnapshot(ctx context.Context, name string) (lifecycle.Snapshot, error) {
	if validateText(name) != nil {
		return lifecycle.Snapshot{}, lifecycle.ErrNoSnapshot // it cannot have any
	}
	var text string
	var data *string
	err := s.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		err := conn.QueryRow(ctx, s.sql(snapshotQuery), name).Scan(&text, &data)
		if errors.Is(err, pgx.ErrNoRows) {
			return lifecycle.ErrNoSnapshot
		}
		return err
	})
	if err != nil {
		return lifecycle.Snapshot{}, err
	}
	return decodeSnapshot(text, data)
}

// encodeSnapshot splits a snapshot into the part of which jsonb keeps the meaning
// and the data, whose text it would change.
func encodeSnapshot(snapshot lifecycle.Snapshot) (text string, data *string, err error) {
	if snapshot.Data != nil {
		s := string(snapshot.Data)
		data = &s
	}
	snapshot.Data = nil
	b, err := json.Marshal(snapshot)
	return string(b), data, err
}

// decodeSnapshot joins what encodeSnapshot has split. Its error matches
// lifecycle.ErrInvalidRecord.
func decodeSnapshot(text string, data *string) (lifecycle.Snapshot, error) {
	snapshot, err := storekit.DecodeSnapshot(text)
	if err != nil {
		return lifecycle.Snapshot{}, err
	}
	snapshot.Data = nil
	if data != nil {
		snapshot.Data = json.RawMessage(*data)
	}
	return snapshot, nil
}
