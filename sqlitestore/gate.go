package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// Gate returns the place for a [lifecycle.BootGate] in this store:
//
//	gate := &lifecycle.BootGate{KV: store.Gate()}
//
// It keeps the newest 100 keys, one for each boot and PID namespace. A gate whose
// key was dropped runs once more.
func (s *Store) Gate() lifecycle.KV { return (*gate)(s) }

const maxGates = 100

const (
	selectGate   = `SELECT value FROM rollcall_gate WHERE key = ?`
	insertGate   = `INSERT INTO rollcall_gate (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING`
	updateGate   = `UPDATE rollcall_gate SET value = ? WHERE key = ? AND value = ?`
	deleteOldest = `DELETE FROM rollcall_gate WHERE seq <= (SELECT max(seq) FROM rollcall_gate) - ?`
)

type gate Store

// Get implements [lifecycle.KV]. It tries the plain query first: every start of a
// program passes the closed gate, and finds no lock as a rule.
func (g *gate) Get(ctx context.Context, key string) (string, error) {
	value, err := g.get(ctx, g.db, key)
	if isBusy(err) {
		err = (*Store)(g).read(ctx, func(ctx context.Context, conn *sql.Conn) (err error) {
			value, err = g.get(ctx, conn, key)
			return err
		})
	}
	if err != nil {
		return "", fmt.Errorf("sqlitestore: read gate: %w", err)
	}
	return value, nil
}

func (g *gate) get(ctx context.Context, from Tx, key string) (string, error) {
	var value string
	err := from.QueryRowContext(ctx, g.statements.Text(selectGate), key).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, err
}

// CompareAndSwap implements [lifecycle.KV].
func (g *gate) CompareAndSwap(ctx context.Context, key, old, new string) (swapped bool, err error) {
	err = (*Store)(g).write(ctx, durable, func(ctx context.Context, conn *sql.Conn) error {
		var result sql.Result
		var err error
		if old == "" {
			result, err = conn.ExecContext(ctx, g.statements.Text(insertGate), key, new)
		} else {
			result, err = conn.ExecContext(ctx, g.statements.Text(updateGate), new, key, old)
		}
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		if err != nil {
			return err
		}
		if swapped = n == 1; swapped && old == "" {
			_, err = conn.ExecContext(ctx, g.statements.Text(deleteOldest), maxGates)
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("sqlitestore: swap gate: %w", err)
	}
	return swapped, nil
}
