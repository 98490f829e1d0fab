package sqlitestore_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

func TestDataComesBackAsItWas(t *testing.T) {
	t.Parallel()
	store, _ := open(t, sqlitestore.Options{})
	tests := []struct{ name, data string }{
		{"a number with a trailing zero", `{"price":1.50}`},
		{"a number beyond float64", `123456789012345678901234567890.5`},
		{"markup", `"<html>&amp;</html>"`},
		{"unicode", `"naïve ☃ 🐌 日本"`},
		{"escapes", `"\u0000\ud800\t\""`},
		{"line separators", "\"\u2028\u2029\""},
		{"a key twice", `{"a":1,"a":2}`},
		{"null", `null`},
		{"a text that looks like a number", `"007"`},
		{"an array", `[1,[],{}]`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			record, err := store.Launch(t.Context(), lifecycle.Record{Name: test.name, Data: json.RawMessage(test.data)})
			c.Assert(err, qt.IsNil)
			c.Assert(store.Bind(t.Context(), record, test.name), qt.IsNil)
			stored, err := store.Bound(t.Context(), test.name)
			c.Assert(err, qt.IsNil)
			c.Assert(string(stored.Data), qt.Equals, test.data)

			_, err = store.Stop(t.Context(), record, cause)
			c.Assert(err, qt.IsNil)
			snapshot, err := store.Snapshot(t.Context(), test.name)
			c.Assert(err, qt.IsNil)
			// JSON escapes the line separators, which means the same.
			got := bytes.NewBuffer(nil)
			c.Assert(json.Compact(got, bytes.ReplaceAll(bytes.ReplaceAll(snapshot.Data, []byte(`\u2028`), []byte("\u2028")), []byte(`\u2029`), []byte("\u2029"))), qt.IsNil)
			c.Assert(got.String(), qt.Equals, test.data)
		})
	}
}

func TestTimesKeepTheirNanoseconds(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, _ := open(t, sqlitestore.Options{})
	zone := time.FixedZone("east", 5*3600+1800)
	record := running("worker", livenesstest.New().Start())
	record.CreatedAt = time.Date(1969, 12, 31, 23, 59, 59, 999999999, zone)
	record.Heartbeat.Awake = 12*time.Hour + time.Nanosecond
	record.Heartbeat.Wall = time.Time{}
	c.Assert(store.Put(t.Context(), record), qt.IsNil)

	check := func(got lifecycle.Record) {
		c.Assert(got.CreatedAt.Equal(record.CreatedAt), qt.IsTrue)
		c.Assert(got.Heartbeat.Wall.IsZero(), qt.IsTrue)
		c.Assert(got.SameState(record), qt.IsTrue)
	}
	check(only(t, store))
	_, err := store.Stop(t.Context(), record, cause)
	c.Assert(err, qt.IsNil)
	snapshot, err := store.Snapshot(t.Context(), "worker")
	c.Assert(err, qt.IsNil)
	check(snapshot.Record)
}

func TestEventsComeInPagesFromWhereverOneStopped(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	const n = 1001
	store, db := open(t, sqlitestore.Options{})
	execSQL(t, db, `WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < ?)
		INSERT INTO rollcall_events (at, name, incarnation, action, by, reason, verdict, snapshot)
		SELECT n, 'name', n, 'stopped', 'tester', '', '', '{"phase":"running","identity":"","heartbeat":{"boot":""}}' FROM i`, n)

	page, err := store.Events(t.Context(), 0)
	c.Assert(err, qt.IsNil)
	c.Assert(page, qt.HasLen, 1000)
	c.Assert(page[0].At.Equal(time.Unix(0, 1)), qt.IsTrue)
	page, err = store.Events(t.Context(), page[999].Seq)
	c.Assert(err, qt.IsNil)
	c.Assert(page, qt.HasLen, 1)
	c.Assert(page[0].Incarnation, qt.Equals, "1001")
	page, err = store.Events(t.Context(), page[0].Seq)
	c.Assert(err, qt.IsNil)
	c.Assert(page, qt.HasLen, 0)
}

