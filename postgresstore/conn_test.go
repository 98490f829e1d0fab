package postgresstore_test

import (
	"context"
	"maps"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"
	"github.com/jackc/pgx/v5"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/postgresstore"
)

func TestAPoolWithoutPreparedStatementsWillDo(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			d := newDatabase(t)
			config := d.config.Copy()
			config.ConnConfig.DefaultQueryExecMode = mode
			d.Pool = openConfig(t, config)
			lost, survivor := join(t, d, "lost"), join(t, d, "survivor")
			for name, write := range writes {
				record := launch(t, lost.Store(), "lost", "for "+name)
				c.Assert(write(t.Context(), lost.Store(), record), qt.IsNil, qt.Commentf(name))
			}
			c.Assert(lost.Beat(t.Context()), qt.IsNil)
			silence(t, d, "lost")
			steady(t, d, "survivor")
			c.Assert(takeOver(t, survivor) > 0, qt.IsTrue)
			c.Assert(names(t, survivor.Store()), qt.HasLen, 0)
			c.Assert(events(t, survivor.Store()), qt.HasLen, len(writes)+1)
			c.Assert(survivor.Store().Activate(t.Context(), launch(t, survivor.Store(), "survivor", "x"), self(t)), qt.IsNil)
			c.Assert(only(t, survivor.Store()).Identity, qt.Equals, self(t))
			machines, err := survivor.Store().Machines(t.Context())
			c.Assert(err, qt.IsNil)
			c.Assert(machines[0].TTL, qt.Equals, ttl)
		})
	}
}

// The host may have set anything for its own transactions.
func TestTheSettingsOfTheHostDoNotMatter(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d := newDatabase(t)
	config := d.config.Copy()
	maps.Copy(config.ConnConfig.RuntimeParams, map[string]string{
		"default_transaction_isolation": "serializable", "default_transaction_read_only": "on",
		"synchronous_commit": "off", "lock_timeout": "1", "statement_timeout": "1h", "idle_in_transaction_session_timeout": "1", "DateStyle": "German, DMY", "IntervalStyle": "sql_standard",
	})
	d.Pool = openConfig(t, config)
	var settings string
	store := d.store(t, postgresstore.Options{OnStop: func(ctx context.Context, tx pgx.Tx, _ lifecycle.Event) error {
		return tx.QueryRow(ctx, `SELECT current_setting('synchronous_commit') || ' ' || current_setting('lock_timeout') || ' ' || current_setting('statement_timeout') || ' ' ||
			current_setting('idle_in_transaction_session_timeout') || ' ' || current_setting('transaction_isolation')`).Scan(&settings)
	}})
	record := launch(t, store, "m", "worker")
	_, err := store.Stop(t.Context(), record, cause)
	c.Assert(err, qt.IsNil)
	c.Assert(settings, qt.Equals, "on 30s 30s 30s read committed")
	c.Assert(value(t, d, `SELECT current_setting('synchronous_commit') || ' ' || current_setting('lock_timeout')`), qt.Equals, "off 1ms")
}

// What is locked in two orders is a deadlock, of which the server ends one.
func TestADeadlockIsTriedAgain(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, d := open(t, postgresstore.Options{})
	a, b := running("a", liveness.Identity{}), running("b", liveness.Identity{})
	register(t, store, a, b)
	tx, err := d.Begin(t.Context())
	c.Assert(err, qt.IsNil)
	defer func() { _ = tx.Rollback(context.Background()) }()
	// The store locks a, then waits for b, which is locked here.
	_, err = tx.Exec(t.Context(), `SET LOCAL deadlock_timeout = '1h'`)
	c.Assert(err, qt.IsNil)
	_, err = tx.Exec(t.Context(), d.q(`SELECT FROM rollcall_records WHERE name = 'b' FOR UPDATE`))
	c.Assert(err, qt.IsNil)
	type result struct {
		outcomes []lifecycle.Outcome
		err      error
	}
	done := make(chan result, 1)
	go func() {
		outcomes, err := stopBatch(t.Context(), store, []lifecycle.Stop{{Record: a, Cause: cause}, {Record: b, Cause: cause}})
		done <- result{outcomes, err}
	}()
	c.Assert(waitForLock(t.Context(), d), qt.IsNil)
	_, err = tx.Exec(t.Context(), d.q(`SELECT FROM rollcall_records WHERE name = 'a' FOR UPDATE`))
	c.Assert(err, qt.IsNil) // the store was the one that was ended
	c.Assert(tx.Commit(t.Context()), qt.IsNil)
	got := <-done
	c.Assert(got.err, qt.IsNil)
	c.Assert(got.outcomes, qt.DeepEquals, []lifecycle.Outcome{lifecycle.Stopped, lifecycle.Stopped})
	c.Assert(events(t, store), qt.HasLen, 2)
}

