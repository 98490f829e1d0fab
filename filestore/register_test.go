package filestore_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/filestore"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

func TestARecordGoesThroughItsPhases(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	ctx := t.Context()
	world := livenesstest.New()
	store := open(t, tempDir(t), filestore.Options{Clock: world})
	record, err := store.Launch(ctx, lifecycle.Record{
		Name: "worker", Owner: "laptop", Parent: "boss", Phase: lifecycle.Inactive, Identity: world.Start(),
	})
	c.Assert(err, qt.IsNil)
	c.Assert(record.Phase, qt.Equals, lifecycle.Launching)
	c.Assert(record.Identity.IsZero(), qt.IsTrue)
	c.Assert(record.Incarnation, qt.Matches, `[0-9a-f-]{14}7[0-9a-f-]{21}`)
	c.Assert(record.CreatedAt.IsZero(), qt.IsFalse)
	c.Assert(record.Heartbeat.Awake, qt.Equals, time.Minute)
	stored := only(t, store)
	c.Assert(stored.CreatedAt.Equal(record.CreatedAt), qt.IsTrue)
	c.Assert(stored.SameState(record), qt.IsTrue)
	c.Assert([]string{stored.Name, stored.Incarnation, stored.Owner, stored.Parent}, qt.DeepEquals,
		[]string{"worker", record.Incarnation, "laptop", "boss"})

	world.Advance(time.Second)
	process := world.Start()
	c.Assert(store.Activate(ctx, record, process), qt.IsNil)
	active := only(t, store)
	c.Assert(active.Phase, qt.Equals, lifecycle.Running)
	c.Assert(active.Identity, qt.Equals, process)
	c.Assert(active.Heartbeat.Awake, qt.Equals, time.Minute+time.Second)

	world.Advance(time.Second)
	c.Assert(store.Heartbeat(ctx, record), qt.IsNil)
	beaten := only(t, store)
	c.Assert(beaten.Heartbeat.Awake, qt.Equals, time.Minute+2*time.Second)
	c.Assert(beaten.Heartbeat.Boot, qt.Equals, process.Boot)
	c.Assert(beaten.Identity, qt.Equals, process)

	world.Advance(time.Second)
	c.Assert(store.Deactivate(ctx, record), qt.IsNil)
	resting := only(t, store)
	c.Assert(resting.Phase, qt.Equals, lifecycle.Inactive)
	c.Assert(resting.Identity.IsZero(), qt.IsTrue)
	c.Assert(resting.Heartbeat.Awake, qt.Equals, time.Minute+3*time.Second)

	c.Assert(store.Activate(ctx, record, liveness.Identity{}), qt.IsNil)
	c.Assert(only(t, store).Phase, qt.Equals, lifecycle.Running)
}

func TestAnEarlierIncarnationWritesNothing(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	ctx := t.Context()
	world := livenesstest.New()
	dir := tempDir(t)
	store := open(t, dir, filestore.Options{Clock: world})
	old, err := store.Launch(ctx, lifecycle.Record{Name: "worker"})
	c.Assert(err, qt.IsNil)
	refused := func(comment string) {
		before := imageOf(t, dir)
		for verb, err := range map[string]error{
			"activate":     store.Activate(ctx, old, world.Start()),
			"deactivate":   store.Deactivate(ctx, old),
			"heartbeat of": store.Heartbeat(ctx, old),
			`bind "k" to`:  store.Bind(ctx, old, "k"),
		} {
			c.Assert(err, qt.ErrorIs, lifecycle.ErrNotRegistered, qt.Commentf(comment))
			c.Assert(err, qt.ErrorMatches, "filestore: "+verb+` "worker": not registered`)
		}
		c.Assert(imageOf(t, dir), qt.DeepEquals, before, qt.Commentf(comment))
		_, err := store.Bound(ctx, "k")
		c.Assert(err, qt.ErrorIs, lifecycle.ErrNotRegistered)
	}
	outcome, err := store.Stop(ctx, old, cause)
	c.Assert(err, qt.IsNil)
	c.Assert(outcome, qt.Equals, lifecycle.Stopped)
	refused("after the stop")
	_, err = store.Launch(ctx, lifecycle.Record{Name: "worker"})
	c.Assert(err, qt.IsNil)
	refused("after the name was registered again")
	outcome, err = store.Stop(ctx, old, cause)
	c.Assert(err, qt.IsNil)
	c.Assert(outcome, qt.Equals, lifecycle.AlreadyStopped)
	c.Assert(names(t, store), qt.DeepEquals, []string{"worker"})
}

