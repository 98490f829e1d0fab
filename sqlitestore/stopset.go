package sqlitestore

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
)

// set is a number of simple records that are stopped together, for the same cause.
// SQLite makes the snapshots; Go reads none of the rows again.
type set struct {
	event lifecycle.Event // of each record, without Seq and the fields of the record
	stops []*lifecycle.Stop
	seqs  []int64 // of the rows
}

// found is what lookUp has found for a stop.
type found struct {
	state rowState
	seq   int64
}

type rowState uint8

const (
	// absent means that no row has the name.
	absent rowState = iota
	// simple means that the row is unchanged, has no garbled column and no children.
	simple
	// other means anything else, including that nobody looked.
	other
)

// put adds a stop to the sets, unless it is to be done by itself, and reports that.
func (tx *stopTx) put(f found, stop *lifecycle.Stop) bool {
	switch {
	case f.state == other:
		return false
	case f.state == absent || tx.taken[f.seq]:
		stop.Outcome, stop.Descendants = lifecycle.AlreadyStopped, nil
	default:
		tx.taken[f.seq] = true
		s := tx.setFor(stop.Cause)
		s.stops = append(s.stops, stop)
		s.seqs = append(s.seqs, f.seq)
	}
	tx.pending++
	return true
}

// setFor returns the set for a cause. The order of sets does not matter, because none
// of their records has a child.
func (tx *stopTx) setFor(cause lifecycle.Cause) *set {
	event := cause.Event(lifecycle.Snapshot{})
	for i := range tx.sets {
		if s := &tx.sets[i]; s.event.By == event.By && s.event.Reason == event.Reason && s.event.Verdict == event.Verdict {
			return s
		}
	}
	tx.sets = append(tx.sets, set{event: event})
	return &tx.sets[len(tx.sets)-1]
}

// stopSets stops the records in the sets.
func (tx *stopTx) stopSets(ctx context.Context) error {
	for i := range tx.sets {
		if err := tx.stopSet(ctx, &tx.sets[i]); err != nil {
			return &stopError{tx.done, true, err}
		}
	}
	tx.sets = tx.sets[:0]
	tx.done += tx.pending
	tx.pending = 0
	return nil
}

// insertEvents makes the snapshots that encodeSnapshot makes. datetime and json_object
// take much less time than strftime and json_quote. Data is not passed to json, which
// would change its text. It ends in a condition for the rows, as the others here do.
var insertEvents = `INSERT INTO rollcall_events (at, name, incarnation, action, by, reason, verdict, snapshot)
	SELECT ?, name, incarnation, ?, ?, ?, ?,
		'{' || coalesce('"data":' || data || ',', '') ||
		coalesce('"bindings":' || nullif((SELECT json_group_array(CAST(key AS TEXT)) FROM
			(SELECT key FROM rollcall_bindings WHERE record = seq ORDER BY key)), '[]') || ',', '') ||
		substr(json_object('name', name, 'incarnation', incarnation, 'owner', owner, 'phase', phase, 'identity', identity,
			'created_at', ` + timeText("created_at") + `, 'heartbeat', json_object('boot', beat_boot, 'awake_ns', beat_awake,
			'wall', coalesce(` + timeText("beat_wall") + `, '0001-01-01T00:00:00Z')), 'parent', parent), 2)
	FROM rollcall_records WHERE seq `

const (
	deleteBindings = `DELETE FROM rollcall_bindings WHERE record `
	deleteRecords  = `DELETE FROM rollcall_records WHERE seq `
)

// timeText returns an expression for nanoseconds since 1970 as RFC 3339 has a time. It
// is NULL for NULL.
func timeText(column string) string {
	return strings.ReplaceAll(`replace(datetime(NANOS / 1000000000 - (NANOS % 1000000000 < 0), 'unixepoch'), ' ', 'T') ||
		'.' || substr(1000000000 + (NANOS % 1000000000 + 1000000000) % 1000000000, 2) || 'Z'`, "NANOS", column)
}

// among returns a condition for the rows of a set, and its arguments. A range is faster
// than a list, and a pass mostly reads and stops rows in their order.
func (s *set) among() (condition string, args []any) {
	first, last := s.seqs[0], s.seqs[len(s.seqs)-1]
	if slices.IsSorted(s.seqs) && last-first == int64(len(s.seqs)-1) { // none twice
		return "BETWEEN ? AND ?", []any{first, last}
	}
	for i := range maxSet { // repeat the last, so that one statement does for any length
		args = append(args, s.seqs[min(i, len(s.seqs)-1)])
	}
	return "IN (?" + strings.Repeat(",?", maxSet-1) + ")", args
}

