package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

// Launch implements [lifecycle.Registrar].
func (s *Store) Launch(ctx context.Context, record lifecycle.Record) (lifecycle.Record, error) {
	record, _ = storekit.Launching(record, s.options.Owner, s.options.Clock)
	if err := s.put(ctx, record); err != nil {
		return lifecycle.Record{}, fmt.Errorf("sqlitestore: launch %q: %w", record.Name, err)
	}
	return record, nil
}

func (s *Store) put(ctx context.Context, record lifecycle.Record) error {
	values, err := rowOf(record)
	if err != nil {
		return err
	}
	return s.write(ctx, durable, func(ctx context.Context, conn *sql.Conn) error {
		var used int
		if err := conn.QueryRowContext(ctx, s.sql.used, record.Name, record.Incarnation).Scan(&used); err != nil {
			return err
		}
		if used > 0 {
			return storekit.StoppedBefore(record.Incarnation)
		}
		switch err := new(row).scan(conn.QueryRowContext(ctx, s.sql.find, record.Name)); {
		case err == nil:
			return lifecycle.ErrNameTaken
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		if _, err := conn.ExecContext(ctx, s.sql.insert, values...); err != nil {
			return err
		}
		_, err := conn.ExecContext(ctx, s.sql.registered, product)
		return err
	})
}

// Activate implements [lifecycle.Registrar].
func (s *Store) Activate(ctx context.Context, record lifecycle.Record, identity liveness.Identity) error {
	return s.setPhase(ctx, "activate", record, lifecycle.Running, identity)
}

// Deactivate implements [lifecycle.Registrar].
func (s *Store) Deactivate(ctx context.Context, record lifecycle.Record) error {
	return s.setPhase(ctx, "deactivate", record, lifecycle.Inactive, liveness.Identity{})
}

func (s *Store) setPhase(ctx context.Context, verb string, record lifecycle.Record, phase lifecycle.Phase, identity liveness.Identity) error {
	text, err := identity.MarshalText()
	if err != nil {
		return fmt.Errorf("sqlitestore: %s %q: %w", verb, record.Name, err)
	}
	beat := lifecycle.Beat(s.options.Clock)
	return s.update(ctx, verb, record, durable, s.sql.activate, phase.String(), string(text),
		beat.Boot.String(), int64(beat.Awake), nanos(beat.Wall), record.Name, record.Incarnation)
}

// Heartbeat implements [lifecycle.Registrar].
func (s *Store) Heartbeat(ctx context.Context, record lifecycle.Record) error {
	beat := lifecycle.Beat(s.options.Clock)
	return s.update(ctx, "heartbeat of", record, quick, s.sql.heartbeat,
		beat.Boot.String(), int64(beat.Awake), nanos(beat.Wall), record.Name, record.Incarnation)
}

// Bind implements [lifecycle.Registrar].
func (s *Store) Bind(ctx context.Context, record lifecycle.Record, key string) error {
	if err := storekit.ValidateKey(key); err != nil {
		return fmt.Errorf("sqlitestore: bind to %q: %w", record.Name, err)
	}
	return s.update(ctx, "bind "+storekit.Quote(key)+" to", record, durable, s.sql.bind, key, record.Name, record.Incarnation)
}

// Registrations implements [lifecycle.Registrar], by a point read.
func (s *Store) Registrations(ctx context.Context) (n int64, err error) {
	err = s.read(ctx, func(ctx context.Context, conn *sql.Conn) error {
		return conn.QueryRowContext(ctx, s.sql.registrations, product).Scan(&n)
	})
	if err != nil {
		return 0, fmt.Errorf("sqlitestore: read registrations: %w", err)
	}
	return n, nil
}

// update runs one statement that must touch the row of the record.
func (s *Store) update(ctx context.Context, verb string, record lifecycle.Record, d durability, statement string, args ...any) error {
	err := s.write(ctx, d, func(ctx context.Context, conn *sql.Conn) error {
		result, err := conn.ExecContext(ctx, statement, args...)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); n == 0 || err != nil {
			return errors.Join(lifecycle.ErrNotRegistered, err)
		}
		if statement == s.sql.activate {
			_, err = conn.ExecContext(ctx, s.sql.registered, product)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("sqlitestore: %s %q: %w", verb, record.Name, err)
	}
	return nil
}
