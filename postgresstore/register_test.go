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
	"github.com/rollcall-go/rollcall/postgresstore"
)

// noise is a text that does not get shorter when it is compressed.
var noise = func() string {
	var b strings.Builder
	for i := range uint64(500) {
		fmt.Fprintf(&b, "%x", rand.New(rand.NewPCG(i, i)).Uint64())
	}
	return b.String()
}()

func TestLaunchSaysWhyItRefuses(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, db := open(t, postgresstore.Options{})
	register(t, store, running("taken", liveness.Identity{}))
	before := dump(t, db)
	for _, test := range []struct {
		record lifecycle.Record
		want   error
		text   string
	}{
		{lifecycle.Record{Owner: thisMachine, Name: "taken"}, lifecycle.ErrNameTaken, `name is taken`},
		{lifecycle.Record{Name: "x"}, postgresstore.ErrOwner, `invalid record: no owner, or another one: the owner is ""`},
		{lifecycle.Record{Owner: thisMachine, Name: "x", Parent: "\x00"}, lifecycle.ErrInvalidRecord, `.*"\\x00" has a zero byte`},
		{lifecycle.Record{Owner: thisMachine, Name: "x", Data: json.RawMessage("\"\xff\"")}, lifecycle.ErrInvalidRecord, `.* is not UTF-8`},
		{lifecycle.Record{Owner: noise, Name: "x"}, lifecycle.ErrInvalidRecord, `.*index row .*`},
		{lifecycle.Record{Owner: thisMachine, Name: "x", CreatedAt: time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC)}, lifecycle.ErrInvalidRecord, `.*time 1600.* does not fit.*`},
		{lifecycle.Record{Owner: thisMachine, Name: "x", CreatedAt: time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC)}, lifecycle.ErrInvalidRecord, `.*time 2300.* does not fit.*`},
	} {
		_, err := store.Launch(t.Context(), test.record)
		c.Assert(err, qt.ErrorIs, test.want)
		c.Assert(err, qt.ErrorMatches, fmt.Sprintf(`postgresstore: launch "%s": %s`, test.record.Name, test.text))
	}
	c.Assert(dump(t, db), qt.DeepEquals, before)
}

func TestSetDataSaysWhyItRefuses(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, db := open(t, postgresstore.Options{})
	record := running("worker", liveness.Identity{})
	register(t, store, record)
	before := dump(t, db)
	for data, text := range map[string]string{
		"\"\xff\"": `invalid record: "worker": .* is not UTF-8`,
		"\"\x00\"": `invalid record: "worker": Data is not JSON`,
		`{"a":`:    `invalid record: "worker": Data is not JSON`,
	} {
		err := store.SetData(t.Context(), record, json.RawMessage(data))
		c.Assert(err, qt.ErrorIs, lifecycle.ErrInvalidRecord)
		c.Assert(err, qt.ErrorMatches, `postgresstore: set Data of "worker": `+text)
	}
	c.Assert(dump(t, db), qt.DeepEquals, before)
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
	c.Assert(changed(func() error { return stores["one"].SetData(t.Context(), record, nil) }), qt.HasLen, 0)
	c.Assert(changed(func() error { _, err := stores["one"].Stop(t.Context(), record, cause); return err }), qt.HasLen, 0)
	c.Assert(changed(func() error { launch(t, stores["two"], "two", "a"); return nil }), qt.DeepEquals, []string{"two", ""})
}
