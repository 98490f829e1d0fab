package sqlitestore

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
)

// set is a number of simple records that are stopped together, for the same cause.
// SQLite makes their snapshots; Go reads none of the rows again.
type set struct {
	setKey
	event lifecycle.Event // of each record, without Seq and the fields of the record
	first string          // the name of the first record
	seqs  []int64
}

// setKey is what the records of a set have in common.
type setKey struct {
	depth               int // below the record that they are stopped with
	by, reason, verdict string
}

// found is what lookUp has found for a stop.
type found struct {
	state       rowState
	seq         int64
	hasChildren bool
}

type rowState uint8

const (
	// absent means that no row has the name.
	absent rowState = iota
	// simple means that the row is unchanged and has no garbled column.
	simple
	// other means anything else, including that nobody looked.
	other
)

// put adds a record and its descendants to the sets, and sets what comes of the stop. It
// returns false, and does nothing, if the record must be stopped by itself.
func (tx *stopTx) put(f found, stop *lifecycle.Stop) bool {
	if f.state == other {
		return false
	}
	tx.pending++
	if f.state == absent || tx.taken[f.seq] {
		stop.Outcome, stop.Descendants = lifecycle.AlreadyStopped, nil
		return true
	}
	stop.Outcome, stop.Descendants = lifecycle.Stopped, nil
	tx.taken[f.seq] = true
	head := child{stop.Record, f.seq, true}
	tx.add(stop.Cause, 0, head)
	if !f.hasChildren {
		return true
	}
	family := storekit.Family(head, child.key, tx.childrenOf, tx.taken)
	depth := map[string]int{} // of each member of the family
	for _, c := range family[1:] {
		depth[c.record.Name] = depth[c.record.Parent] + 1
		tx.add(stop.Cause.ForDescendant(), depth[c.record.Name], c)
		stop.Descendants = append(stop.Descendants, c.record)
	}
	slices.Reverse(stop.Descendants) // children before parents
	return true
}

// add adds a record to the set for a cause and a depth.
func (tx *stopTx) add(cause lifecycle.Cause, depth int, c child) {
	tx.bytes += len(c.record.Data)
	event := cause.Event(lifecycle.Snapshot{})
	key := setKey{depth, event.By, event.Reason, event.Verdict}
	for i := range tx.sets {
		if s := &tx.sets[i]; s.setKey == key && len(s.seqs) < maxSet {
			s.seqs = append(s.seqs, c.seq)
			return
		}
	}
	tx.sets = append(tx.sets, set{setKey: key, event: event, first: c.record.Name, seqs: []int64{c.seq}})
}

// stopSets stops the records in the sets, children before parents.
func (tx *stopTx) stopSets(ctx context.Context) error {
	slices.SortStableFunc(tx.sets, func(a, b set) int { return b.depth - a.depth })
	for i := range tx.sets {
		if err := tx.stopSet(ctx, &tx.sets[i]); err != nil {
			return &stopError{tx.done, tx.pending, err}
		}
	}
	tx.sets = tx.sets[:0]
	tx.done += tx.pending
	tx.pending, tx.bytes = 0, 0
	return nil
}

// insertEvents makes the snapshots that encodeSnapshot makes. datetime and json_object
// take much less time than strftime and json_quote. Data is not passed to json, which
// would change its text; rtrim takes off one brace, because a parent is quoted. It ends
// in a condition for the rows, as the others here do.
var insertEvents = `INSERT INTO rollcall_events (at, name, incarnation, action, by, reason, verdict, snapshot)
	SELECT ?, name, incarnation, ?, ?, ?, ?,
		rtrim(json_object('name', name, 'incarnation', incarnation, 'owner', owner, 'phase', phase, 'identity', identity,
			'created_at', ` + timeText("created_at") + `, 'heartbeat', json_object('boot', beat_boot, 'awake_ns', beat_awake,
			'wall', coalesce(` + timeText("beat_wall") + `, '0001-01-01T00:00:00Z')), 'parent', parent), '}') ||
		coalesce(',"bindings":' || nullif((SELECT json_group_array(CAST(key AS TEXT)) FROM
			(SELECT key FROM rollcall_bindings WHERE record = seq ORDER BY key)), '[]'), '') ||
		coalesce(',"data":' || data, '') || '}'
	FROM rollcall_records WHERE seq `

const (
	deleteBindings = `DELETE FROM rollcall_bindings WHERE record `
	deleteRecords  = `DELETE FROM rollcall_records WHERE seq `
)

// timeText returns an expression for nanoseconds since 1970, which are not negative, as
// RFC 3339 has a time. It is NULL for NULL.
func timeText(column string) string {
	return strings.ReplaceAll(`replace(datetime(NANOS / 1000000000, 'unixepoch'), ' ', 'T') || '.' ||
		substr(1000000000 + NANOS % 1000000000, 2) || 'Z'`, "NANOS", column)
}

