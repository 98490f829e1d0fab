package sqlitestore

import (
	"context"
	"database/sql"
)

// hookTx is the Tx of a hook. It closes what the hook leaves open, as the end of an
// sql.Tx does: an sql.Rows that stays open never gives the connection back.
type hookTx struct {
	conn *sql.Conn
	rows []*sql.Rows
	row  []*sql.Row
}

func (h *hookTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return h.conn.ExecContext(ctx, query, args...)
}

func (h *hookTx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rows, err := h.conn.QueryContext(ctx, query, args...)
	if err == nil {
		h.rows = append(h.rows, rows)
	}
	return rows, err
}

func (h *hookTx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	row := h.conn.QueryRowContext(ctx, query, args...)
	h.row = append(h.row, row)
	return row
}

func (h *hookTx) close() {
	for _, rows := range h.rows {
		rows.Close()
	}
	for _, row := range h.row {
		_ = row.Scan() // it closes, whatever it returns
	}
}
