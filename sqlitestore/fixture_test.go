package sqlitestore_test

import (
	"context"
	"database/sql"
	"sync"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/storefixture"
)

// What the tests of all stores have in common.
var (
	created = storefixture.Created
	cause   = storefixture.Cause

	tempDir      = storefixture.TempDir
	self         = storefixture.Self
	before       = storefixture.Before
	beforeReason = storefixture.BeforeReason
	running      = storefixture.Running
	numbered     = storefixture.Numbered
	register     = storefixture.Register
	names        = storefixture.Names
	events       = storefixture.Events
	stopped      = storefixture.Stopped
	only         = storefixture.Only
	stopBatch    = storefixture.StopBatch
)

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