// among returns a condition for the rows of a set, and its arguments. A range is faster
// than a list, and a pass mostly reads and stops rows in their order.
func (s *set) among() (condition string, args []any) {
	first := s.seqs[0]
	inRow := true
	for i, seq := range s.seqs {
		inRow = inRow && seq == first+int64(i)
	}
	if inRow {
		return "BETWEEN ? AND ?", []any{first, s.seqs[len(s.seqs)-1]}
	}
	for i := range maxSet { // repeat the last, so that one statement does for any length
		args = append(args, s.seqs[min(i, len(s.seqs)-1)])
	}
	return "IN (?" + strings.Repeat(",?", maxSet-1) + ")", args
}

func (tx *stopTx) stopSet(ctx context.Context, s *set) error {
	n, e := len(s.seqs), &s.event
	about := storekit.Quote(s.first)
	if n > 1 {
		about = fmt.Sprintf("%s and %d others", about, n-1)
	}
	rows, seqs := s.among()
	event := append([]any{e.At.UnixNano(), e.Action, e.By, e.Reason, e.Verdict}, seqs...)
	inserted, err := tx.execOn(ctx, n, insertEvents+rows, event...)
	if err != nil {
		return fmt.Errorf("event of %s: %w", about, err)
	}
	if _, err := tx.exec(ctx, deleteBindings+rows, seqs...); err != nil {
		return fmt.Errorf("bindings of %s: %w", about, err)
	}
	if _, err := tx.execOn(ctx, n, deleteRecords+rows, seqs...); err != nil {
		return fmt.Errorf("row of %s: %w", about, err)
	}
	if tx.store.options.OnStop == nil {
		return nil
	}
	last, err := inserted.LastInsertId()
	if err != nil {
		return err
	}
	return tx.callHooks(ctx, last-int64(n), n)
}

