package sqlitestore

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

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

func (r *row) scan(from scanner) error {
	return from.Scan(&r.seq, &r.name, &r.incarnation, &r.owner, &r.phase, &r.identity, &r.createdAt,
		&r.beatBoot, &r.beatAwake, &r.beatWall, &r.parent, &r.data)
}

// scanRows appends all rows to page and closes them.
func scanRows(page []row, rows *sql.Rows) ([]row, error) {
	defer rows.Close()
	for rows.Next() {
		page = append(page, row{})
		if err := page[len(page)-1].scan(rows); err != nil {
			return page[:len(page)-1], err
		}
	}
	return page, rows.Err()
}

// record decodes the row. Its error names the column, and comes with what is
// certain: the name and the incarnation.
func (r *row) record() (lifecycle.Record, error) {
	record, _, err := r.decode()
	if err != nil {
		return lifecycle.Record{Name: record.Name, Incarnation: record.Incarnation}, err
	}
	return record, nil
}

// decode decodes as much of the row as can be. The columns that cannot are
// returned as they stand, the first of them as an error too.
func (r *row) decode() (record lifecycle.Record, garbled map[string]string, first error) {
	record = lifecycle.Record{Name: r.name.String, Incarnation: r.incarnation.String, Owner: r.owner.String, Parent: r.parent.String}
	bad := func(column string, value any, err error) {
		if first == nil {
			first = fmt.Errorf("%w: row %d: column %s: %w", lifecycle.ErrInvalidRecord, r.seq, column, err)
			garbled = map[string]string{}
		}
		garbled[column] = rawText(value)
	}
	err := record.Phase.UnmarshalText([]byte(r.phase.String))
	if err != nil {
		bad("phase", r.phase, err)
	}
	if record.Identity, err = liveness.Parse(r.identity.String); err != nil {
		bad("identity", r.identity, err)
	}
	if record.Heartbeat.Boot, err = bootid.Parse(r.beatBoot.String); err != nil {
		bad("beat_boot", r.beatBoot, err)
	}
	awake, err := integer(r.beatAwake)
	record.Heartbeat.Awake = time.Duration(awake)
	if err != nil {
		bad("beat_awake", r.beatAwake, err)
	}
	if record.Heartbeat.Wall, err = timeOf(r.beatWall); err != nil {
		bad("beat_wall", r.beatWall, err)
	}
	if record.CreatedAt, err = timeOf(r.createdAt); err != nil {
		bad("created_at", r.createdAt, err)
	}
	if r.data.Valid {
		if record.Data = json.RawMessage(r.data.String); !json.Valid(record.Data) {
			record.Data = nil
			bad("data", r.data, errors.New("not JSON"))
		}
	}
	return record, garbled, first
}

// rawText is a column as it stands, quoted where it is no text.
func rawText(value any) string {
	switch v := value.(type) {
	case sql.NullString:
		value = v.String
	case []byte:
		value = string(v)
	}
	text := fmt.Sprint(value)
	if !utf8.ValidString(text) {
		return strconv.Quote(text)
	}
	return text
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
	if err != nil {
		return time.Time{}, err
	}
	return time.Unix(0, n).UTC(), nil
}

func integer(value any) (int64, error) {
	n, ok := value.(int64)
	if !ok {
		return 0, fmt.Errorf("%v is a %T, not an integer", value, value)
	}
	return n, nil
}
