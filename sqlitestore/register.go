package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

// Launch registers a record in phase Launching, before its process is started,
// and returns it as stored: a new UUIDv7 where Incarnation was empty, the
// present where CreatedAt was zero, a heartbeat of now. Keep what it returns:
// its Name and Incarnation are what the other methods go by.
//
// The error matches [lifecycle.ErrNameTaken] when a record has the name ([Store.Record]
// returns it, and [lifecycle.Cleaner.Judge] says what has become of it), and
// [lifecycle.ErrInvalidRecord] for a record that cannot be stored, or whose
// incarnation this name has had before.
func (s *Store) Launch(ctx context.Context, record lifecycle.Record) (lifecycle.Record, error) {
	if record.Incarnation == "" {
		record.Incarnation = uuid.Must(uuid.NewV7()).String()
	}
	if record.CreatedAt.IsZero() {
		record.CreatedAt = time.Now()
	}
	record.Phase, record.Identity, record.Heartbeat = lifecycle.Launching, liveness.Identity{}, lifecycle.Beat(s.options.Clock)
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
			return fmt.Errorf("%w: incarnation %q was stopped before", lifecycle.ErrInvalidRecord, record.Incarnation)
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

// Activate puts a record into phase Running with the identity of its process,
// and counts as a heartbeat. The zero Identity is right where no process is
// tracked: heartbeats alone decide then.
//
// The error matches [lifecycle.ErrNotRegistered] when the record was stopped
// or its name registered anew: the process it speaks of has no record.
func (s *Store) Activate(ctx context.Context, record lifecycle.Record, identity liveness.Identity) error {
	return s.setPhase(ctx, "activate", record, lifecycle.Running, identity)
}

// Deactivate puts a record into phase Inactive, without a process, and counts
// as a heartbeat. Activate makes it run again.
//
// The error matches [lifecycle.ErrNotRegistered] as for Activate.
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

// Heartbeat notes a sign of life. It is the one write that a loss of power may
// undo: see the package comment. On a launching record it restarts the time
// that this has to come up.
//
// The error matches [lifecycle.ErrNotRegistered] as for Activate.
func (s *Store) Heartbeat(ctx context.Context, record lifecycle.Record) error {
	beat := lifecycle.Beat(s.options.Clock)
	return s.update(ctx, "heartbeat of", record, quick, s.sql.heartbeat,
		beat.Boot.String(), int64(beat.Awake), nanos(beat.Wall), record.Name, record.Incarnation)
}

// Bind binds a key, such as the name of a session, to a record until it is
// stopped or the key is bound to another. Snapshots list the keys; [Store.Bound]
// finds the record.
//
// The error matches [lifecycle.ErrNotRegistered] as for Activate, and
// [lifecycle.ErrInvalidRecord] for a key that is not UTF-8.
func (s *Store) Bind(ctx context.Context, record lifecycle.Record, key string) error {
	if err := lifecycle.ValidateKey(key); err != nil {
		return fmt.Errorf("sqlitestore: bind to %q: %w", record.Name, err)
	}
	return s.update(ctx, "bind "+quoteShort(key)+" to", record, durable, s.sql.bind, key, record.Name, record.Incarnation)
}

// Registrations implements [lifecycle.Registry], by a point read.
func (s *Store) Registrations(ctx context.Context) (n int64, err error) {
	err = s.read(ctx, func(ctx context.Context, conn *sql.Conn) error {
		return conn.QueryRowContext(ctx, s.sql.registrations, product).Scan(&n)
	})
	if err != nil {
		return 0, fmt.Errorf("sqlitestore: read registrations: %w", err)
	}
	return n, nil
}

func quoteShort(s string) string {
	const most = 80
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return fmt.Sprintf("%q", s)
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
