package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
)

const (
	selectEvents = `SELECT seq, at, name, incarnation, action, by, reason, verdict, snapshot FROM rollcall_events
		WHERE seq > ? ORDER BY seq LIMIT ?`
	selectSnapshot = `SELECT snapshot FROM rollcall_events WHERE name = ? AND action = 'stopped' ORDER BY seq DESC LIMIT 1`
)

// Events implements [lifecycle.Registrar].
func (s *Store) Events(ctx context.Context, after int64) ([]lifecycle.Event, error) {
	var events []lifecycle.Event
	var garbled error
	err := s.read(ctx, func(ctx context.Context, conn *sql.Conn) error {
		rows, err := conn.QueryContext(ctx, s.sql(selectEvents), after, storekit.MaxEvents)
		if err != nil {
			return err
		}
		events, garbled, err = scanEvents(rows)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("sqlitestore: read events after %d: %w", after, err)
	}
	return events, garbled
}

// scanEvents returns all events, and names those whose snapshot is garbled.
func scanEvents(rows *sql.Rows) (events []lifecycle.Event, garbled, err error) {
	defer rows.Close()
	var errs []error
	for rows.Next() {
		var e lifecycle.Event
		var at int64
		var snapshot string
		if err := rows.Scan(&e.Seq, &at, &e.Name, &e.Incarnation, &e.Action, &e.By, &e.Reason, &e.Verdict, &snapshot); err != nil {
			return nil, nil, err
		}
		e.At = time.Unix(0, at).UTC()
		if e.Snapshot, err = storekit.DecodeSnapshot(snapshot); err != nil {
			errs = append(errs, fmt.Errorf("sqlitestore: event %d: snapshot of %q: %w", e.Seq, e.Name, err))
			e.Snapshot = storekit.UndecodedSnapshot(e)
		}
		events = append(events, e)
	}
	return events, errors.Join(errs...), rows.Err()
}

// Snapshot implements [lifecycle.Registrar].
func (s *Store) Snapshot(ctx context.Context, name string) (snapshot lifecycle.Snapshot, err error) {
	err = s.read(ctx, func(ctx context.Context, conn *sql.Conn) (err error) {
		var text string
		err = conn.QueryRowContext(ctx, s.sql(selectSnapshot), name).Scan(&text)
		if errors.Is(err, sql.ErrNoRows) {
			return lifecycle.ErrNoSnapshot
		}
		if err != nil {
			return err
		}
		snapshot, err = storekit.DecodeSnapshot(text)
		return err
	})
	if err != nil {
		return lifecycle.Snapshot{}, fmt.Errorf("sqlitestore: snapshot of %q: %w", name, err)
	}
	return snapshot, nil
}
