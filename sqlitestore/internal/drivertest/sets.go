package drivertest

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// Sets stops random batches, with and without a hook, and their records one by one, and
// compares what comes of them. Each batch is made of a seed.
func (d Driver) Sets(t *testing.T) {
	const seeds, maxRecords = 50, 60
	inSets := 0
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			b := newBatch(seed, maxRecords)
			oneByOne := b.run(t, d, manner{size: 1})
			qt.Assert(t, oneByOne.InSets, qt.Equals, 0)
			for _, hook := range []bool{false, true} {
				sets := b.run(t, d, manner{hook: hook, size: len(b.stops)})
				inSets += sets.InSets
				sets.InSets = 0
				qt.Assert(t, sets, qt.DeepEquals, oneByOne, qt.Commentf("hook: %t", hook))
			}
		})
	}
	qt.Assert(t, inSets > 10*seeds, qt.IsTrue, qt.Commentf("%d records were stopped in sets", inSets))
}

// manner is how a batch is stopped.
type manner struct {
	hook bool
	size int // of the batches that StopBatch gets
}

// run fills a database in memory, stops the batch and goes on after the stops that
// fail.
func (b *batch) run(t *testing.T, d Driver, m manner) result {
	c := qt.New(t)
	db, err := d.openDB(":memory:", "")
	c.Assert(err, qt.IsNil)
	defer db.Close()
	db.SetMaxOpenConns(1)
	shown := map[int64]lifecycle.Event{} // what is undone is shown again by the same number
	var options sqlitestore.Options
	if m.hook {
		options.OnStop = func(_ context.Context, _ sqlitestore.Tx, event lifecycle.Event) error {
			shown[event.Seq] = event
			return nil
		}
	}
	store, err := sqlitestore.New(t.Context(), db, options)
	c.Assert(err, qt.IsNil)
	b.fill(t, exact{store, db})
	r := result{Stops: b.stopAll(t, store, m.size), Rows: rowsOf(t, db), InSets: InSets(t, db)}
	events, err := store.Events(t.Context(), 0)
	c.Assert(err, qt.IsNil)
	r.Events = texts(events)
	c.Assert(parentsFirst(events), qt.HasLen, 0)
	if m.hook {
		events = slices.DeleteFunc(events, func(e lifecycle.Event) bool { return e.Snapshot.Name == "x" }) // of the backup
		for seq := range shown {
			if !slices.ContainsFunc(events, func(e lifecycle.Event) bool { return e.Seq == seq }) {
				delete(shown, seq) // it was undone
			}
		}
		c.Assert(texts(slices.Collect(maps.Values(shown))), qt.DeepEquals, texts(events))
	}
	return r
}

// batch are records, what is done to their rows by others, and how they are stopped.
type batch struct {
	*rand.Rand
	records []lifecycle.Record
	keys    [][]string
	changes []rowChange
	stops   []lifecycle.Stop
}

type rowChange struct{ name, sql string }

// result is what came of a batch.
type result struct {
	Stops  []string // outcome and descendants, or error
	Events map[string]string
	Rows   map[string]string
	InSets int // events of records that were stopped in sets
}

var oddTexts = []string{
	"", "plain", `quo"te`, `back\slash`, "apo'strophe", "tab\tnew\nline", "nul\x00nul", "\x7f\x1b[0m", "naïve ☃ 🐌 日本", "<&>",
	"\u2028\u2029", `\u0041`, "%s%d", "rollcall_", strings.Repeat("long ", 100),
}

var oddData = []string{
	"", `{}`, `{"price":1.50,"n":123456789012345678901234567890}`, `{ "spaced" : [ 1 , 2 ] }`, "[\n\t1\r\n]", `null`, `"\u0000\ud800\t\""`,
	"\"\u2028<&>\"", `{"a":1,"a":2}`, strings.Repeat("[", 1000) + strings.Repeat("]", 1000), `"` + strings.Repeat("x", 5000) + `"`,
}