func TestRecordsComeInTheOrderOfTheirRegistration(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, db := open(t, sqlitestore.Options{})
	const n = 3 * sqlitestore.PageSize // several pages, the last one full
	execSQL(t, db, `WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < ?)
		INSERT INTO rollcall_records (name, incarnation, owner, phase, identity, created_at, beat_boot, beat_awake, parent)
		SELECT printf('%04d', 9000 - n), 'i', '', 'running', '', n, '', 0, '' FROM i`, n)
	all := names(t, store)
	c.Assert(all, qt.HasLen, n)
	for i, name := range all {
		c.Assert(name, qt.Equals, fmt.Sprintf("%04d", 8999-i))
	}
}

func TestASnapshotIsThatOfTheNewestStop(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	ctx := t.Context()
	store, _ := open(t, sqlitestore.Options{})
	_, err := store.Snapshot(ctx, "worker")
	c.Assert(err, qt.ErrorIs, lifecycle.ErrNoSnapshot)
	c.Assert(err, qt.ErrorMatches, `sqlitestore: snapshot of "worker": no snapshot`)
	for _, data := range []string{`"z first"`, `"a second"`} {
		// Incarnations that sort the other way round.
		record, err := store.Launch(ctx, lifecycle.Record{Name: "worker", Incarnation: data, Data: json.RawMessage(data)})
		c.Assert(err, qt.IsNil)
		_, err = store.Stop(ctx, record, cause)
		c.Assert(err, qt.IsNil)
		snapshot, err := store.Snapshot(ctx, "worker")
		c.Assert(err, qt.IsNil)
		c.Assert(string(snapshot.Data), qt.Equals, data)
	}
}

func TestAfterARebootANameIsResumedFromItsSnapshot(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	ctx := t.Context()
	world := livenesstest.New()
	store, _ := open(t, sqlitestore.Options{Clock: world})
	register(t, store, running("boss", world.Start()))
	record, err := store.Launch(ctx, lifecycle.Record{
		Name: "worker", Parent: "boss", CreatedAt: created, Data: json.RawMessage(`{"argv":["make"],"n":1.50}`),
	})
	c.Assert(err, qt.IsNil)
	process := world.Start()
	c.Assert(store.Activate(ctx, record, process), qt.IsNil)
	c.Assert(store.Bind(ctx, record, "terminal-7"), qt.IsNil)
	c.Assert(store.Bind(ctx, record, "session-1"), qt.IsNil)

	world.Reboot()
	gate := &lifecycle.BootGate{KV: store.Gate(), Self: world.Self}
	report, err := lifecycle.Cleaner{Store: store, Liveness: world, Clock: world}.CleanOncePerBoot(ctx, gate)
	c.Assert(err, qt.IsNil)
	c.Assert(report.StoppedBy, qt.DeepEquals, map[string]int{lifecycle.ReasonReboot: 1}, qt.Commentf("%v", report))
	c.Assert(report.AlreadyStopped, qt.Equals, 1) // along with its parent

	snapshot, err := store.Snapshot(ctx, "worker")
	c.Assert(err, qt.IsNil)
	c.Assert(snapshot.Name, qt.Equals, "worker")
	c.Assert(snapshot.Incarnation, qt.Equals, record.Incarnation)
	c.Assert(snapshot.Parent, qt.Equals, "boss")
	c.Assert(snapshot.CreatedAt.Equal(created), qt.IsTrue)
	c.Assert(snapshot.Identity, qt.Equals, process)
	c.Assert(string(snapshot.Data), qt.Equals, `{"argv":["make"],"n":1.50}`)
	c.Assert(snapshot.Bindings, qt.DeepEquals, []string{"session-1", "terminal-7"})

	snapshot.Incarnation = "" // a new registration of the name
	resumed, err := store.Launch(ctx, snapshot.Record)
	c.Assert(err, qt.IsNil)
	c.Assert(resumed.Parent, qt.Equals, "boss")
	c.Assert(only(t, store).Name, qt.Equals, "worker")
}
