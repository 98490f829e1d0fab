package storekit

import (
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

// Row is a record as the SQL stores keep it. What its texts mean is not taken for
// granted until Decode checks it: one bad row must not keep the others from being
// read. Times are nanoseconds since 1970 in UTC, nil for the zero time; BeatAwake is
// in nanoseconds of awake time.
type Row struct {
	Seq                              int64 // of the registration
	Name, Incarnation, Owner, Parent string
	Phase, Identity, BeatBoot        string
	CreatedAt, BeatWall              *int64
	BeatAwake                        int64
	Data                             *string
	// Garbled are the columns that did not have the type of theirs, as they
	// stood, and Err says so of the first.
	Garbled map[string]string
	Err     error
}

// RowOf returns the row of a record, or an error that matches
// [lifecycle.ErrInvalidRecord].
func RowOf(record lifecycle.Record) (Row, error) {
	if err := record.Validate(); err != nil {
		return Row{}, err
	}
	for _, t := range []time.Time{record.CreatedAt, record.Heartbeat.Wall} {
		if !t.IsZero() && !time.Unix(0, t.UnixNano()).Equal(t) {
			return Row{}, fmt.Errorf("%w: %q: time %v does not fit nanoseconds since 1970", lifecycle.ErrInvalidRecord, record.Name, t)
		}
	}
	return Row{
		Name: record.Name, Incarnation: record.Incarnation, Owner: record.Owner, Parent: record.Parent,
		Phase: record.Phase.String(), Identity: record.Identity.String(), BeatBoot: record.Heartbeat.Boot.String(),
		CreatedAt: Nanos(record.CreatedAt), BeatWall: Nanos(record.Heartbeat.Wall), BeatAwake: int64(record.Heartbeat.Awake),
		Data: DataText(record.Data),
	}, nil
}

// DataText is Data as it is stored; nil is NULL.
func DataText(data json.RawMessage) *string {
	if data == nil {
		return nil
	}
	text := string(data)
	return &text
}

// Record decodes the row. Its error names the column, and comes with what is
// certain: the name and the incarnation.
func (r *Row) Record() (lifecycle.Record, error) {
	record, _, err := r.Decode()
	if err != nil {
		return lifecycle.Record{Name: record.Name, Incarnation: record.Incarnation}, err
	}
	return record, nil
}

// Decode decodes as much of the row as can be. The columns that cannot are
// returned as they stand, by name, and the first of them as an error too.
func (r *Row) Decode() (record lifecycle.Record, garbled map[string]string, err error) {
	garbled, err = r.Garbled, r.Err
	record = lifecycle.Record{
		Name: r.Name, Incarnation: r.Incarnation, Owner: r.Owner, Parent: r.Parent,
		CreatedAt: TimeOf(r.CreatedAt),
		Heartbeat: lifecycle.Heartbeat{Awake: time.Duration(r.BeatAwake), Wall: TimeOf(r.BeatWall)},
	}
	check := func(column, value string, columnErr error) {
		if _, known := garbled[column]; known || columnErr == nil {
			return
		}
		if garbled == nil {
			garbled = map[string]string{}
		}
		garbled[column] = RawText(value)
		if err == nil {
			err = r.ColumnError(column, columnErr)
		}
	}
	check("phase", r.Phase, record.Phase.UnmarshalText([]byte(r.Phase)))
	var columnErr error
	record.Identity, columnErr = liveness.Parse(r.Identity)
	check("identity", r.Identity, columnErr)
	record.Heartbeat.Boot, columnErr = bootid.Parse(r.BeatBoot)
	check("beat_boot", r.BeatBoot, columnErr)
	if r.Data != nil {
		if record.Data = json.RawMessage(*r.Data); !json.Valid(record.Data) {
			record.Data = nil
			check("data", *r.Data, errors.New("not JSON"))
		}
	}
	return record, garbled, err
}

// ColumnError says which column of the row is garbled, and why.
func (r *Row) ColumnError(column string, err error) error {
	return fmt.Errorf("%w: row %d: column %s: %w", lifecycle.ErrInvalidRecord, r.Seq, column, err)
}

// RawText is a text as it stands, quoted where it is not UTF-8.
func RawText(text string) string {
	if !utf8.ValidString(text) {
		return strconv.Quote(text)
	}
	return text
}

// Nanos is a time as it is stored; the zero time is nil, which is NULL.
func Nanos(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	n := t.UnixNano()
	return &n
}

// TimeOf is the time that Nanos has stored.
func TimeOf(n *int64) time.Time {
	if n == nil {
		return time.Time{}
	}
	return time.Unix(0, *n).UTC()
}
