package sqlitestore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

// Launch implements [lifecycle.Registrar].
func (s *Store) Launch(ctx context.Context, record lifecycle.Record) (lifecycle.Record, error) {
	launching, _, err := storekit.Launching(record, s.options.Owner, s.options.Clock)
	if err == nil {
		err = s.put(ctx, launching)
	}
	if err != nil {
		return lifecycle.Record{}, fmt.Errorf("sqlitestore: launch %q: %w", record.Name, err)
	}
	return launching, nil
}

const (
	countStopped = `SELECT count(*) FROM rollcall_events WHERE name = ? AND incarnation = ?`
	insertRecord = `INSERT INTO rollcall_records (name, incarnation, owner, phase, identity, created_at, beat_boot, beat_awake, beat_wall, parent, data)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
)

func (s *Store) put(ctx context.Context, record lifecycle.Record) error {
	r, err := storekit.RowOf(record)
	if err != nil {
		return err
	}
	return s.write(ctx, durable, func(ctx context.Context, conn *sql.Conn) error {
		var used int
		if err := conn.QueryRowContext(ctx, s.sql(countStopped), record.Name, record.Incarnation).Scan(&used); err != nil {
			return err
		}
		if used > 0 {
			return storekit.StoppedBefore(record.Incarnation)
		}
		switch err := scanRow(conn.QueryRowContext(ctx, s.sql(selectRecord), record.Name), new(row)); {
		case err == nil:
			return lifecycle.ErrNameTaken
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		if _, err := conn.ExecContext(ctx, s.sql(insertRecord), values(r)...); err != nil {
			return err
		}
		return s.countRegistration(ctx, conn)
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

const updatePhase = `UPDATE rollcall_records SET phase = ?, identity = ?, beat_boot = ?, beat_awake = ?, beat_wall = ? WHERE name = ? AND incarnation = ?`

func (s *Store) setPhase(ctx context.Context, verb string, record lifecycle.Record, phase lifecycle.Phase, identity liveness.Identity) error {
	text, err := identity.MarshalText()
	if err != nil {
		return fmt.Errorf("sqlitestore: %s %q: %w", verb, record.Name, err)
	}
	beat := lifecycle.Beat(s.options.Clock)
	return s.update(ctx, record, change{
		verb: verb, durability: durable, registers: true, statement: updatePhase,
		args: []any{
			phase.String(), string(text), beat.Boot.String(), int64(beat.Awake), nullable(storekit.Nanos(beat.Wall)),
			record.Name, record.Incarnation,
		},
	})
}

const updateHeartbeat = `UPDATE rollcall_records SET beat_boot = ?, beat_awake = ?, beat_wall = ? WHERE name = ? AND incarnation = ?`

// Heartbeat implements [lifecycle.Registrar].
func (s *Store) Heartbeat(ctx context.Context, record lifecycle.Record) error {
	beat := lifecycle.Beat(s.options.Clock)
	return s.update(ctx, record, change{
		verb: "heartbeat of", durability: quick, statement: updateHeartbeat,
		args: []any{beat.Boot.String(), int64(beat.Awake), nullable(storekit.Nanos(beat.Wall)), record.Name, record.Incarnation},
	})
}

const updateData = `UPDATE rollcall_records SET data = ? WHERE name = ? AND incarnation = ?`

// SetData implements [lifecycle.Registrar].
func (s *Store) SetData(ctx context.Context, record lifecycle.Record, data json.RawMessage) error {
	if err := storekit.ValidateData(record, data); err != nil {
		return fmt.Errorf("sqlitestore: set Data of %q: %w", record.Name, err)
	}
	return s.update(ctx, record, change{
		verb: "set Data of", durability: durable, statement: updateData,
		args: []any{nullable(storekit.DataText(data)), record.Name, record.Incarnation},
	})
}

const insertBinding = `INSERT INTO rollcall_bindings (record, key) SELECT seq, ? FROM rollcall_records WHERE name = ? AND incarnation = ?
	ON CONFLICT (key) DO UPDATE SET record = excluded.record`

// Bind implements [lifecycle.Registrar].
func (s *Store) Bind(ctx context.Context, record lifecycle.Record, key string) error {
	if err := storekit.ValidateKey(key); err != nil {
		return fmt.Errorf("sqlitestore: bind to %q: %w", record.Name, err)
	}
	return s.update(ctx, record, change{
		verb: "bind " + storekit.Quote(key) + " to", durability: durable, statement: insertBinding,
		args: []any{key, record.Name, record.Incarnation},
	})
}

// change is one statement that changes the row of a record.
type change struct {
	verb string // of an error
	durability
	statement string
	args      []any
	registers bool // it counts as a registration
}

func (s *Store) update(ctx context.Context, record lifecycle.Record, c change) error {
	err := s.write(ctx, c.durability, func(ctx context.Context, conn *sql.Conn) error {
		result, err := conn.ExecContext(ctx, s.sql(c.statement), c.args...)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); n == 0 || err != nil {
			return errors.Join(lifecycle.ErrNotRegistered, err)
		}
		if c.registers {
			return s.countRegistration(ctx, conn)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("sqlitestore: %s %q: %w", c.verb, record.Name, err)
	}
	return nil
}

const (
	selectRegistrations = `SELECT registrations FROM rollcall_schema WHERE product = ?`
	addRegistration     = `UPDATE rollcall_schema SET registrations = registrations + 1 WHERE product = ?`
)

// Registrations implements [lifecycle.Registrar], by a point read.
func (s *Store) Registrations(ctx context.Context) (n int64, err error) {
	err = s.read(ctx, func(ctx context.Context, conn *sql.Conn) error {
		return conn.QueryRowContext(ctx, s.sql(selectRegistrations), product).Scan(&n)
	})
	if err != nil {
		return 0, fmt.Errorf("sqlitestore: read registrations: %w", err)
	}
	return n, nil
}

func (s *Store) countRegistration(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, s.sql(addRegistration), product)
	return err
}