func (tx *stopTx) stopSet(ctx context.Context, s *set) error {
	n, e := len(s.stops), &s.event
	about := storekit.Quote(s.stops[0].Record.Name)
	if n > 1 {
		about = fmt.Sprintf("%s and %d others", about, n-1)
	}
	rows, seqs := s.among()
	event := append([]any{e.At.UnixNano(), e.Action, e.By, e.Reason, e.Verdict}, seqs...)
	if err := tx.execOn(ctx, n, insertEvents+rows, event...); err != nil {
		return fmt.Errorf("event of %s: %w", about, err)
	}
	if _, err := tx.exec(ctx, deleteBindings+rows, seqs...); err != nil {
		return fmt.Errorf("bindings of %s: %w", about, err)
	}
	if err := tx.execOn(ctx, n, deleteRecords+rows, seqs...); err != nil {
		return fmt.Errorf("row of %s: %w", about, err)
	}
	for _, stop := range s.stops {
		stop.Outcome, stop.Descendants = lifecycle.Stopped, nil
	}
	return nil
}

// selectFound looks rows up by a list of names in JSON.
const selectFound = `SELECT given.key, r.seq, r.incarnation, r.phase, r.identity, r.beat_boot, r.beat_awake, r.beat_wall, r.created_at, r.data,
		EXISTS (SELECT 1 FROM rollcall_records AS child WHERE child.parent = r.name AND child.parent <> '')
	FROM json_each(?) AS given CROSS JOIN rollcall_records AS r ON r.name = given.value`

// lookUp finds the rows of the records, and which of them are simple.
func (tx *stopTx) lookUp(ctx context.Context, stops []lifecycle.Stop) error {
	tx.found = make([]found, len(stops))
	names := tx.namesOf(stops)
	if tx.how == oneByOne {
		return nil
	}
	rows, err := tx.query(ctx, selectFound, names)
	if err != nil {
		return err
	}
	defer rows.Close()
	var i int
	var seq int64
	var r state
	var hasChildren bool
	dest := []any{&i, &seq, &r.incarnation, &r.phase, &r.identity, &r.beatBoot, &r.beatAwake, &r.beatWall, &r.createdAt, &r.data, &hasChildren}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		tx.found[i] = found{other, seq}
		if !hasChildren && r.isOf(&stops[i].Record) {
			tx.found[i].state = simple
		}
	}
	return rows.Err()
}

// state is what a row must have in common with the record as it was read. Owner and
// parent may be any text: json_object fails if they are blobs, and the rows are then
// stopped one by one.
type state struct {
	incarnation, phase, identity, beatBoot, beatAwake, beatWall, createdAt, data any
}

// isOf reports whether the state is that of a record, and not garbled.
func (s *state) isOf(r *lifecycle.Record) bool {
	if s.incarnation != r.Incarnation || s.phase != r.Phase.String() || s.beatAwake != int64(r.Heartbeat.Awake) {
		return false
	}
	if s.beatWall != nullable(storekit.Nanos(r.Heartbeat.Wall)) || s.createdAt != nullable(storekit.Nanos(r.CreatedAt)) {
		return false
	}
	identity, err := r.Identity.MarshalText()
	if err != nil || s.identity != string(identity) || !r.Heartbeat.Boot.Valid() || s.beatBoot != r.Heartbeat.Boot.String() {
		return false
	}
	if r.Data == nil {
		return s.data == nil
	}
	data, ok := s.data.(string)
	return ok && data == string(r.Data) && json.Valid(r.Data)
}

// namesOf returns the names to look up as a list in JSON. It leaves names with control
// characters to stopOne: not every SQLite reads a NUL from JSON.
func (tx *stopTx) namesOf(stops []lifecycle.Stop) string {
	names := []byte{'['}
	for i := range stops {
		name := stops[i].Record.Name
		if i > 0 {
			names = append(names, ',')
		}
		if tx.how == oneByOne || hasControl(name) {
			tx.found[i].state = other
			names = append(names, "null"...)
			continue
		}
		names = append(names, '"')
		for j := range len(name) {
			if name[j] == '"' || name[j] == '\\' {
				names = append(names, '\\')
			}
			names = append(names, name[j])
		}
		names = append(names, '"')
	}
	return string(append(names, ']'))
}

// hasControl reports whether a text has a character that JSON writes as \u0000 to
// \u001f.
func hasControl(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return r < ' ' }) >= 0
}

// selectJSON is 1 if SQLite has the JSON functions that sets need.
const selectJSON = `SELECT (SELECT json_group_array(value) FROM json_each('["a\"\\b","ä"]')) = '["a\"\\b","ä"]' AND
	json_object('a', json_object('b', 'c' || char(0) || char(10))) = '{"a":{"b":"c\u0000\n"}}'`

// canStopSets reports whether records can be stopped in sets. A hook needs their events
// in Go, and SQLite before 3.38 may have been built without JSON.
func (s *Store) canStopSets(ctx context.Context, conn *sql.Conn) bool {
	if s.options.OnStop != nil {
		return false
	}
	if !s.asked.Load() {
		var able bool
		if err := conn.QueryRowContext(ctx, selectJSON).Scan(&able); err != nil {
			return false // ask again next time: it may have been interrupted
		}
		s.able.Store(able)
		s.asked.Store(true)
	}
	return s.able.Load()
}