func TestLaunchRefuses(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	store := open(t, dir, filestore.Options{})
	taken, err := store.Launch(t.Context(), lifecycle.Record{Name: "taken", Incarnation: "first"})
	qt.Assert(t, err, qt.IsNil)
	gone, err := store.Launch(t.Context(), lifecycle.Record{Name: "gone", Incarnation: `fir"st`})
	qt.Assert(t, err, qt.IsNil)
	_, err = store.Stop(t.Context(), gone, cause)
	qt.Assert(t, err, qt.IsNil)
	tests := []struct {
		name   string
		record lifecycle.Record
		want   error
		text   string
	}{
		{"a name that is taken", lifecycle.Record{Name: "taken"}, lifecycle.ErrNameTaken, `name is taken`},
		{"the same registration twice", taken, lifecycle.ErrNameTaken, `name is taken`},
		{"an incarnation that was stopped", gone, lifecycle.ErrInvalidRecord, `.*incarnation "fir\\"st" was stopped before`},
		{"no name", lifecycle.Record{}, lifecycle.ErrInvalidRecord, `.*no name`},
		{"data that is no JSON", lifecycle.Record{Name: "x", Data: json.RawMessage(`{`)}, lifecycle.ErrInvalidRecord, `.*Data is not JSON`},
		{"a time without a text", lifecycle.Record{Name: "x", CreatedAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, lifecycle.ErrInvalidRecord, `.*year outside of range.*`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := qt.New(t)
			before := imageOf(t, dir)
			record, err := store.Launch(t.Context(), test.record)
			c.Assert(err, qt.ErrorIs, test.want)
			c.Assert(err, qt.ErrorMatches, fmt.Sprintf(`filestore: launch "%s": %s`, test.record.Name, test.text))
			c.Assert(record.Name, qt.Equals, "")
			c.Assert(imageOf(t, dir), qt.DeepEquals, before)
		})
	}
}

func TestActivateRefusesAnIdentityWithoutText(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store := open(t, tempDir(t), filestore.Options{})
	record, err := store.Launch(t.Context(), lifecycle.Record{Name: "worker"})
	c.Assert(err, qt.IsNil)
	err = store.Activate(t.Context(), record, liveness.Identity{PID: -1})
	c.Assert(err, qt.ErrorIs, liveness.ErrInvalid)
	c.Assert(only(t, store).Phase, qt.Equals, lifecycle.Launching)
}

