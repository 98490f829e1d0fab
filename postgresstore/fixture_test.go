package postgresstore_test

import (
	"testing"

	qt "github.com/frankban/quicktest"
	"github.com/jackc/pgx/v5"

	"github.com/rollcall-go/rollcall/internal/storefixture"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

// What the tests of all stores have in common.
var (
	cause     = storefixture.Cause
	self      = storefixture.Self
	before    = storefixture.Before
	numbered  = storefixture.Numbered
	register  = storefixture.Register
	names     = storefixture.Names
	events    = storefixture.Events
	stopped   = storefixture.Stopped
	only      = storefixture.Only
	stopBatch = storefixture.StopBatch
)

// running is a record of this machine in phase Running.
func running(name string, identity liveness.Identity) lifecycle.Record {
	record := storefixture.Running(name, identity)
	record.Owner = thisMachine
	return record
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
