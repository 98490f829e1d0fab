package postgresstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

// Launch implements [lifecycle.Registrar]. It refuses a record whose owner is not
// that of the store, and in a store without an owner a record that has none either:
// the error matches [ErrOwner] as well as [lifecycle.ErrInvalidRecord].
func (s *Store) Launch(ctx context.Context, record lifecycle.Record) (lifecycle.Record, error) {
	launching, _, err := storekit.Launching(record, s.options.Owner, s.options.Clock)
	if err == nil {
		err = s.put(ctx, launching)
	}
	if err != nil {
		return lifecycle.Record{}, fmt.Errorf("postgresstore: launch %q: %w", record.Name, err)
	}
	return launching, nil
}

// put registers a record as it is.
func (s *Store) put(ctx context.Context, record lifecycle.Record) error {
	row, err := rowOf(record)
	if err != nil {
		return err
	}
	if row.Owner == "" || s.options.Owner != "" && row.Owner != s.options.Owner {
		return fmt.Errorf("%w: %w: the owner is %q", lifecycle.ErrInvalidRecord, ErrOwner, row.Owner)
	}
	return unstorable(s.write(ctx, func(ctx context.Context, tx pgx.Tx, again bool) error {
		epoch, err := s.epochFor(ctx, tx, row.Owner)
		if err != nil {
			return err
		}
		if err := s.lockParent(ctx, tx, row.Parent); err != nil {
			return err
		}
		if again {
			if done, err := s.registered(ctx, tx, row); done || err != nil {
				return err
			}
		}
		return s.insert(ctx, tx, row, epoch)
	}))
}

// lockParent waits for a stop of the parent that is under way. A parent that is
// still there afterwards stays until this transaction ends, so that a stop of it
// finds the child.
func (s *Store) lockParent(ctx context.Context, tx pgx.Tx, parent string) error {
	if parent == "" {
		return nil
	}
	_, err := tx.Exec(ctx, s.sql(`SELECT FROM rollcall_records WHERE name = $1 FOR KEY SHARE`), parent)
	return err
}

// insertQuery counts last, after all that it has to wait for.
const insertQuery = `WITH counted AS (INSERT INTO rollcall_registrations AS r (owner, n) VALUES ($3, 1) ON CONFLICT (owner) DO UPDATE SET n = r.n + 1)
	INSERT INTO rollcall_records (name, incarnation, owner, phase, identity, created_at, beat_boot, beat_awake, beat_wall, parent, data, epoch)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::json, $12) ON CONFLICT (name) DO NOTHING`

// insert inserts a row unless its name is taken or its incarnation was stopped.
func (s *Store) insert(ctx context.Context, tx pgx.Tx, row storekit.Row, epoch int64) error {
	result, err := tx.Exec(ctx, s.sql(insertQuery), append(values(row), epoch)...)
	if err != nil {
		return err
	}
	if result.RowsAffected() == 0 {
		return lifecycle.ErrNameTaken
	}
	// After the insert, which has waited for a stop of this incarnation.
	used, err := s.used(ctx, tx, row)
	if used {
		err = storekit.StoppedBefore(row.Incarnation)
	}
	return err
}

// registered reports whether an earlier attempt, whose connection was cut in the
// commit, has registered the row: its insert had found the name free and the
// incarnation unused.
func (s *Store) registered(ctx context.Context, tx pgx.Tx, row storekit.Row) (bool, error) {
	stored, err := collectOne(ctx, tx, s.sql(findQuery), row.Name)
	switch {
	case err == nil && stored.Incarnation == row.Incarnation:
		return true, nil
	case err != nil && !errors.Is(err, lifecycle.ErrNotRegistered):
		return false, err
	}
	return s.used(ctx, tx, row) // it may have been stopped since
}

// used reports whether an incarnation was stopped.
func (s *Store) used(ctx context.Context, tx pgx.Tx, row storekit.Row) (used bool, err error) {
	const query = `SELECT EXISTS (SELECT FROM rollcall_events WHERE name = $1 AND incarnation = $2)`
	err = tx.QueryRow(ctx, s.sql(query), row.Name, row.Incarnation).Scan(&used)
	return used, err
}

// Activate implements [lifecycle.Registrar].
func (s *Store) Activate(ctx context.Context, record lifecycle.Record, identity liveness.Identity) error {
	return s.setPhase(ctx, "activate", record, lifecycle.Running, identity)
}

// Deactivate implements [lifecycle.Registrar].
func (s *Store) Deactivate(ctx context.Context, record lifecycle.Record) error {
	return s.setPhase(ctx, "deactivate", record, lifecycle.Inactive, liveness.Identity{})
}

const setPhaseQuery = `WITH changed AS (UPDATE rollcall_records SET phase = $3, identity = $4, beat_boot = $5, beat_awake = $6, beat_wall = $7
		WHERE name = $1 AND incarnation = $2 RETURNING owner)
	INSERT INTO rollcall_registrations AS r (owner, n) SELECT owner, 1 FROM changed ON CONFLICT (owner) DO UPDATE SET n = r.n + 1`

