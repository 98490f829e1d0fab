package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// Gate is a [lifecycle.KV] over hcom's table of that kind. The keys of a gate
// begin with "rollcall/", which none of hcom's do.
type Gate struct{ db *sql.DB }

var _ lifecycle.KV = (*Gate)(nil)

// Get implements [lifecycle.KV].
func (g *Gate) Get(ctx context.Context, key string) (string, error) {
	var value string
	err := g.db.QueryRowContext(ctx, `SELECT coalesce(value, '') FROM kv WHERE key = ?`, key).Scan(&value)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("hcomstore: read gate: %w", busy(err))
	}
	return value, nil
}

// CompareAndSwap implements [lifecycle.KV]. A statement by itself is a
// transaction, and SQLite lets one at a time write.
func (g *Gate) CompareAndSwap(ctx context.Context, key, old, new string) (bool, error) {
	statement := `UPDATE kv SET value = ?2 WHERE key = ?1 AND value = ?3`
	if old == "" {
		statement = `INSERT INTO kv (key, value) VALUES (?1, ?2)
			ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE coalesce(kv.value, '') = ?3`
	}
	result, err := g.db.ExecContext(ctx, statement, key, new, old)
	if err != nil {
		return false, fmt.Errorf("hcomstore: swap gate: %w", busy(err))
	}
	n, err := result.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("hcomstore: swap gate: %w", err)
	}
	if n == 1 && old == "" { // a key for each boot: keep the latest few
		_, err = g.db.ExecContext(ctx, `DELETE FROM kv WHERE key GLOB 'rollcall/*' AND rowid NOT IN
			(SELECT rowid FROM kv WHERE key GLOB 'rollcall/*' ORDER BY rowid DESC LIMIT 100)`)
		if err != nil {
			return true, fmt.Errorf("hcomstore: drop gates of earlier boots: %w", busy(err))
		}
	}
	return n == 1, nil
}
