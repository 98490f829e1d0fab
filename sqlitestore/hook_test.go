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

func TestWhatTheHookHasWrittenIsUndoneWithTheStop(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, db := logged(t)
	var stops []lifecycle.Stop
	for _, name := range []string{"a", "b", "c refused", "d"} {
		record := running(name, liveness.Identity{})
		register(t, store, record)
		stops = append(stops, lifecycle.Stop{Record: record, Cause: cause})
	}
	_, err := store.StopBatch(t.Context(), stops)
	c.Assert(err, qt.ErrorIs, errHook)
	c.Assert(err, qt.ErrorMatches, `sqlitestore: stop "c refused": OnStop of "c refused": .*`)
	c.Assert(lines(t, db), qt.Equals, "a exit:test 0 1, b exit:test 0 1")
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