// setPhase writes a phase, an identity and a heartbeat.
func (s *Store) setPhase(ctx context.Context, verb string, record lifecycle.Record, phase lifecycle.Phase, identity liveness.Identity) error {
	text, err := identity.MarshalText()
	if err != nil {
		return fmt.Errorf("postgresstore: %s %q: %w", verb, record.Name, err)
	}
	beat := lifecycle.Beat(s.options.Clock)
	return s.update(ctx, verb, record, setPhaseQuery, record.Name, record.Incarnation, phase.String(), string(text),
		beat.Boot.String(), int64(beat.Awake), storekit.Nanos(beat.Wall))
}

const registrationsQuery = `SELECT coalesce(sum(n), 0)::bigint FROM rollcall_registrations WHERE owner = $1 OR $1 = ''`

// Registrations implements [lifecycle.Registrar], by a point read. It is about the
// records of [Options.Owner], or of all machines in a store without one. Each
// registration, and each change of a phase or process, updates one row of its
// machine: those of one machine commit one after the other.
func (s *Store) Registrations(ctx context.Context) (n int64, err error) {
	err = s.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		return conn.QueryRow(ctx, s.sql(registrationsQuery), s.options.Owner).Scan(&n)
	})
	if err != nil {
		return 0, fmt.Errorf("postgresstore: read registrations: %w", err)
	}
	return n, nil
}

// Heartbeat implements [lifecycle.Registrar]. It is for records that track no
// process: the [Lease] says that the machine lives. A crash of the server may undo
// it if the host has turned synchronous_commit off.
func (s *Store) Heartbeat(ctx context.Context, record lifecycle.Record) error {
	if err := s.beat(ctx, record); err != nil {
		return fmt.Errorf("postgresstore: heartbeat of %q: %w", record.Name, err)
	}
	return nil
}

// beatQuery is one round trip, and a transaction by itself.
const beatQuery = `WITH fence AS (SELECT epoch FROM rollcall_leases WHERE owner = $6 FOR KEY SHARE),
	allowed AS (SELECT $6 = '' OR coalesce((SELECT epoch FROM fence), 0) = $7 AS yes),
	beaten AS (UPDATE rollcall_records SET beat_boot = $3, beat_awake = $4, beat_wall = $5
		WHERE name = $1 AND incarnation = $2 AND (SELECT yes FROM allowed) RETURNING 1)
	SELECT (SELECT yes FROM allowed), EXISTS (SELECT FROM beaten)`

func (s *Store) beat(ctx context.Context, record lifecycle.Record) error {
	if validateText(record.Name+record.Incarnation) != nil {
		return lifecycle.ErrNotRegistered // it cannot be
	}
	beat := lifecycle.Beat(s.options.Clock)
	return s.attempt(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		var allowed, beaten bool
		err := conn.QueryRow(ctx, s.sql(beatQuery), record.Name, record.Incarnation,
			beat.Boot.String(), int64(beat.Awake), storekit.Nanos(beat.Wall), s.options.Owner, s.epoch).Scan(&allowed, &beaten)
		switch {
		case err != nil:
			return err
		case !allowed:
			return ErrFenced
		case !beaten:
			return lifecycle.ErrNotRegistered
		}
		return nil
	})
}

const setDataQuery = `UPDATE rollcall_records SET data = $3::text::json WHERE name = $1 AND incarnation = $2`

// SetData implements [lifecycle.Registrar].
func (s *Store) SetData(ctx context.Context, record lifecycle.Record, data json.RawMessage) error {
	err := storekit.ValidateData(record, data)
	if err == nil {
		if err = validateText(string(data)); err != nil {
			err = fmt.Errorf("%w: %q: %w", lifecycle.ErrInvalidRecord, record.Name, err)
		}
	}
	if err != nil {
		return fmt.Errorf("postgresstore: set Data of %q: %w", record.Name, err)
	}
	return s.update(ctx, "set Data of", record, setDataQuery, record.Name, record.Incarnation, storekit.DataText(data))
}

const bindQuery = `WITH r AS (SELECT seq FROM rollcall_records WHERE name = $1 AND incarnation = $2 FOR KEY SHARE)
	INSERT INTO rollcall_bindings (record, key) SELECT seq, $3::text FROM r ON CONFLICT (key) DO UPDATE SET record = excluded.record`

// Bind implements [lifecycle.Registrar].
func (s *Store) Bind(ctx context.Context, record lifecycle.Record, key string) error {
	if err := validateText(key); err != nil {
		return fmt.Errorf("postgresstore: bind to %q: %w: key %w", record.Name, lifecycle.ErrInvalidRecord, err)
	}
	return s.update(ctx, "bind "+storekit.Quote(key)+" to", record, bindQuery, record.Name, record.Incarnation, key)
}

// update runs one statement that must touch the row of the record. To run it twice
// has the same effect as to run it once.
func (s *Store) update(ctx context.Context, verb string, record lifecycle.Record, query string, args ...any) error {
	err := lifecycle.ErrNotRegistered
	if validateText(record.Name+record.Incarnation) == nil { // otherwise it cannot be
		err = s.write(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
			if err := s.checkFence(ctx, tx); err != nil {
				return err
			}
			result, err := tx.Exec(ctx, s.sql(query), args...)
			if err == nil && result.RowsAffected() == 0 {
				return lifecycle.ErrNotRegistered
			}
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("postgresstore: %s %q: %w", verb, record.Name, unstorable(err))
	}
	return nil
}
