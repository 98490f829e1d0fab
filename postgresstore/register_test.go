package postgresstore_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
	"github.com/rollcall-go/rollcall/postgresstore"
)

func TestLaunchRegistersBeforeThereIsAProcess(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	world := livenesstest.New()
	store, _ := open(t, postgresstore.Options{Clock: world})

	record, err := store.Launch(t.Context(), lifecycle.Record{
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
}

// only returns the one record that is registered.
func only(t *testing.T, store *postgresstore.Store) lifecycle.Record {
	c := qt.New(t)
	records, err := store.Records(t.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(records, qt.HasLen, 1)
	return records[0]
}

func TestARecordGoesThroughItsPhases(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	ctx := t.Context()
	world := livenesstest.New()
	store, _ := open(t, postgresstore.Options{Clock: world})
	record, err := store.Launch(ctx, lifecycle.Record{Owner: thisMachine, Name: "worker"})
	c.Assert(err, qt.IsNil)

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
	store, db := open(t, postgresstore.Options{Clock: world})
	old, err := store.Launch(ctx, lifecycle.Record{Owner: thisMachine, Name: "worker"})
	c.Assert(err, qt.IsNil)

	refused := func(comment string) {
		before := dump(t, db)
		for verb, err := range map[string]error{
			"activate":     store.Activate(ctx, old, world.Start()),
			"deactivate":   store.Deactivate(ctx, old),
			"heartbeat of": store.Heartbeat(ctx, old),
			`bind "k" to`:  store.Bind(ctx, old, "k"),
		} {
			c.Assert(err, qt.ErrorIs, lifecycle.ErrNotRegistered, qt.Commentf(comment))
			c.Assert(err, qt.ErrorMatches, "postgresstore: "+verb+` "worker": not registered`)
		}
		c.Assert(dump(t, db), qt.DeepEquals, before, qt.Commentf(comment))
		_, err := store.Bound(ctx, "k")
		c.Assert(err, qt.ErrorIs, lifecycle.ErrNotRegistered)
	}

	outcome, err := store.Stop(ctx, old, cause)
	c.Assert(err, qt.IsNil)
	c.Assert(outcome, qt.Equals, lifecycle.Stopped)
	refused("after the stop")
	_, err = store.Launch(ctx, lifecycle.Record{Owner: thisMachine, Name: "worker"})
	c.Assert(err, qt.IsNil)
	refused("after the name was registered again")

	outcome, err = store.Stop(ctx, old, cause)
	c.Assert(err, qt.IsNil)
	c.Assert(outcome, qt.Equals, lifecycle.AlreadyStopped)
	c.Assert(names(t, store), qt.DeepEquals, []string{"worker"})
}

// noise is a text that does not get shorter when it is compressed.
var noise = func() string {
	var b strings.Builder
	for i := range uint64(500) {
		fmt.Fprintf(&b, "%x", rand.New(rand.NewPCG(i, i)).Uint64())
	}
	return b.String()
}()

func TestLaunchRefuses(t *testing.T) {
	t.Parallel()
	store, db := open(t, postgresstore.Options{})
	taken, err := store.Launch(t.Context(), lifecycle.Record{Owner: thisMachine, Name: "taken", Incarnation: "first"})
	qt.New(t).Assert(err, qt.IsNil)
	gone, err := store.Launch(t.Context(), lifecycle.Record{Owner: thisMachine, Name: "gone", Incarnation: "first"})
	qt.New(t).Assert(err, qt.IsNil)
	_, err = store.Stop(t.Context(), gone, cause)
	qt.New(t).Assert(err, qt.IsNil)

	tests := []struct {
		name   string
		record lifecycle.Record
		want   error
		text   string
	}{
		{"a name that is taken", lifecycle.Record{Owner: thisMachine, Name: "taken"}, lifecycle.ErrNameTaken, `name is taken`},
		{"the same registration twice", taken, lifecycle.ErrNameTaken, `name is taken`},
		{"an incarnation that was stopped", gone, lifecycle.ErrInvalidRecord, `.*incarnation "first" was stopped before`},
		{"no owner", lifecycle.Record{Name: "x"}, postgresstore.ErrOwner, `invalid record: no owner, or another one: the owner is ""`},
		{"no name", lifecycle.Record{}, lifecycle.ErrInvalidRecord, `.*no name`},
		{"a zero byte", lifecycle.Record{Owner: thisMachine, Name: "x", Parent: "\x00"}, lifecycle.ErrInvalidRecord, `.*"\\x00" has a zero byte`},
		{"data that is not UTF-8", lifecycle.Record{Owner: thisMachine, Name: "x", Data: json.RawMessage("\"\xff\"")}, lifecycle.ErrInvalidRecord, `.* is not UTF-8`},
		{"an owner too long for an index", lifecycle.Record{Owner: noise, Name: "x"}, lifecycle.ErrInvalidRecord, `.*index row .*`},
		{"data that is no JSON", lifecycle.Record{Owner: thisMachine, Name: "x", Data: json.RawMessage(`{`)}, lifecycle.ErrInvalidRecord, `.*Data is not JSON`},
		{"data of no bytes", lifecycle.Record{Owner: thisMachine, Name: "x", Data: json.RawMessage{}}, lifecycle.ErrInvalidRecord, `.*Data is not JSON`},
		{"a time too early", lifecycle.Record{Owner: thisMachine, Name: "x", CreatedAt: time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC)}, lifecycle.ErrInvalidRecord, `.*time 1600.* does not fit.*`},
		{"a time too late", lifecycle.Record{Owner: thisMachine, Name: "x", CreatedAt: time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)}, lifecycle.ErrInvalidRecord, `.*time 2300.* does not fit.*`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := qt.New(t)
			before := dump(t, db)
			record, err := store.Launch(t.Context(), test.record)
			c.Assert(err, qt.ErrorIs, test.want)
			c.Assert(err, qt.ErrorMatches, fmt.Sprintf(`postgresstore: launch "%s": %s`, test.record.Name, test.text))
			c.Assert(record.Name, qt.Equals, "")
			c.Assert(dump(t, db), qt.DeepEquals, before)
		})
	}
}