func TestAServerThatIsNotThereIsUnavailable(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	pool := openURL(t, "postgres:///postgres?user=postgres&host="+t.TempDir())
	_, err := postgresstore.New(t.Context(), pool, postgresstore.Options{BusyTimeout: 100 * time.Millisecond})
	c.Assert(err, qt.ErrorIs, lifecycle.ErrUnavailable)
	pool.Close()
	_, err = postgresstore.New(t.Context(), pool, postgresstore.Options{})
	c.Assert(err, qt.ErrorMatches, `postgresstore: open tables rollcall_\*: closed pool`)
}

// A reader that goes on from the last event it has seen misses none, whoever
// commits first.
func TestEventsAreNumberedInTheOrderOfTheirCommits(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d := newDatabase(t)
	plain := d.store(t, postgresstore.Options{})
	first, second := running("first", liveness.Identity{}), running("second", liveness.Identity{})
	register(t, plain, first, second)
	done := make(chan error, 1)
	// While the first stop is about to commit, the second has begun.
	slow := d.store(t, postgresstore.Options{OnStop: func(ctx context.Context, _ pgx.Tx, _ lifecycle.Event) error {
		go func() {
			_, err := plain.Stop(t.Context(), second, cause)
			done <- err
		}()
		return waitForLock(ctx, d)
	}})
	_, err := slow.Stop(t.Context(), first, cause)
	c.Assert(err, qt.IsNil)
	c.Assert(<-done, qt.IsNil)
	c.Assert(stopped(t, plain), qt.DeepEquals, []string{"first: exit:test", "second: exit:test"})
}

// A child that is being registered while its parent is being stopped is stopped
// with it, or comes after.
func TestAChildIsNotLeftBehindByTheStopOfItsParent(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, d := open(t, postgresstore.Options{})
	parent := running("parent", liveness.Identity{})
	register(t, store, parent)
	// The parent is locked as by a child whose registration is not committed.
	tx, err := d.Begin(t.Context())
	c.Assert(err, qt.IsNil)
	defer func() { _ = tx.Rollback(context.Background()) }()
	_, err = tx.Exec(t.Context(), d.q(`SELECT FROM rollcall_records WHERE name = 'parent' FOR KEY SHARE`))
	c.Assert(err, qt.IsNil)
	_, err = tx.Exec(t.Context(), d.q(`INSERT INTO rollcall_records (name, incarnation, owner, epoch, phase, identity, beat_boot, beat_awake, parent)
		VALUES ('child', 'i', 'o', 0, 'running', '', '', 0, 'parent')`))
	c.Assert(err, qt.IsNil)
	done := make(chan error, 1)
	go func() {
		_, err := store.Stop(t.Context(), parent, cause)
		done <- err
	}()
	c.Assert(waitForLock(t.Context(), d), qt.IsNil)
	c.Assert(tx.Commit(t.Context()), qt.IsNil)
	c.Assert(<-done, qt.IsNil)
	c.Assert(stopped(t, store), qt.DeepEquals, []string{"child: parent_stopped", "parent: exit:test"})

	// And the other way round: the child waits for the stop.
	second := running("second", liveness.Identity{})
	register(t, store, second)
	hooked := d.store(t, postgresstore.Options{OnStop: func(ctx context.Context, _ pgx.Tx, _ lifecycle.Event) error {
		go func() {
			_, err := store.Launch(t.Context(), lifecycle.Record{Name: "late child", Owner: "o", Parent: "second"})
			done <- err
		}()
		return waitForLock(ctx, d)
	}})
	_, err = hooked.Stop(t.Context(), second, cause)
	c.Assert(err, qt.IsNil)
	c.Assert(<-done, qt.IsNil)
	c.Assert(names(t, store), qt.DeepEquals, []string{"late child"})
}

// An incarnation that is registered again while it is being stopped.
func TestAnIncarnationThatIsBeingStoppedIsNotRegisteredAgain(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, d := open(t, postgresstore.Options{})
	record := launch(t, store, "m", "worker")
	done := make(chan error, 1)
	hooked := d.store(t, postgresstore.Options{OnStop: func(ctx context.Context, _ pgx.Tx, _ lifecycle.Event) error {
		go func() {
			_, err := store.Launch(t.Context(), record)
			done <- err
		}()
		return waitForLock(ctx, d)
	}})
	_, err := hooked.Stop(t.Context(), record, cause)
	c.Assert(err, qt.IsNil)
	c.Assert(<-done, qt.ErrorIs, lifecycle.ErrInvalidRecord)
	c.Assert(names(t, store), qt.HasLen, 0)
}
