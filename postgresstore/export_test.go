package postgresstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
)

// Put stores a record exactly as given, in any phase and with any identity and
// heartbeat, as storetest needs it. It replaces the same incarnation.
func (s *Store) Put(ctx context.Context, record lifecycle.Record) error {
	row, err := rowOf(record)
	if err != nil {
		return err
	}
	update := s.sql(`WITH changed AS (UPDATE rollcall_records SET owner = $3, phase = $4, identity = $5, created_at = $6,
			beat_boot = $7, beat_awake = $8, beat_wall = $9, parent = $10, data = $11::text::json WHERE name = $1 AND incarnation = $2 RETURNING owner)
		INSERT INTO rollcall_registrations AS r (owner, n) SELECT owner, 1 FROM changed ON CONFLICT (owner) DO UPDATE SET n = r.n + 1`)
	var n int64
	err = s.write(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		result, err := tx.Exec(ctx, update, values(row)...)
		n = result.RowsAffected()
		return err
	})
	if err == nil && n == 0 {
		err = s.put(ctx, record)
	}
	if err != nil {
		return fmt.Errorf("postgresstore: put %q: %w", record.Name, err)
	}
	return nil
}

// Snapshot is that of a row with such columns, as it is read back.
func Snapshot(phase, identity, boot, data string, wall int64) (lifecycle.Snapshot, map[string]string, error) {
	r := storekit.Row{Name: "name", Incarnation: "incarnation", Phase: phase, Identity: identity, BeatBoot: boot, Data: &data, BeatWall: &wall}
	record, garbled, _ := r.Decode()
	text, raw, err := encodeSnapshot(lifecycle.Snapshot{Record: record, Garbled: garbled})
	if err != nil {
		return lifecycle.Snapshot{}, garbled, err
	}
	snapshot, err := decodeSnapshot(text, raw)
	return snapshot, garbled, err
}
