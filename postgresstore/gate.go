package postgresstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// Gate returns the place for a [lifecycle.BootGate] of this machine in the
// database:
//
//	gate := &lifecycle.BootGate{KV: store.Gate()}
//
// Keys are those of [Options.Owner]: other machines have their own. It keeps
// the newest 100 keys of each, one for each boot and PID namespace; a gate whose
// key was dropped runs once more.
func (s *Store) Gate() lifecycle.KV { return (*gate)(s) }

const keptGates = 100

type gate Store

const gateGetQuery = `SELECT value FROM rollcall_gate WHERE owner = $1 AND key = $2`

// Get implements [lifecycle.KV].
func (g *gate) Get(ctx context.Context, key string) (value string, err error) {
	s := (*Store)(g)
	err = s.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		value = ""
		err := conn.QueryRow(ctx, s.sql(gateGetQuery), g.options.Owner, key).Scan(&value)
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

const gateOursQuery = `SELECT EXISTS (SELECT FROM rollcall_gate WHERE owner = $1 AND key = $2 AND call = $3)`

const gateInsertQuery = `INSERT INTO rollcall_gate (owner, key, value, call) VALUES ($1, $2, $3, $4) ON CONFLICT (owner, key) DO NOTHING`

const gateUpdateQuery = `UPDATE rollcall_gate SET value = $3, call = $4 WHERE owner = $1 AND key = $2 AND value = $5`

const gateCutQuery = `DELETE FROM rollcall_gate WHERE owner = $1 AND seq <=
	(SELECT seq FROM rollcall_gate WHERE owner = $1 ORDER BY seq DESC OFFSET $2 LIMIT 1)`

// CompareAndSwap implements [lifecycle.KV].
func (g *gate) CompareAndSwap(ctx context.Context, key, old, new string) (swapped bool, err error) {
	s := (*Store)(g)
	call := uuid.New()
	err = s.write(ctx, func(ctx context.Context, tx pgx.Tx, again bool) error {
		if err := s.checkFence(ctx, tx); err != nil {
			return err
		}
		var err error
		if again {
			// The commit whose connection was cut may have taken place.
			if err := tx.QueryRow(ctx, s.sql(gateOursQuery), g.options.Owner, key, call).Scan(&swapped); swapped || err != nil {
				return err
			}
		}
		var result pgconn.CommandTag
		if old == "" {
			result, err = tx.Exec(ctx, s.sql(gateInsertQuery), g.options.Owner, key, new, call)
		} else {
			result, err = tx.Exec(ctx, s.sql(gateUpdateQuery), g.options.Owner, key, new, call, old)
		}
		if err != nil {
			return err
		}
		if swapped = result.RowsAffected() == 1; swapped && old == "" {
			_, err = tx.Exec(ctx, s.sql(gateCutQuery), g.options.Owner, keptGates)
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("postgresstore: swap gate: %w", err)
	}
	return swapped, nil
}
