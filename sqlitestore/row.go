package sqlitestore

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

// row is a row of the records table as SQLite gives it. A column has whatever
// type was written to it, so nothing is taken for granted until record checks
// it: one bad row must not keep the others from being read.
type row struct {
	seq                              int64
	name, incarnation, owner, phase  sql.NullString
	identity, beatBoot, parent, data sql.NullString
	createdAt, beatAwake, beatWall   any
}

type scanner interface{ Scan(dest ...any) error }

func scanRow(from scanner) (row, error) {
	var r row
	err := from.Scan(&r.seq, &r.name, &r.incarnation, &r.owner, &r.phase, &r.identity, &r.createdAt,
		&r.beatBoot, &r.beatAwake, &r.beatWall, &r.parent, &r.data)
	return r, err
}

// scanRows appends all rows to page and closes them.
func scanRows(page []row, rows *sql.Rows) ([]row, error) {
	defer rows.Close()
	for rows.Next() {
		r, err := scanRow(rows)
		if err != nil {
			return page, err
		}
		page = append(page, r)
	}
	return page, rows.Err()
}

// record decodes the row. Its error names the column, and comes with what is
// certain: the name and the incarnation.
func (r row) record() (lifecycle.Record, error) {
	record := lifecycle.Record{Name: r.name.String, Incarnation: r.incarnation.String, Owner: r.owner.String, Parent: r.parent.String}
	bad := func(column string, err error) (lifecycle.Record, error) {
		return lifecycle.Record{Name: record.Name, Incarnation: record.Incarnation},
			fmt.Errorf("%w: row %d: column %s: %w", lifecycle.ErrInvalidRecord, r.seq, column, err)
	}
	var err error
	if err = record.Phase.UnmarshalText([]byte(r.phase.String)); err != nil {
		return bad("phase", err)
	}
	if record.Identity, err = liveness.Parse(r.identity.String); err != nil {
		return bad("identity", err)
	}
	if record.Heartbeat.Boot, err = bootid.Parse(r.beatBoot.String); err != nil {
		return bad("beat_boot", err)
	}
	awake, err := integer(r.beatAwake)
	if err != nil {
		return bad("beat_awake", err)
	}
	record.Heartbeat.Awake = time.Duration(awake)
	if record.Heartbeat.Wall, err = timeOf(r.beatWall); err != nil {
		return bad("beat_wall", err)
	}
	if record.CreatedAt, err = timeOf(r.createdAt); err != nil {
		return bad("created_at", err)
	}
	if r.data.Valid {
		if record.Data = json.RawMessage(r.data.String); !json.Valid(record.Data) {
			return bad("data", fmt.Errorf("not JSON"))
		}
	}
	return record, nil
}

// rowOf returns the values of the insert statement.
func rowOf(record lifecycle.Record) ([]any, error) {
	if err := record.Validate(); err != nil {
		return nil, err
	}
	for _, t := range []time.Time{record.CreatedAt, record.Heartbeat.Wall} {
		if !t.IsZero() && !time.Unix(0, t.UnixNano()).Equal(t) {
			return nil, fmt.Errorf("%w: %q: time %v does not fit nanoseconds since 1970", lifecycle.ErrInvalidRecord, record.Name, t)
		}
	}
	identity, err := record.Identity.MarshalText()
	if err != nil {
		return nil, err
	}
	var data any
	if record.Data != nil {
		data = string(record.Data)
	}
	beat := record.Heartbeat
	return []any{
		record.Name, record.Incarnation, record.Owner, record.Phase.String(), string(identity), nanos(record.CreatedAt),
		beat.Boot.String(), int64(beat.Awake), nanos(beat.Wall), record.Parent, data,
	}, nil
}

// nanos is a time as it is stored; the zero time is NULL.
func nanos(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixNano()
}

func timeOf(value any) (time.Time, error) {
	if value == nil {
		return time.Time{}, nil
	}
	n, err := integer(value)
	return time.Unix(0, n).UTC(), err
}

func integer(value any) (int64, error) {
	n, ok := value.(int64)
	if !ok {
		return 0, fmt.Errorf("%v is a %T, not an integer", value, value)
	}
	return n, nil
}