func TestAKeyIsBoundToOneRecordAtATime(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	ctx := t.Context()
	dir := tempDir(t)
	store := open(t, dir, filestore.Options{})
	first, err := store.Launch(ctx, lifecycle.Record{Name: "first"})
	c.Assert(err, qt.IsNil)
	second, err := store.Launch(ctx, lifecycle.Record{Name: "second"})
	c.Assert(err, qt.IsNil)
	bound := func(key string) string {
		record, err := open(t, dir, filestore.Options{}).Bound(ctx, key)
		c.Assert(err, qt.IsNil)
		return record.Name
	}
	c.Assert(store.Bind(ctx, first, "session"), qt.IsNil)
	c.Assert(store.Bind(ctx, first, "session"), qt.IsNil)
	c.Assert(store.Bind(ctx, first, "terminal"), qt.IsNil)
	c.Assert(bound("session"), qt.Equals, "first")
	c.Assert(store.Bind(ctx, second, "session"), qt.IsNil)
	c.Assert(bound("session"), qt.Equals, "second")
	c.Assert(bound("terminal"), qt.Equals, "first")
	c.Assert(store.Heartbeat(ctx, first), qt.IsNil)
	c.Assert(bound("session"), qt.Equals, "second")

	// It does not come back when its last holder is gone.
	_, err = store.Stop(ctx, second, cause)
	c.Assert(err, qt.IsNil)
	_, err = open(t, dir, filestore.Options{}).Bound(ctx, "session")
	c.Assert(err, qt.ErrorIs, lifecycle.ErrNotRegistered)
	_, err = store.Stop(ctx, first, cause)
	c.Assert(err, qt.IsNil)
	all := events(t, store)
	c.Assert(all[0].Snapshot.Bindings, qt.DeepEquals, []string{"session"})
	c.Assert(all[1].Snapshot.Bindings, qt.DeepEquals, []string{"terminal"})
	_, err = store.Bound(ctx, strings.Repeat("long", 50))
	c.Assert(err, qt.ErrorMatches, `filestore: record bound to "(long){20}…": not registered`)
}

func TestDataComesBackAsItWas(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	store := open(t, dir, filestore.Options{})
	tests := []struct{ name, data string }{
		{"a number with a trailing zero", `{"price":1.50}`},
		{"a number beyond float64", `123456789012345678901234567890.5`},
		{"markup", `"<html>&amp;</html>"`},
		{"unicode", `"naïve ☃ 🐌 日本"`},
		{"escapes", `"\u0000\ud800\t\""`},
		{"line separators", "\"\u2028\u2029\""},
		{"a key twice", `{"a":1,"a":2}`},
		{"what a line ends in", `{"a":1,"crc":"00000000"}`},
		{"null", `null`},
		{"an array", `[1,[],{}]`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := qt.New(t)
			record, err := store.Launch(t.Context(), lifecycle.Record{Name: test.name, Data: json.RawMessage(test.data)})
			c.Assert(err, qt.IsNil)
			c.Assert(store.Bind(t.Context(), record, test.name), qt.IsNil)
			for _, s := range []*filestore.Store{store, open(t, dir, filestore.Options{})} {
				stored, err := s.Record(t.Context(), test.name)
				c.Assert(err, qt.IsNil)
				c.Assert(string(stored.Data), qt.Equals, test.data)
			}
			_, err = store.Stop(t.Context(), record, cause)
			c.Assert(err, qt.IsNil)
			snapshot, err := store.Snapshot(t.Context(), test.name)
			c.Assert(err, qt.IsNil)
			c.Assert(string(snapshot.Data), qt.Equals, test.data)
		})
	}
}

func TestEventsComeInPagesFromWhereverOneStopped(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	const n = 1001
	dir := tempDir(t)
	fill(t, dir, n, liveness.Identity{})
	store := open(t, dir, filestore.Options{})
	var stops []lifecycle.Stop
	records, err := store.Records(t.Context())
	c.Assert(err, qt.IsNil)
	for _, record := range records {
		stops = append(stops, lifecycle.Stop{Record: record, Cause: cause})
	}
	c.Assert(records[n-1].Name, qt.Equals, "worker-1000") // oldest first
	outcomes, err := stopBatch(t.Context(), store, stops)
	c.Assert(err, qt.IsNil)
	c.Assert(outcomes, qt.HasLen, n)
	page, err := store.Events(t.Context(), 0)
	c.Assert(err, qt.IsNil)
	c.Assert(page, qt.HasLen, 1000)
	page, err = store.Events(t.Context(), page[999].Seq)
	c.Assert(err, qt.IsNil)
	c.Assert(page, qt.HasLen, 1)
	c.Assert(page[0].Name, qt.Equals, "worker-1000")
	page, err = store.Events(t.Context(), page[0].Seq)
	c.Assert(err, qt.IsNil)
	c.Assert(page, qt.HasLen, 0)
}