func TestRegistrationsAreThoseOfTheMachine(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	_, d := open(t, postgresstore.Options{})
	stores := map[string]*postgresstore.Store{}
	for _, owner := range []string{"one", "two", ""} {
		stores[owner] = d.store(t, postgresstore.Options{Owner: owner})
	}
	read := func() map[string]int64 {
		all := map[string]int64{}
		for owner, store := range stores {
			n, err := store.Registrations(t.Context())
			c.Assert(err, qt.IsNil)
			all[owner] = n
		}
		return all
	}
	before := read()
	changed := func(do func() error) (owners []string) {
		c.Assert(do(), qt.IsNil)
		after := read()
		for _, owner := range []string{"one", "two", ""} {
			if after[owner] != before[owner] {
				owners = append(owners, owner)
			}
		}
		before = after
		return owners
	}
	var record lifecycle.Record
	c.Assert(changed(func() (err error) {
		record, err = stores["one"].Launch(t.Context(), lifecycle.Record{Owner: "one", Name: "a"})
		return err
	}), qt.DeepEquals, []string{"one", ""})
	c.Assert(changed(func() error { return stores["one"].Activate(t.Context(), record, liveness.Identity{}) }), qt.DeepEquals, []string{"one", ""})
	c.Assert(changed(func() error { return stores[""].Deactivate(t.Context(), record) }), qt.DeepEquals, []string{"one", ""})
	c.Assert(changed(func() error { return stores["one"].Heartbeat(t.Context(), record) }), qt.HasLen, 0)
	c.Assert(changed(func() error { _, err := stores["one"].Stop(t.Context(), record, cause); return err }), qt.HasLen, 0)
	c.Assert(changed(func() error { launch(t, stores["two"], "two", "a"); return nil }), qt.DeepEquals, []string{"two", ""})
}

func TestActivateRefusesAnIdentityWithoutText(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, _ := open(t, postgresstore.Options{})
	record, err := store.Launch(t.Context(), lifecycle.Record{Owner: thisMachine, Name: "worker"})
	c.Assert(err, qt.IsNil)
	err = store.Activate(t.Context(), record, liveness.Identity{PID: -1})
	c.Assert(err, qt.ErrorIs, liveness.ErrInvalid)
	c.Assert(only(t, store).Phase, qt.Equals, lifecycle.Launching)
}

func TestAKeyIsBoundToOneRecordAtATime(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	ctx := t.Context()
	store, _ := open(t, postgresstore.Options{})
	first, err := store.Launch(ctx, lifecycle.Record{Owner: thisMachine, Name: "first"})
	c.Assert(err, qt.IsNil)
	second, err := store.Launch(ctx, lifecycle.Record{Owner: thisMachine, Name: "second"})
	c.Assert(err, qt.IsNil)
	bound := func(key string) string {
		record, err := store.Bound(ctx, key)
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

	for _, record := range []lifecycle.Record{first, second} {
		_, err := store.Stop(ctx, record, cause)
		c.Assert(err, qt.IsNil)
	}
	all := events(t, store)
	c.Assert(all[0].Snapshot.Bindings, qt.DeepEquals, []string{"terminal"})
	c.Assert(all[1].Snapshot.Bindings, qt.DeepEquals, []string{"session"})
	_, err = store.Bound(ctx, strings.Repeat("long", 50))
	c.Assert(err, qt.ErrorMatches, `postgresstore: record bound to "(long){20}…": not registered`)
}
