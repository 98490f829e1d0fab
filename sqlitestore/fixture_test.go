package sqlitestore_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
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

// beforeReason is the reason for which a record of before is stopped.
func beforeReason(t testing.TB) string {
	if before(t).Boot != self(t).Boot {
		return lifecycle.ReasonReboot
	}
	return lifecycle.ReasonDied
}

// tempDir is t.TempDir, which fails under Wine where a file was open: Wine 8
// cannot remove it in the way that Go asks for.
func tempDir(t testing.TB) string {
	t.Helper()
	if runtime.GOOS != "windows" {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("", "")
	qt.New(t).Assert(err, qt.IsNil)
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Logf("left behind: %v", err)
		}
	})
	return dir
}

// running is a record in phase Running.
func running(name string, identity liveness.Identity) lifecycle.Record {
	return lifecycle.Record{
		Name: name, Incarnation: "of " + name, Identity: identity, CreatedAt: created,
		Heartbeat: lifecycle.Heartbeat{Boot: identity.Boot, Awake: time.Hour, Wall: created.Add(time.Nanosecond)},
		Data:      json.RawMessage(`{"argv":["sh","-c","exit 1"]}`),
	}
}

// register puts records into a store as they are, each with a binding.
func register(t testing.TB, store *sqlitestore.Store, records ...lifecycle.Record) {
	c := qt.New(t)
	for _, record := range records {
		c.Assert(store.Put(t.Context(), record), qt.IsNil)
		c.Assert(store.Bind(t.Context(), record, "session of "+record.Name), qt.IsNil)
	}
}

// only returns the one record that is registered.
func only(t testing.TB, store *sqlitestore.Store) lifecycle.Record {
	c := qt.New(t)
	records, err := store.Records(t.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(records, qt.HasLen, 1)
	return records[0]
}

// names returns the names of the registered records.
func names(t testing.TB, store *sqlitestore.Store) []string {
	records, err := store.Records(t.Context())
	qt.New(t).Assert(err, qt.IsNil)
	var names []string
	for _, record := range records {
		names = append(names, record.Name)
	}
	return names
}

// events returns all events of a store.
func events(t testing.TB, store *sqlitestore.Store) []lifecycle.Event {
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
func stopped(t testing.TB, store *sqlitestore.Store) []string {
	var all []string
	for _, event := range events(t, store) {
		all = append(all, event.Name+": "+event.Reason)
	}
	return all
}

func execSQL(t testing.TB, db *sql.DB, query string, args ...any) {
	_, err := db.ExecContext(t.Context(), query, args...)
	qt.New(t).Assert(err, qt.IsNil, qt.Commentf("%s", query))
}

// value returns the one value of a query as text.
func value(t testing.TB, db *sql.DB, query string, args ...any) string {
	var text string
	err := db.QueryRowContext(t.Context(), query, args...).Scan(&text)
	qt.New(t).Assert(err, qt.IsNil, qt.Commentf("%s", query))
	return text
}

// dump returns everything that the three tables of records hold, byte by byte,
// by the name of the record.
func dump(t testing.TB, db *sql.DB) map[string]string {
	c := qt.New(t)
	rows, err := db.QueryContext(t.Context(), `SELECT name, quote(seq) || quote(incarnation) || quote(owner) || quote(phase) || quote(identity) ||
		quote(created_at) || quote(beat_boot) || quote(beat_awake) || quote(beat_wall) || quote(parent) || quote(data) ||
		(SELECT coalesce(group_concat(quote(key)), '') FROM rollcall_bindings WHERE record = seq) FROM rollcall_records`)
	c.Assert(err, qt.IsNil)
	defer rows.Close()
	all := map[string]string{}
	for rows.Next() {
		var name, text string
		c.Assert(rows.Scan(&name, &text), qt.IsNil)
		all[name] = text
	}
	c.Assert(rows.Err(), qt.IsNil)
	return all
}

// begin takes the write lock of a file on a connection of its own. The returned
// function lets go of it.
func begin(t testing.TB, path string) (end func()) {
	c := qt.New(t)
	conn, err := openDB(t, path).Conn(t.Context())
	c.Assert(err, qt.IsNil)
	_, err = conn.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	c.Assert(err, qt.IsNil)
	var once sync.Once
	end = func() {
		once.Do(func() {
			_, _ = conn.ExecContext(context.Background(), "ROLLBACK")
			conn.Close()
		})
	}
	t.Cleanup(end)
	return end
}

func numbered(name string, i int) string { return fmt.Sprintf("%s-%04d", name, i) }

// assertWhole checks that a record is registered and has no stopped event, or
// has one and neither row nor binding.
func assertWhole(t testing.TB, db *sql.DB, name string, comment qt.Comment) {
	got := value(t, db, `SELECT printf('%d rows, %d bindings, %d events',
		(SELECT count(*) FROM rollcall_records WHERE name = ?1),
		(SELECT count(*) FROM rollcall_bindings WHERE key = 'session of ' || ?1),
		(SELECT count(*) FROM rollcall_events WHERE name = ?1))`, name)
	if got != "1 rows, 1 bindings, 0 events" {
		qt.New(t).Assert(got, qt.Equals, "0 rows, 0 bindings, 1 events", comment)
	}
}

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
