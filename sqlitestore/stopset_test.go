package sqlitestore_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// TestSetsDoWhatIsDoneOneByOne stops the same random batch in sets and one by one, and
// compares what comes of it.
func TestSetsDoWhatIsDoneOneByOne(t *testing.T) {
	t.Parallel()
	sets := 0
	for seed := range uint64(50) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			c := qt.New(t)
			b := newBatch(seed)
			var results [2]result
			for i, oneByOne := range []bool{false, true} {
				store, db := openInMemory(t)
				if oneByOne {
					store.StopOneByOne()
				}
				b.fill(t, store, db)
				results[i] = b.stop(t, store, db)
			}
			sets += results[0].Sets
			results[0].Sets, results[1].Sets = 0, 0
			c.Assert(results[0], qt.DeepEquals, results[1])
		})
	}
	qt.Assert(t, sets > 300, qt.IsTrue, qt.Commentf("%d events of sets", sets))
}

// TestEverySimpleRecordIsStoppedInASet guards the test above, and the speed.
func TestEverySimpleRecordIsStoppedInASet(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, db := openInMemory(t)
	var stops []lifecycle.Stop
	for i := range 300 {
		record := running(numbered("worker", i), self(t))
		register(t, store, record)
		stops = append(stops, lifecycle.Stop{Record: record, Cause: cause})
	}
	n, err := store.StopBatch(t.Context(), stops)
	c.Assert(err, qt.IsNil)
	c.Assert(n, qt.Equals, len(stops))
	c.Assert(setEvents(t, db), qt.Equals, len(stops))
}

func openInMemory(t *testing.T) (*sqlitestore.Store, *sql.DB) {
	c := qt.New(t)
	db, err := sql.Open("sqlite", ":memory:")
	c.Assert(err, qt.IsNil)
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	store, err := sqlitestore.New(t.Context(), db, sqlitestore.Options{})
	c.Assert(err, qt.IsNil)
	return store, db
}

// setEvents is how many events were written for a set: only their snapshots name an
// owner that is empty.
func setEvents(t *testing.T, db *sql.DB) int {
	var n int
	err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM rollcall_events WHERE instr(snapshot, '"owner":""')`).Scan(&n)
	qt.New(t).Assert(err, qt.IsNil)
	return n
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

	Sets int
}

var oddTexts = []string{
	"", "plain", `quo"te`, `back\slash`, "apo'strophe", "tab\tnew\nline", "nul\x00nul", "\x7f\x1b[0m", "naïve ☃ 🐌 日本", "<&>",
	"\u2028\u2029", `\u0041`, "%s%d", "rollcall_", strings.Repeat("long ", 100),
}

var oddData = []string{
	"", `{}`, `{"price":1.50,"n":123456789012345678901234567890}`, `{ "spaced" : [ 1 , 2 ] }`, "[\n\t1\r\n]", `null`, `"\u0000\ud800\t\""`,
	"\"\u2028<&>\"", `{"a":1,"a":2}`, strings.Repeat("[", 1500) + strings.Repeat("]", 1500), `"` + strings.Repeat("x", 5000) + `"`,
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

func newBatch(seed uint64) *batch {
	b := &batch{Rand: rand.New(rand.NewPCG(seed, 1))}
	n := 1 + b.IntN(60)
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
	switch b.IntN(4) {
	case 0:
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

func (b *batch) fill(t *testing.T, store *sqlitestore.Store, db *sql.DB) {
	c := qt.New(t)
	for i, r := range b.records {
		c.Assert(store.Put(t.Context(), r), qt.IsNil)
		for _, key := range b.keys[i] {
			c.Assert(store.Bind(t.Context(), r, key), qt.IsNil)
		}
	}
	for _, change := range b.changes {
		execSQL(t, db, change.sql, change.name)
	}
}

// stop stops the batch, and goes on after the ones that fail.
func (b *batch) stop(t *testing.T, store *sqlitestore.Store, db *sql.DB) (r result) {
	c := qt.New(t)
	stops := append([]lifecycle.Stop(nil), b.stops...)
	for rest := stops; len(rest) > 0; {
		n, err := store.StopBatch(context.Background(), rest)
		for _, stop := range rest[:n] {
			line := fmt.Sprintf("%q: %v", stop.Record.Name, stop.Outcome)
			for _, d := range stop.Descendants {
				line += fmt.Sprintf(", %+v", d)
			}
			r.Stops = append(r.Stops, line)
		}
		if n < len(rest) {
			c.Assert(err, qt.IsNotNil)
			r.Stops = append(r.Stops, fmt.Sprintf("%q: %v", rest[n].Record.Name, err))
			n++
		}
		rest = rest[n:]
	}
	r.Events = map[string]string{}
	for _, e := range events(t, store) {
		e.Seq, e.At = 0, time.Time{}
		r.Events[e.Name+" "+e.Incarnation] = fmt.Sprintf("%+v %t %q %#v %#v", e, e.Snapshot.Data == nil, e.Snapshot.Data, e.Snapshot.Bindings, e.Snapshot.Garbled)
	}
	r.Rows = dump(t, db)
	r.Sets = setEvents(t, db)
	return r
}
