package sqlitestore_test

import (
	"database/sql/driver"
	"encoding/json"
	"path/filepath"
	"sync"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

func TestASecondEventOfAnIncarnationIsRefusedByTheDatabase(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, db := open(t, sqlitestore.Options{})
	record := running("worker", liveness.Identity{})
	register(t, store, record)
	_, err := store.Stop(t.Context(), record, cause)
	c.Assert(err, qt.IsNil)
	// A row that came back past Launch, as from a restored backup.
	execSQL(t, db, `INSERT INTO rollcall_records (name, incarnation, owner, phase, identity, created_at, beat_boot, beat_awake, parent)
		VALUES ('worker', ?, '', 'running', '', 0, '', 0, '')`, record.Incarnation)
	_, err = store.Stop(t.Context(), record, cause)
	c.Assert(err, qt.ErrorMatches, `sqlitestore: stop "worker": event of "worker": .*UNIQUE constraint failed.*`)
	c.Assert(events(t, store), qt.HasLen, 1)
	c.Assert(names(t, store), qt.DeepEquals, []string{"worker"})
}

// What a batch has read before its transaction is read again if somebody else has
// written since.
func TestABatchSeesWhatChangedBeforeItsTransaction(t *testing.T) {
	t.Parallel()
	const newData = `{"session":"new"}`
	tests := []struct {
		name   string
		change func(c *qt.C, others *sqlitestore.Store, second lifecycle.Record)
		stops  []string
		err    error
	}{
		{"nothing", func(*qt.C, *sqlitestore.Store, lifecycle.Record) {}, []string{"first: exit:test", "second: exit:test"}, nil},
		{"a heartbeat", func(c *qt.C, others *sqlitestore.Store, second lifecycle.Record) {
			c.Assert(others.Heartbeat(c.Context(), second), qt.IsNil)
		}, []string{"first: exit:test"}, lifecycle.ErrChanged},
		{"a stop", func(c *qt.C, others *sqlitestore.Store, second lifecycle.Record) {
			_, err := others.Stop(c.Context(), second, lifecycle.Cause{By: "other", Reason: "exit:other"})
			c.Assert(err, qt.IsNil)
		}, []string{"second: exit:other", "first: exit:test"}, nil},
		{"a key", func(c *qt.C, others *sqlitestore.Store, second lifecycle.Record) {
			c.Assert(others.Bind(c.Context(), second, "late"), qt.IsNil)
		}, []string{"first: exit:test", "second: exit:test"}, nil},
		{"Data", func(c *qt.C, others *sqlitestore.Store, second lifecycle.Record) {
			c.Assert(others.SetData(c.Context(), second, json.RawMessage(newData)), qt.IsNil)
		}, []string{"first: exit:test", "second: exit:test"}, nil},
		{"a child", func(c *qt.C, others *sqlitestore.Store, second lifecycle.Record) {
			_, err := others.Launch(c.Context(), lifecycle.Record{Name: "child", Parent: second.Name})
			c.Assert(err, qt.IsNil)
		}, []string{"child: parent_stopped", "first: exit:test", "second: exit:test"}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			path := filepath.Join(tempDir(t), "state.db")
			s := &spy{dsn: dsn(path)}
			store, err := sqlitestore.New(t.Context(), openSpied(t, s), sqlitestore.Options{})
			c.Assert(err, qt.IsNil)
			others, err := sqlitestore.New(t.Context(), openDB(t, path), sqlitestore.Options{})
			c.Assert(err, qt.IsNil)
			first, second := running("first", liveness.Identity{}), running("second", liveness.Identity{})
			register(t, store, first, second)
			var once sync.Once
			s.before = func(_ driver.Conn, query string) error {
				if query == "BEGIN IMMEDIATE" {
					once.Do(func() { test.change(c, others, second) })
				}
				return nil
			}
			unchanged := cause
			unchanged.IfUnchanged = true
			outcomes, err := stopBatch(t.Context(), store, []lifecycle.Stop{{Record: first, Cause: unchanged}, {Record: second, Cause: unchanged}})
			s.before = nil
			c.Assert(err, qt.ErrorIs, test.err)
			c.Assert(stopped(t, store), qt.DeepEquals, test.stops)
			if test.err == nil {
				c.Assert(outcomes, qt.HasLen, 2)
				c.Assert(names(t, store), qt.HasLen, 0)
				c.Assert(value(t, openDB(t, path), "SELECT count(*) FROM rollcall_bindings"), qt.Equals, "0")
				snapshot, err := store.Snapshot(t.Context(), "second")
				c.Assert(err, qt.IsNil)
				c.Assert(string(snapshot.Data) == newData, qt.Equals, test.name == "Data")
			}
		})
	}
}