// callHooks calls the hook for the n events after one. Their numbers are without gaps,
// since one statement made them.
func (tx *stopTx) callHooks(ctx context.Context, after int64, n int) error {
	rows, err := tx.query(ctx, selectEvents, after, n)
	if err != nil {
		return err
	}
	events, garbled, err := scanEvents(rows)
	if err != nil || garbled != nil {
		return errors.Join(err, garbled)
	}
	for i := range events {
		e := &events[i]
		e.Snapshot.Name, e.Snapshot.Incarnation = e.Name, e.Incarnation // which JSON may not hold as they are
		if err := tx.callHook(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// selectFound looks rows up by a list of names in JSON. It looks for children only if
// any record has a parent.
const selectFound = `SELECT given.key, r.seq, ` + stateTexts + `, r.beat_awake, r.beat_wall, r.created_at, r.data,
		CASE WHEN (SELECT EXISTS (SELECT 1 FROM rollcall_records WHERE parent <> '')) THEN
			EXISTS (SELECT 1 FROM rollcall_records AS child WHERE child.parent = r.name AND child.parent <> '') END
	FROM json_each(?) AS given CROSS JOIN rollcall_records AS r ON r.name = given.value`

// lookUp finds the rows of the records, and which of them are simple.
func (tx *stopTx) lookUp(ctx context.Context, stops []lifecycle.Stop) error {
	tx.found = make([]found, len(stops))
	names := nameList{'['}
	for i := range stops {
		if name := stops[i].Record.Name; tx.how == oneByOne || hasControl(name) {
			tx.found[i].state = other
			names = append(names, "null,"...)
		} else {
			names.add(name)
		}
	}
	if tx.how == oneByOne {
		return nil
	}
	rows, err := tx.query(ctx, selectFound, names.json())
	if err != nil {
		return err
	}
	defer rows.Close()
	var i int
	var f found
	var r state
	var hasChildren sql.NullBool
	dest := []any{&i, &f.seq, &r.texts, &r.beatAwake, &r.beatWall, &r.createdAt, &r.data, &hasChildren}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		f.state, f.hasChildren = other, hasChildren.Bool
		if r.isOf(&stops[i].Record) {
			f.state = simple
		}
		tx.found[i] = f
	}
	return rows.Err()
}

// child is a row that has a parent.
type child struct {
	record lifecycle.Record
	seq    int64
	simple bool
}

func (c child) key() int64 { return c.seq }

func (tx *stopTx) childrenOf(c child) []child { return tx.children[c.record.Name] }

// selectDescendants finds the descendants of a list of names in JSON.
const selectDescendants = `WITH RECURSIVE family (member) AS (
		SELECT value FROM json_each(?)
		UNION SELECT r.name FROM family CROSS JOIN rollcall_records AS r ON r.parent = member AND r.parent <> ''
	) SELECT ` + columns + `, ` + stateTexts + ` FROM family CROSS JOIN rollcall_records AS r ON r.parent = member AND r.parent <> '' LIMIT ?`

// lookUpFamilies finds the descendants of the first records, and returns these
// records: as many as have no more than most descendants. One that has more by itself,
// or a descendant that is not simple, is not simple.
func (tx *stopTx) lookUpFamilies(ctx context.Context, stops []lifecycle.Stop, most int) ([]lifecycle.Stop, error) {
	var parents []int // indexes of stops
	for i := range stops {
		if f := &tx.found[i]; f.state == simple && f.hasChildren && !tx.taken[f.seq] {
			parents = append(parents, i)
		}
	}
	for len(parents) > 0 {
		n, err := tx.lookUpDescendants(ctx, stops, parents, most+1)
		if err != nil {
			return nil, err
		}
		if n <= most {
			break
		}
		if len(parents) == 1 {
			tx.found[parents[0]].state = other
			return stops[:parents[0]+1], nil
		}
		half := len(parents) / 2
		stops, parents = stops[:parents[half]], parents[:half]
	}
	for _, i := range parents {
		if !tx.isSimpleFamily(stops[i].Record.Name) {
			tx.found[i].state = other
		}
	}
	return stops, nil
}

// lookUpDescendants finds the descendants of the stops with the indexes, up to a
// limit, and returns how many these are.
func (tx *stopTx) lookUpDescendants(ctx context.Context, stops []lifecycle.Stop, parents []int, limit int) (n int, err error) {
	names := nameList{'['}
	for _, i := range parents {
		names.add(stops[i].Record.Name)
	}
	tx.children = map[string][]child{}
	rows, err := tx.query(ctx, selectDescendants, names.json(), limit)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var c cells
	var texts any
	dest := append(c.dest(), &texts)
	for ; rows.Next(); n++ {
		if err := rows.Scan(dest...); err != nil {
			return 0, err
		}
		var r row
		c.decode(&r)
		record, err := r.Record()
		_, named := c.name.(string)
		s := state{texts, c.beatAwake, c.beatWall, c.createdAt, c.data}
		tx.children[r.Parent] = append(tx.children[r.Parent], child{record, r.Seq, err == nil && named && s.isOf(&record)})
	}
	for _, children := range tx.children { // as one by one
		slices.SortFunc(children, func(a, b child) int { return cmp.Compare(a.seq, b.seq) })
	}
	return n, rows.Err()
}

func (tx *stopTx) isSimpleFamily(name string) bool {
	head := child{record: lifecycle.Record{Name: name}, simple: true}
	family := storekit.Family(head, child.key, tx.childrenOf, map[int64]bool{})
	return !slices.ContainsFunc(family, func(c child) bool { return !c.simple })
}

// state is what a row must have in common with the record as it was read. Owner and
// parent may be any text. A blob looks like a text here, but json_object refuses it, and
// the rows of that set are then stopped one by one.
type state struct {
	texts, beatAwake, beatWall, createdAt, data any
}

// stateTexts are several columns in one, which is read in less time.
const stateTexts = `phase || char(1) || identity || char(1) || beat_boot || char(1) || incarnation`

// isOf reports whether the state is that of a record, and not garbled.
func (s *state) isOf(r *lifecycle.Record) bool {
	if s.beatAwake != int64(r.Heartbeat.Awake) || !isTime(s.beatWall, r.Heartbeat.Wall) || !isTime(s.createdAt, r.CreatedAt) {
		return false
	}
	identity := r.Identity.String()
	texts := r.Phase.String() + "\x01" + identity + "\x01" + r.Heartbeat.Boot.String() + "\x01" + r.Incarnation
	if s.texts != texts || hasControl(r.Incarnation) || strings.HasPrefix(identity, "(") || !r.Heartbeat.Boot.Valid() {
		return false
	}
	if r.Data == nil {
		return s.data == nil
	}
	data, ok := s.data.(string)
	return ok && data == string(r.Data) && json.Valid(r.Data)
}

// isTime reports whether a column is that of a time, and one that timeText can take.
func isTime(column any, t time.Time) bool {
	n := storekit.Nanos(t)
	return column == nullable(n) && (n == nil || *n >= 0)
}

// nameList is a list of one name or more in JSON that is not closed. It is written by
// hand, because names need not be UTF-8.
type nameList []byte

// add adds a name without control characters: not every SQLite reads a NUL from JSON.
func (l *nameList) add(name string) {
	b := append(*l, '"')
	for i := range len(name) {
		if name[i] == '"' || name[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, name[i])
	}
	*l = append(b, `",`...)
}

func (l nameList) json() string { return string(l[:len(l)-1]) + "]" }

// hasControl reports whether a text has a character that JSON writes as \u0000 to
// \u001f.
func hasControl(text string) bool {
	return strings.IndexFunc(text, func(r rune) bool { return r < ' ' }) >= 0
}

// selectJSON is 1 if SQLite has the JSON functions that sets need.
const selectJSON = `SELECT (SELECT json_group_array(value) FROM json_each('["a\"\\b","ä"]')) = '["a\"\\b","ä"]' AND
	json_object('a', json_object('b', 'c' || char(0) || char(10))) = '{"a":{"b":"c\u0000\n"}}'`

// canStopSets reports whether records can be stopped in sets: SQLite before 3.38 may
// have been built without JSON.
func (s *Store) canStopSets(ctx context.Context, conn *sql.Conn) bool {
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