var rowChanges = []string{
	`phase = 'inactive'`, `phase = 'dreaming'`, `phase = CAST(phase AS BLOB)`, `identity = ''`, `identity = 'garbage'`, `identity = identity || ' '`,
	`identity = CAST(identity AS BLOB)`, `identity = x'00ff'`, `beat_boot = ''`, `beat_boot = 'boot'`, `beat_boot = CAST(beat_boot AS BLOB)`,
	`beat_awake = beat_awake + 1`, `beat_awake = 'long'`, `beat_awake = 1.5`, `beat_awake = CAST(beat_awake AS BLOB)`,
	`beat_wall = NULL`, `beat_wall = 7`, `beat_wall = x'01'`, `beat_wall = 1.5`, `created_at = 'yesterday'`, `created_at = 1.5`,
	`created_at = CAST(created_at AS BLOB)`, `owner = 'other'`, `owner = x'ff'`, `owner = CAST('blob' AS BLOB)`, `parent = 'nobody'`, `parent = x'ff41'`,
	`parent = CAST(x'ff41' AS TEXT)`, `owner = CAST(x'ff41' AS TEXT)`, `data = '{"a":'`, `data = NULL`, `data = '[1]'`, `data = CAST(data AS BLOB)`,
	`data = data || char(0) || '1'`, `data = 7`, `incarnation = 'anew'`, `incarnation = CAST(incarnation AS BLOB)`,
}

func newBatch(seed uint64, maxRecords int) *batch {
	b := &batch{Rand: rand.New(rand.NewPCG(seed, 1))}
	n := 1 + b.IntN(maxRecords)
	families, changes := b.IntN(3), b.IntN(3)
	for i := range n {
		b.records = append(b.records, b.record(i))
		var keys []string
		for k := range b.IntN(4) {
			keys = append(keys, b.text()+fmt.Sprint(i, " ", k))
		}
		b.keys = append(b.keys, keys)
		b.change(b.records[i].Name, changes)
	}
	for i := range b.records {
		if b.IntN(10) < 2*families { // at times of one that comes later, or of itself
			b.records[i].Parent = b.records[b.IntN(n)].Name
		}
	}
	for _, r := range b.records {
		for range []int{0, 1, 1, 1, 1, 1, 1, 2}[b.IntN(8)] {
			b.stops = append(b.stops, lifecycle.Stop{Record: r, Cause: b.cause()})
		}
	}
	b.stops = append(b.stops, lifecycle.Stop{Record: lifecycle.Record{Name: "nobody", Incarnation: "i"}, Cause: b.cause()})
	if b.IntN(2) == 0 {
		b.Shuffle(len(b.stops), func(i, j int) { b.stops[i], b.stops[j] = b.stops[j], b.stops[i] })
	}
	return b
}

func (b *batch) record(i int) lifecycle.Record {
	r := lifecycle.Record{
		Name: b.text() + fmt.Sprint(i), Incarnation: fmt.Sprint(i) + b.text(), Owner: b.text(),
		Phase: lifecycle.Phase(b.IntN(3)), Identity: b.identity(), CreatedAt: b.time(),
		Heartbeat: lifecycle.Heartbeat{Awake: time.Duration(b.Int64()), Wall: b.time()},
	}
	if b.IntN(2) == 0 {
		r.Owner = ""
		r.Heartbeat.Wall = time.Time{}
	} else {
		r.Heartbeat.Boot = r.Identity.Boot
	}
	if data := oddData[b.IntN(len(oddData))]; data != "" {
		r.Data = json.RawMessage(data)
	}
	return r
}

// change has others change the row of a record, with some probability.
func (b *batch) change(name string, probability int) {
	if b.IntN(10) < probability {
		b.changes = append(b.changes, rowChange{name, `UPDATE rollcall_records SET ` + rowChanges[b.IntN(len(rowChanges))] + ` WHERE name = ?`})
	}
	if b.IntN(40) < probability { // a row that came back, as from a backup
		b.changes = append(b.changes, rowChange{name, `INSERT INTO rollcall_events (at, name, incarnation, action, by, reason, verdict, snapshot)
			SELECT 0, name, incarnation, 'stopped', '', '', '', '{"name":"x"}' FROM rollcall_records WHERE name = ?`})
	}
	if b.IntN(40) < probability {
		b.changes = append(b.changes, rowChange{name, `INSERT INTO rollcall_bindings SELECT seq, x'41ff22' || seq FROM rollcall_records WHERE name = ?`})
	}
}

func (b *batch) text() string {
	if b.IntN(2) == 0 {
		return "plain"
	}
	return oddTexts[b.IntN(len(oddTexts))]
}

func (b *batch) time() time.Time {
	n := b.Int64N(1 << 62)
	switch b.IntN(8) {
	case 0: // in a set there is no time before 1970
		n = -n
	case 1:
		n -= n % 1e9
	case 2:
		n -= n % 1000
	}
	return time.Unix(0, n).UTC()
}

