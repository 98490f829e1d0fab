package sqlitestore

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
)

// Put stores a record exactly as given, in any phase and with any identity and
// heartbeat, as storetest needs it. It replaces the same incarnation.
func (s *Store) Put(ctx context.Context, record lifecycle.Record) error {
	r, err := storekit.RowOf(record)
	if err != nil {
		return err
	}
	var n int64
	update := s.sql(`UPDATE rollcall_records SET name = ?1, incarnation = ?2, owner = ?3, phase = ?4, identity = ?5, created_at = ?6,
		beat_boot = ?7, beat_awake = ?8, beat_wall = ?9, parent = ?10, data = ?11 WHERE name = ?1 AND incarnation = ?2`)
	err = s.write(ctx, durable, func(ctx context.Context, conn *sql.Conn) error {
		result, err := conn.ExecContext(ctx, update, values(r)...)
		if err == nil {
			n, err = result.RowsAffected()
		}
		if n > 0 {
			err = s.countRegistration(ctx, conn)
		}
		return err
	})
	if err == nil && n == 0 {
		err = s.put(ctx, record)
	}
	if err != nil {
		return fmt.Errorf("sqlitestore: put %q: %w", record.Name, err)
	}
	return nil
}

// PageSize and IsBusy are exported for tests.
const PageSize = pageSize

var IsBusy = isBusy
