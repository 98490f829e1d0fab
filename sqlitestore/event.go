package sqlitestore

import (
	"context"
	"database/sql"
	"encoding/json"
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
		if err := storekit.DecodeSnapshot(&e, snapshot); err != nil {
			errs = append(errs, fmt.Errorf("sqlitestore: %w", err))
		}
		events = append(events, e)
	}
	return events, errors.Join(errs...), rows.Err()
}

// Snapshot implements [lifecycle.Registrar].
func (s *Store) Snapshot(ctx context.Context, name string) (lifecycle.Snapshot, error) {
	var snapshot lifecycle.Snapshot
	err := s.read(ctx, func(ctx context.Context, conn *sql.Conn) error {
		var text string
		err := conn.QueryRowContext(ctx, s.sql(selectSnapshot), name).Scan(&text)
		if errors.Is(err, sql.ErrNoRows) {
			return lifecycle.ErrNoSnapshot
		}
		if err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(text), &snapshot); err != nil {
			return fmt.Errorf("%w: %w", lifecycle.ErrInvalidRecord, err)
		}
		return nil
	})
	if err != nil {
		return lifecycle.Snapshot{}, fmt.Errorf("sqlitestore: snapshot of %q: %w", name, err)
	}
	return snapshot, nil
}