func TestASnapshotIsThatOfTheNewestStop(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	ctx := t.Context()
	store := open(t, tempDir(t), filestore.Options{})
	_, err := store.Snapshot(ctx, "worker")
	c.Assert(err, qt.ErrorIs, lifecycle.ErrNoSnapshot)
	c.Assert(err, qt.ErrorMatches, `filestore: snapshot of "worker": no snapshot`)
	for _, data := range []string{`"z first"`, `"a second"`} {
		for _, name := range []string{"worker", `other "worker"`} {
			record, err := store.Launch(ctx, lifecycle.Record{Name: name, Data: json.RawMessage(data)})
			c.Assert(err, qt.IsNil)
			_, err = store.Stop(ctx, record, cause)
			c.Assert(err, qt.IsNil)
			snapshot, err := store.Snapshot(ctx, name)
			c.Assert(err, qt.IsNil)
			c.Assert(string(snapshot.Data), qt.Equals, data)
		}
	}
}

// Heartbeats make most of the lines. A file that is rewritten holds the same.
func TestRecordsThatGrowAreRewritten(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	dir := tempDir(t)
	store := open(t, dir, unflushed().RewriteFrom(4000))
	register(t, store, running("first", liveness.Identity{}), running("second", liveness.Identity{}), running("gone", liveness.Identity{}))
	_, err := store.Stop(t.Context(), running("gone", liveness.Identity{}), cause)
	c.Assert(err, qt.IsNil)
	other := open(t, dir, filestore.Options{})
	longest := 0
	for range 60 {
		c.Assert(store.Heartbeat(t.Context(), running("first", liveness.Identity{})), qt.IsNil)
		longest = max(longest, len(readFile(t, dir, recordsFile)))
	}
	c.Assert(longest < 9000, qt.IsTrue, qt.Commentf("%d", longest))
	c.Assert(names(t, other), qt.DeepEquals, []string{"first", "second"})
	c.Assert(dump(t, other), qt.DeepEquals, dump(t, store))
	c.Assert(dump(t, open(t, dir, filestore.Options{})), qt.DeepEquals, dump(t, store))
	c.Assert(store.Put(t.Context(), running("gone", liveness.Identity{})), qt.ErrorIs, lifecycle.ErrInvalidRecord)
}

func TestRegistrationsChangeWithThoseOfAnotherProcess(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]filestore.Options{
		"appended":  {},
		"rewritten": filestore.Options{}.RewriteFrom(1), // again and again
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			ctx, dir := t.Context(), tempDir(t)
			watched, other := open(t, dir, options), open(t, dir, options)
			last, err := watched.Registrations(ctx)
			c.Assert(err, qt.IsNil)
			changed := func() bool {
				n, err := watched.Registrations(ctx)
				c.Assert(err, qt.IsNil)
				before := last
				last = n
				return n != before
			}
			c.Assert(changed(), qt.IsFalse)
			record, err := other.Launch(ctx, lifecycle.Record{Name: "worker"})
			c.Assert(err, qt.IsNil)
			c.Assert(changed(), qt.IsTrue)
			c.Assert(other.Activate(ctx, record, liveness.Identity{}), qt.IsNil)
			c.Assert(changed(), qt.IsTrue)
			c.Assert(other.Deactivate(ctx, record), qt.IsNil)
			for range 10 {
				c.Assert(other.Heartbeat(ctx, record), qt.IsNil)
			}
			c.Assert(changed(), qt.IsTrue)
			c.Assert(changed(), qt.IsFalse)
			if name == "appended" {
				c.Assert(other.Heartbeat(ctx, record), qt.IsNil)
				c.Assert(changed(), qt.IsFalse)
			}
		})
	}
}
