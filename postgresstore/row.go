package postgresstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
)

// columns are what scanRow reads.
const columns = `seq, name, incarnation, owner, phase, identity, created_at, beat_boot, beat_awake, beat_wall, parent, data::text`

func scanRow(from pgx.CollectableRow) (storekit.Row, error) {
	var r storekit.Row
	err := from.Scan(&r.Seq, &r.Name, &r.Incarnation, &r.Owner, &r.Phase, &r.Identity, &r.CreatedAt,
		&r.BeatBoot, &r.BeatAwake, &r.BeatWall, &r.Parent, &r.Data)
	return r, err
}

// collect returns the rows of a query for columns.
func collect(ctx context.Context, from querier, query string, args ...any) ([]storekit.Row, error) {
	rows, err := from.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanRow)
}

// collectOne returns the row of a query for columns, or an error that matches
// lifecycle.ErrNotRegistered.
func collectOne(ctx context.Context, from querier, query string, args ...any) (storekit.Row, error) {
	rows, err := collect(ctx, from, query, args...)
	if err != nil {
		return storekit.Row{}, err
	}
	if len(rows) == 0 {
		return storekit.Row{}, lifecycle.ErrNotRegistered
	}
	return rows[0], nil
}

// rowOf returns the row of a record, or an error that matches
// lifecycle.ErrInvalidRecord.
func rowOf(record lifecycle.Record) (storekit.Row, error) {
	row, err := storekit.RowOf(record)
	if err != nil {
		return storekit.Row{}, err
	}
	for _, text := range []string{record.Name, record.Incarnation, record.Owner, record.Parent, string(record.Data)} {
		if err := validateText(text); err != nil {
			return storekit.Row{}, fmt.Errorf("%w: %q: %w", lifecycle.ErrInvalidRecord, record.Name, err)
		}
	}
	return row, nil
}

// values are those of columns but seq, in this order.
func values(r storekit.Row) []any {
	return []any{
		r.Name, r.Incarnation, r.Owner, r.Phase, r.Identity, r.CreatedAt,
		r.BeatBoot, r.BeatAwake, r.BeatWall, r.Parent, r.Data,
	}
}

// validateText returns an error for a text that PostgreSQL cannot store.
func validateText(text string) error {
	switch {
	case !utf8.ValidString(text):
		return fmt.Errorf("%.80q is not UTF-8", text)
	case strings.Contains(text, "\x00"):
		return fmt.Errorf("%.80q has a zero byte", text)
	default:
		return nil
	}
}

// unstorable makes an error match lifecycle.ErrInvalidRecord if the server refused
// a value: a text too long for an index, a character that the encoding of the
// database does not have, or JSON that PostgreSQL rejects or finds too deeply
// nested.
func unstorable(err error) error {
	if failed, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch failed.Code {
		case "54000", "54001", "22P05", "22P02", "22021":
			return fmt.Errorf("%w: %w", lifecycle.ErrInvalidRecord, err)
		}
	}
	return err
}
