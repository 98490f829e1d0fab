package postgresstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

// row is a row of the records table. What its texts mean is not taken for
// granted until record checks it: one bad row must not keep the others from
// being read.
type row struct {
	seq                              int64
	name, incarnation, owner, parent string
	phase, identity, beatBoot        string
	createdAt, beatWall              *int64
	beatAwake                        int64
	data                             *string
}

func scanRow(from pgx.CollectableRow) (row, error) {
	var r row
	err := from.Scan(&r.seq, &r.name, &r.incarnation, &r.owner, &r.phase, &r.identity, &r.createdAt,
		&r.beatBoot, &r.beatAwake, &r.beatWall, &r.parent, &r.data)
	return r, err
}

// record decodes the row. Its error names the column, and comes with what is
// certain: the name and the incarnation.
func (r row) record() (lifecycle.Record, error) {
	record, _, err := r.decode()
	if err != nil {
		return lifecycle.Record{Name: record.Name, Incarnation: record.Incarnation}, err
	}
	return record, nil
}

// decode decodes as much of the row as can be. The columns that cannot are
// returned as they stand, the first of them as an error too.
func (r row) decode() (record lifecycle.Record, garbled map[string]string, first error) {
	record = lifecycle.Record{
		Name: r.name, Incarnation: r.incarnation, Owner: r.owner, Parent: r.parent,
		CreatedAt: timeOf(r.createdAt),
		Heartbeat: lifecycle.Heartbeat{Awake: time.Duration(r.beatAwake), Wall: timeOf(r.beatWall)},
	}
	check := func(column, value string, err error) {
		if err == nil {
			return
		}
		if first == nil {
			first = fmt.Errorf("%w: row %d: column %s: %w", lifecycle.ErrInvalidRecord, r.seq, column, err)
			garbled = map[string]string{}
		}
		if !utf8.ValidString(value) { // in a database whose encoding is none
			value = strconv.Quote(value)
		}
		garbled[column] = value
	}
	check("phase", r.phase, record.Phase.UnmarshalText([]byte(r.phase)))
	var err error
	record.Identity, err = liveness.Parse(r.identity)
	check("identity", r.identity, err)
	record.Heartbeat.Boot, err = bootid.Parse(r.beatBoot)
	check("beat_boot", r.beatBoot, err)
	if r.data != nil {
		if record.Data = json.RawMessage(*r.data); !json.Valid(record.Data) {
			record.Data = nil
			check("data", *r.data, errors.New("not JSON"))
		}
	}
	return record, garbled, first
}

// rowOf returns the values of the insert statement but the last, the epoch.
func rowOf(record lifecycle.Record) ([]any, error) {
	if err := record.Validate(); err != nil {
		return nil, err
	}
	for _, text := range []string{record.Name, record.Incarnation, record.Owner, record.Parent, string(record.Data)} {
		if err := validateText(text); err != nil {
			return nil, fmt.Errorf("%w: %q: %w", lifecycle.ErrInvalidRecord, record.Name, err)
		}
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

// validateText says what PostgreSQL cannot store as text.
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

// unstorable gives an error of the server about the given values the meaning
// that it has for a record: a text too long for an index, a character that the
// encoding of the database does not have, JSON of which PostgreSQL thinks
// otherwise or that is nested too deeply.
func unstorable(err error) error {
	if failed, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch failed.Code {
		case "54000", "54001", "22P05", "22P02", "22021":
			return fmt.Errorf("%w: %w", lifecycle.ErrInvalidRecord, err)
		}
	}
	return err
}

// nanos is a time as it is stored; the zero time is NULL.
func nanos(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	n := t.UnixNano()
	return &n
}

func timeOf(n *int64) time.Time {
	if n == nil {
		return time.Time{}
	}
	return time.Unix(0, *n).UTC()
}
