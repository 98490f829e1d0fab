package sqlitestore_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// logged opens a store whose hook writes a line into a table of the host, and
// refuses names that contain "refused".
func logged(t *testing.T) (*sqlitestore.Store, *sql.DB) {
	store, db := open(t, sqlitestore.Options{OnStop: func(ctx context.Context, tx sqlitestore.Tx, event lifecycle.Event) error {
		var rows, events int
		err := tx.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM rollcall_records WHERE name = ?1), (SELECT count(*) FROM rollcall_events WHERE seq = ?2 AND name = ?1)`,
			event.Name, event.Seq).Scan(&rows, &events)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO log (line) VALUES (printf('%s %s %d %d', ?, ?, ?, ?))`, event.Name, event.Reason, rows, events); err != nil {
			return err
		}
		if strings.Contains(event.Name, "refused") {
			return errHook
		}
		return nil
	}})
	execSQL(t, db, `CREATE TABLE log (line)`)
	return store, db
}

func lines(t *testing.T, db *sql.DB) string {
	return value(t, db, `SELECT coalesce(group_concat(line, ', '), '') FROM log`)
}

func TestTheHookWritesInTheTransactionOfTheStop(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, db := logged(t)
	parent, child := running("parent", liveness.Identity{}), running("child", liveness.Identity{})
	child.Parent = "parent"
	register(t, store, parent, child)

	outcome, err := store.Stop(t.Context(), parent, cause)
	c.Assert(err, qt.IsNil)
	c.Assert(outcome, qt.Equals, lifecycle.Stopped)
	c.Assert(lines(t, db), qt.Equals, "child parent_stopped 0 1, parent exit:test 0 1")

	outcome, err = store.Stop(t.Context(), parent, cause)
	c.Assert(err, qt.IsNil)
	c.Assert(outcome, qt.Equals, lifecycle.AlreadyStopped)
	c.Assert(lines(t, db), qt.Equals, "child parent_stopped 0 1, parent exit:test 0 1")
}

func TestAnErrorOfTheHookUndoesTheStop(t *testing.T) {
	t.Parallel()
	for _, refused := range []string{"parent", "child"} {
		t.Run(refused, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			store, db := logged(t)
			rename := func(name string) string {
				if name == refused {
					return "refused " + name
				}
				return name
			}
			parent, child := running(rename("parent"), liveness.Identity{}), running(rename("child"), liveness.Identity{})
			child.Parent = parent.Name
			register(t, store, parent, child)
			before := dump(t, db)

			outcome, err := store.Stop(t.Context(), parent, cause)
			c.Assert(err, qt.ErrorIs, errHook)
			c.Assert(err, qt.ErrorMatches, `sqlitestore: stop "(refused )?parent": OnStop of "refused `+refused+`": refused by the hook`)
			c.Assert(outcome, qt.Equals, lifecycle.Outcome(0))
			c.Assert(dump(t, db), qt.DeepEquals, before)
			c.Assert(events(t, store), qt.HasLen, 0)
			c.Assert(lines(t, db), qt.Equals, "")
		})
	}
}

func TestARefusedRecordDoesNotKeepTheBatchFromBeingStopped(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, db := logged(t)
	var stops []lifecycle.Stop
	for _, name := range []string{"a", "b", "c refused", "d", "e refused", "f"} {
		record := running(name, liveness.Identity{})
		register(t, store, record)
		stops = append(stops, lifecycle.Stop{Record: record, Cause: cause})
	}
	outcomes, err := stopBatch(t.Context(), store, stops)
	c.Assert(err, qt.ErrorIs, errHook)
	c.Assert(err, qt.ErrorMatches, `sqlitestore: stop "c refused": OnStop of .*`)
	c.Assert(outcomes, qt.DeepEquals, []lifecycle.Outcome{lifecycle.Stopped, lifecycle.Stopped})
	c.Assert(names(t, store), qt.DeepEquals, []string{"c refused", "d", "e refused", "f"})
	c.Assert(lines(t, db), qt.Equals, "a exit:test 0 1, b exit:test 0 1")
}

func TestACleaningPassStopsAllButTheRefused(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, db := logged(t)
	dead := before(t)
	for i := range 10 {
		name := numbered("worker", i)
		if i%3 == 1 {
			name = numbered("refused", i)
		}
		register(t, store, running(name, dead))
	}
	report, err := lifecycle.Cleaner{Store: store}.Clean(t.Context())
	c.Assert(err, qt.ErrorIs, errHook)
	c.Assert([]int{report.Stopped, report.Failed}, qt.DeepEquals, []int{7, 3})
	c.Assert(names(t, store), qt.DeepEquals, []string{"refused-0001", "refused-0004", "refused-0007"})
	c.Assert(events(t, store), qt.HasLen, 7)
	c.Assert(value(t, db, `SELECT count(*) FROM log`), qt.Equals, "7")
}

func TestAHookThatPanicsLeavesNoTransactionBehind(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	s := &spy{dsn: dsn(filepath.Join(tempDir(t), "state.db"))}
	db := openSpied(t, s)
	store, err := sqlitestore.New(t.Context(), db, sqlitestore.Options{
		OnStop: func(context.Context, sqlitestore.Tx, lifecycle.Event) error { panic("in the hook") },
	})
	c.Assert(err, qt.IsNil)
	record := running("worker", liveness.Identity{})
	register(t, store, record)
	c.Assert(func() { _, _ = store.Stop(t.Context(), record, cause) }, qt.PanicMatches, "in the hook")
	settings(t, db)
	assertWhole(t, db, "worker", qt.Commentf("after the panic"))
	c.Assert(names(t, store), qt.DeepEquals, []string{"worker"})
}

// As the end of an sql.Tx would.
func TestRowsThatTheHookLeavesOpenAreClosed(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, db := open(t, sqlitestore.Options{OnStop: func(ctx context.Context, tx sqlitestore.Tx, _ lifecycle.Event) error {
		rows, err := tx.QueryContext(ctx, "SELECT 1 UNION ALL SELECT 2")
		if err != nil {
			return err
		}
		if !rows.Next() {
			return rows.Err()
		}
		tx.QueryRowContext(ctx, "SELECT 1 UNION ALL SELECT 2")
		return nil
	}})
	db.SetMaxOpenConns(1)
	record := running("worker", liveness.Identity{})
	register(t, store, record)
	outcome, err := store.Stop(t.Context(), record, cause)
	c.Assert(err, qt.IsNil)
	c.Assert(outcome, qt.Equals, lifecycle.Stopped)
	c.Assert(names(t, store), qt.HasLen, 0)
}
