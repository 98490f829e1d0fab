package postgresstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"
	"github.com/jackc/pgx/v5"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/postgresstore"
)

// created is a moment with nanoseconds, away from any default.
var created = time.Date(2024, 2, 29, 23, 59, 58, 123456789, time.UTC)

var cause = lifecycle.Cause{By: "tester", Reason: "exit:test"}

// selfOnce reads the identity of this process once.
var selfOnce = sync.OnceValues(liveness.Self)

// self is the identity of this process, which is alive.
func self(t testing.TB) liveness.Identity {
	id, err := selfOnce()
	if errors.Is(err, errors.ErrUnsupported) {
		proctest.Skip(t, "%v", err)
	}
	qt.New(t).Assert(err, qt.IsNil)
	return id
}

// before is what this process would have been in an earlier boot of this
// machine: dead, although somebody has its PID. Where no boot can be proven to
// be over it is a process whose PID nobody has.
func before(t testing.TB) liveness.Identity {
	id := self(t)
	if id.Boot.Quality == bootid.Native {
		id.Boot.Boot = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
		return id
	}
	id.PID = 1 << 30
	return id
}

// running is a record in phase Running.
func running(name string, identity liveness.Identity) lifecycle.Record {
	return lifecycle.Record{
		Name: name, Incarnation: "of " + name, Owner: thisMachine, Identity: identity, CreatedAt: created,
		Heartbeat: lifecycle.Heartbeat{Boot: identity.Boot, Awake: time.Hour, Wall: created.Add(time.Nanosecond)},
		Data:      json.RawMessage(`{"argv":["sh","-c","exit 1"]}`),
	}
}

// register puts records into a store as they are, each with a binding.
func register(t testing.TB, store *postgresstore.Store, records ...lifecycle.Record) {
	c := qt.New(t)
	for _, record := range records {
		c.Assert(store.Put(t.Context(), record), qt.IsNil)
		c.Assert(store.Bind(t.Context(), record, "session of "+record.Name), qt.IsNil)
	}
}

// only returns the one record that is registered.
func only(t testing.TB, store *postgresstore.Store) lifecycle.Record {
	c := qt.New(t)
	records, err := store.Records(t.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(records, qt.HasLen, 1)
	return records[0]
}

// names returns the names of the registered records.
func names(t testing.TB, store *postgresstore.Store) []string {
	records, err := store.Records(t.Context())
	qt.New(t).Assert(err, qt.IsNil)
	var names []string
	for _, record := range records {
		names = append(names, record.Name)
	}
	return names
}

// events returns all events of a store.
func events(t testing.TB, store *postgresstore.Store) []lifecycle.Event {
	c := qt.New(t)
	var all []lifecycle.Event
	for after := int64(0); ; after = all[len(all)-1].Seq {
		page, err := store.Events(t.Context(), after)
		c.Assert(err, qt.IsNil)
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
	}
}

// stopped returns "name: reason" of all events of a store.
func stopped(t testing.TB, store *postgresstore.Store) []string {
	var all []string
	for _, event := range events(t, store) {
		all = append(all, event.Name+": "+event.Reason)
	}
	return all
}

// dump returns everything that the tables of records hold, by the name of the
// record.
func dump(t testing.TB, db database) map[string]string {
	c := qt.New(t)
	rows, err := db.Query(t.Context(), db.q(`SELECT name, r::text || (SELECT coalesce(string_agg(key, ' '), '') FROM rollcall_bindings WHERE record = seq) FROM rollcall_records AS r`))
	c.Assert(err, qt.IsNil)
	all := map[string]string{}
	var name, text string
	_, err = pgx.ForEachRow(rows, []any{&name, &text}, func() error { all[name] = text; return nil })
	c.Assert(err, qt.IsNil)
	return all
}

func numbered(name string, i int) string { return fmt.Sprintf("%s-%04d", name, i) }

// stopBatch stops records at once and returns the outcomes of those that the
// store came to.
func stopBatch(ctx context.Context, store lifecycle.BatchStopper, stops []lifecycle.Stop) ([]lifecycle.Outcome, error) {
	n, err := store.StopBatch(ctx, stops)
	outcomes := make([]lifecycle.Outcome, n)
	for i := range outcomes {
		outcomes[i] = stops[i].Outcome
	}
	return outcomes, err
}