func (b *batch) identity() liveness.Identity {
	if b.IntN(5) == 0 {
		return liveness.Identity{}
	}
	id := liveness.Identity{PID: 1 + b.IntN(1000), Start: b.Uint64(), Unique: b.Uint64()}
	id.Boot, _ = bootid.New("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
	if b.IntN(2) == 0 {
		id.Marker = b.text() + "m"
		if _, err := id.MarshalText(); err != nil {
			id.Marker = ""
		}
	}
	return id
}

func (b *batch) cause() lifecycle.Cause {
	return []lifecycle.Cause{
		{By: "tester", Reason: "exit:test"},
		{By: `te"ster`, Reason: "exit:test", IfUnchanged: true},
		{By: "system", Reason: lifecycle.ReasonDied, IfUnchanged: true, Verdict: liveness.Verdict{State: liveness.Dead, Reason: liveness.NoProcess}},
	}[b.IntN(3)]
}

func (b *batch) fill(t *testing.T, s exact) {
	c := qt.New(t)
	for i, r := range b.records {
		c.Assert(s.Put(t.Context(), r), qt.IsNil)
		_, err := s.db.ExecContext(t.Context(), `UPDATE rollcall_records SET created_at = ?, beat_wall = ? WHERE name = ?`,
			r.CreatedAt.UnixNano(), sql.NullInt64{Int64: r.Heartbeat.Wall.UnixNano(), Valid: !r.Heartbeat.Wall.IsZero()}, r.Name)
		c.Assert(err, qt.IsNil)
		for _, key := range b.keys[i] {
			c.Assert(s.Bind(t.Context(), r, key), qt.IsNil)
		}
	}
	for _, change := range b.changes {
		_, err := s.db.ExecContext(t.Context(), change.sql, change.name)
		c.Assert(err, qt.IsNil, qt.Commentf("%s", change.sql))
	}
}

func (b *batch) stopAll(t *testing.T, store *sqlitestore.Store, size int) (lines []string) {
	rest := append([]lifecycle.Stop(nil), b.stops...)
	for len(rest) > 0 {
		some := rest[:min(size, len(rest))]
		n, err := store.StopBatch(t.Context(), some)
		for _, stop := range some[:n] {
			lines = append(lines, fmt.Sprintf("%q: %v, %+v", stop.Record.Name, stop.Outcome, stop.Descendants))
		}
		if n < len(some) {
			qt.Assert(t, err, qt.IsNotNil)
			lines = append(lines, fmt.Sprintf("%q: %v", rest[n].Record.Name, err))
			n++
		}
		rest = rest[n:]
	}
	return lines
}

// parentsFirst returns the events of children that come after that of their parent.
func parentsFirst(events []lifecycle.Event) (wrong []lifecycle.Event) {
	seqs := map[string]int64{}
	for _, e := range events {
		seqs[e.Name] = e.Seq
	}
	for _, e := range events {
		if e.Reason == lifecycle.ReasonParentStopped && seqs[e.Snapshot.Parent] < e.Seq {
			wrong = append(wrong, e)
		}
	}
	return wrong
}

// texts returns events by their records, but for what differs from run to run.
func texts(events []lifecycle.Event) map[string]string {
	all := map[string]string{}
	for _, e := range events {
		e.Seq, e.At = 0, time.Time{}
		s := e.Snapshot
		text := fmt.Sprintf("%+v %t %s %d %t %#v", e, s.Data == nil, s.Data, len(s.Bindings), s.Bindings == nil, s.Garbled)
		all[e.Name+" "+e.Incarnation] = strings.ToValidUTF8(text, "\ufffd") // as JSON has it
	}
	return all
}

// rowsOf returns all rows of records and bindings, byte by byte.
func rowsOf(t *testing.T, db *sql.DB) map[string]string {
	rows, err := db.QueryContext(t.Context(), `SELECT name, quote(incarnation) || quote(owner) || quote(phase) || quote(identity) || quote(beat_boot) ||
		quote(beat_awake) || quote(beat_wall) || quote(parent) || quote(data) FROM rollcall_records
		UNION ALL SELECT 'key ' || CAST(key AS TEXT), quote(record) FROM rollcall_bindings`)
	qt.Assert(t, err, qt.IsNil)
	defer rows.Close()
	all := map[string]string{}
	for rows.Next() {
		var name, text string
		qt.Assert(t, rows.Scan(&name, &text), qt.IsNil)
		all[name] = text
	}
	qt.Assert(t, rows.Err(), qt.IsNil)
	return all
}

// InSets is how many events were written for records in sets: only their snapshots
// name an owner that is empty.
func InSets(t *testing.T, db *sql.DB) (n int) {
	err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM rollcall_events WHERE instr(snapshot, '"owner":""')`).Scan(&n)
	qt.Assert(t, err, qt.IsNil)
	return n
}
