package postgresstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// Gate returns the place for a [lifecycle.BootGate] of this machine in the
// database:
//
//	gate := &lifecycle.BootGate{KV: store.Gate()}
//
// Its keys are those of [Options.Owner]: other machines have their own. It keeps
// the newest 100 keys of each machine, one for each boot and PID namespace. A gate
// whose key was dropped runs once more.
func (s *Store) Gate() lifecycle.KV { return (*gate)(s) }

// maxGates is how many keys an owner may have.
const maxGates = 100

type gate Store

// Get implements [lifecycle.KV].
func (g *gate) Get(ctx context.Context, key string) (value string, err error) {
	s := (*Store)(g)
	err = s.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		value = ""
		err := conn.QueryRow(ctx, s.sql(`SELECT value FROM rollcall_gate WHERE owner = $1 AND key = $2`), s.options.Owner, key).Scan(&value)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("postgresstore: read gate: %w", err)
	}
	return value, nil
}

// CompareAndSwap implements [lifecycle.KV].
func (g *gate) CompareAndSwap(ctx context.Context, key, old, new string) (swapped bool, err error) {
	s := (*Store)(g)
	call := uuid.New()
	err = s.write(ctx, func(ctx context.Context, tx pgx.Tx, again bool) (err error) {
		if err := s.checkFence(ctx, tx); err != nil {
			return err
		}
		if again {
			// The commit whose connection was cut may have taken place.
			const query = `SELECT EXISTS (SELECT FROM rollcall_gate WHERE owner = $1 AND key = $2 AND call = $3)`
			if err := tx.QueryRow(ctx, s.sql(query), s.options.Owner, key, call).Scan(&swapped); swapped || err != nil {
				return err
			}
		}
		if old == "" {
			swapped, err = s.insertGate(ctx, tx, call, key, new)
		} else {
			swapped, err = s.updateGate(ctx, tx, call, key, old, new)
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("postgresstore: swap gate: %w", err)
	}
	return swapped, nil
}

const (
	insertGateQuery = `INSERT INTO rollcall_gate (owner, key, value, call) VALUES ($1, $2, $3, $4) ON CONFLICT (owner, key) DO NOTHING`
	trimGatesQuery  = `DELETE FROM rollcall_gate WHERE owner = $1 AND seq <=
		(SELECT seq FROM rollcall_gate WHERE owner = $1 ORDER BY seq DESC OFFSET $2 LIMIT 1)`
)

// insertGate stores a value of a key that has none, and drops the oldest keys.
func (s *Store) insertGate(ctx context.Context, tx pgx.Tx, call uuid.UUID, key, value string) (bool, error) {
	result, err := tx.Exec(ctx, s.sql(insertGateQuery), s.options.Owner, key, value, call)
	if err != nil || result.RowsAffected() == 0 {
		return false, err
	}
	_, err = tx.Exec(ctx, s.sql(trimGatesQuery), s.options.Owner, maxGates)
	return true, err
}

// updateGate stores a value of a key that still has the old one.
func (s *Store) updateGate(ctx context.Context, tx pgx.Tx, call uuid.UUID, key, old, value string) (bool, error) {
	const query = `UPDATE rollcall_gate SET value = $3, call = $4 WHERE owner = $1 AND key = $2 AND value = $5`
	result, err := tx.Exec(ctx, s.sql(query), s.options.Owner, key, value, call, old)
	return result.RowsAffected() == 1, err
}
