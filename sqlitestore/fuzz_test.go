package sqlitestore_test

import (
	"database/sql"
	"testing"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// Whatever stands in a row, it is read or named, and can be stopped.
func FuzzRow(f *testing.F) {
	f.Add("running", "rollcall1 pid=1", "", "native//x", `{"a":1}`, "yesterday", int64(5), 1.5)
	f.Add("dreaming", "garbage", "\xff", "boot", "{", "\x00", int64(-1), 0.0)
	f.Fuzz(func(t *testing.T, phase, identity, owner, boot, data, created string, awake int64, wall float64) {
		db, err := sql.Open("sqlite", ":memory:")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		db.SetMaxOpenConns(1)
		store, err := sqlitestore.New(t.Context(), db, sqlitestore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		record := running("bad", liveness.Identity{})
		register(t, store, record)
		execSQL(t, db, `UPDATE rollcall_records SET phase = ?, identity = ?, owner = ?, beat_boot = ?, data = ?, created_at = ?, beat_awake = ?, beat_wall = ?`,
			phase, identity, owner, boot, data, created, awake, wall)
		for r, err := range store.Candidates(t.Context()) {
			if r.Name != record.Name || r.Incarnation != record.Incarnation {
				t.Fatalf("%v, %v", r, err)
			}
		}
		if outcome, err := store.Stop(t.Context(), record, cause); err != nil || outcome != lifecycle.Stopped {
			t.Fatalf("%v, %v", outcome, err)
		}
		snapshot, err := store.Snapshot(t.Context(), record.Name)
		if err != nil || snapshot.Name != record.Name || len(snapshot.Bindings) != 1 {
			t.Fatalf("%v, %v", snapshot, err)
		}
	})
}
