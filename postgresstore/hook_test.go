package postgresstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	qt "github.com/frankban/quicktest"
	"github.com/jackc/pgx/v5"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/postgresstore"
)

var errHook = errors.New("refused by the hook")

// logged opens a store whose hook writes a line into a table of the host, and
// refuses names that contain "refused".
func logged(t *testing.T) (*postgresstore.Store, database) {
	db := newDatabase(t)
	store := db.store(t, postgresstore.Options{OnStop: func(ctx context.Context, tx pgx.Tx, event lifecycle.Event) error {
		var rows, events int
		err := tx.QueryRow(ctx, db.q(`SELECT (SELECT count(*) FROM rollcall_records WHERE name = $1), (SELECT count(*) FROM rollcall_events WHERE seq = $2 AND name = $1)`),
			event.Name, event.Seq).Scan(&rows, &events)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, db.q(`INSERT INTO rollcall_log (line) VALUES ($1)`), fmt.Sprintf("%s %s %d %d", event.Name, event.Reason, rows, events)); err != nil {
			return err
		}
		if strings.Contains(event.Name, "refused") {
			return errHook
		}
		return nil
	}})
	execSQL(t, db, `CREATE TABLE rollcall_log (n integer GENERATED ALWAYS AS IDENTITY, line text)`)
	return store, db
}

func lines(t *testing.T, db database) string {
	return value(t, db, `SELECT coalesce(string_agg(line, ', ' ORDER BY n), '') FROM rollcall_log`)
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
	c.Assert(err, qt.ErrorMatches, `postgresstore: stop "c refused": OnStop of "c refused": .*`)
	c.Assert(lines(t, db), qt.Equals, "a exit:test 0 1, b exit:test 0 1")
}

func TestAHookThatPanicsLeavesNoTransactionBehind(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	db := newDatabase(t).again(t)
	store := db.store(t, postgresstore.Options{
		OnStop: func(context.Context, pgx.Tx, lifecycle.Event) error { panic("in the hook") },
	})
	record := running("worker", liveness.Identity{})
	register(t, store, record)
	c.Assert(func() { _, _ = store.Stop(t.Context(), record, cause) }, qt.PanicMatches, "in the hook")
	c.Assert(db.Stat().AcquiredConns(), qt.Equals, int32(0))
	c.Assert(events(t, store), qt.HasLen, 0)
	c.Assert(names(t, store), qt.DeepEquals, []string{"worker"})
}

func TestAHookDoesNotEndTheTransaction(t *testing.T) {
	t.Parallel()
	for name, hook := range map[string]func(context.Context, pgx.Tx) error{
		"commit":   func(ctx context.Context, tx pgx.Tx) error { return tx.Commit(ctx) },
		"rollback": func(ctx context.Context, tx pgx.Tx) error { return tx.Rollback(ctx) },
		"an error of the server": func(ctx context.Context, tx pgx.Tx) error {
			_, _ = tx.Exec(ctx, "SELECT 1/0")
			return nil
		},
		"rows left open": func(ctx context.Context, tx pgx.Tx) error {
			_, err := tx.Query(ctx, "SELECT 1")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			store, db := open(t, postgresstore.Options{OnStop: func(ctx context.Context, tx pgx.Tx, _ lifecycle.Event) error {
				return hook(ctx, tx)
			}})
			record := running("worker", liveness.Identity{})
			register(t, store, record)
			before := dump(t, db)
			_, err := store.Stop(t.Context(), record, cause)
			c.Assert(err, qt.ErrorMatches, `postgresstore: stop "worker": .*`)
			c.Assert(err, qt.Not(qt.ErrorIs), postgresstore.ErrOutcomeUnknown)
			c.Assert(dump(t, db), qt.DeepEquals, before)
			c.Assert(events(t, store), qt.HasLen, 0)
		})
	}
}
