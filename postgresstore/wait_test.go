package postgresstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"
	"github.com/jackc/pgx/v5"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/postgresstore"
)

// lock holds a row until the test ends.
func lock(t testing.TB, d database, query string) (end func()) {
	c := qt.New(t)
	tx, err := d.Begin(t.Context())
	c.Assert(err, qt.IsNil)
	_, err = tx.Exec(t.Context(), d.q(query))
	c.Assert(err, qt.IsNil)
	end = func() { _ = tx.Rollback(context.Background()) }
	t.Cleanup(end)
	return end
}

func TestALockOfSomebodyElseIsWaitedForAndNoLongerThanBusyTimeout(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d := newDatabase(t)
	patient := d.store(t, postgresstore.Options{})
	store := d.store(t, postgresstore.Options{BusyTimeout: time.Second})
	record := running("worker", liveness.Identity{})
	register(t, store, record)
	end := lock(t, d, `SELECT FROM rollcall_records FOR UPDATE`)
	before := dump(t, d)
	_, err := store.Stop(t.Context(), record, cause)
	c.Assert(err, qt.ErrorIs, lifecycle.ErrUnavailable)
	c.Assert(err, qt.Not(qt.ErrorIs), postgresstore.ErrOutcomeUnknown)
	c.Assert(store.Heartbeat(t.Context(), record), qt.ErrorIs, lifecycle.ErrUnavailable)

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = patient.Stop(ctx, record, cause)
	c.Assert(err, qt.ErrorIs, context.DeadlineExceeded)
	c.Assert(err, qt.Not(qt.ErrorIs), lifecycle.ErrUnavailable)
	c.Assert(dump(t, d), qt.DeepEquals, before)

	done := make(chan error, 1)
	go func() {
		outcome, err := patient.Stop(t.Context(), record, cause)
		if outcome != lifecycle.Stopped && err == nil {
			err = errors.New(outcome.String())
		}
		done <- err
	}()
	c.Assert(waitForLock(t.Context(), d), qt.IsNil)
	end()
	c.Assert(<-done, qt.IsNil)
}

func TestAStatementTimeoutOfTheHostDoesNotEndAWait(t *testing.T) {
	t.Parallel()
	const limit = 300 * time.Millisecond
	tests := []struct {
		name, write string
		// shown says so from how many statements have waited, and the last one
		// how long.
		shown func(statements int, waits time.Duration) bool
	}{
		{"in a transaction it does not hold", "stop", func(_ int, waits time.Duration) bool { return waits > 3*limit/2 }},
		{"after it another statement is tried", "heartbeat", func(statements int, _ time.Duration) bool { return statements > 1 }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			d := newDatabase(t)
			record := running("worker", liveness.Identity{})
			register(t, d.store(t, postgresstore.Options{}), record)
			config := d.config.Copy()
			config.ConnConfig.RuntimeParams["statement_timeout"] = fmt.Sprint(limit.Milliseconds())
			limited := d
			limited.Pool = openConfig(t, config)
			store := limited.store(t, postgresstore.Options{})
			end := lock(t, d, `SELECT FROM rollcall_records FOR UPDATE`)
			done := make(chan error, 1)
			go func() { done <- writes[test.write](t.Context(), store, record) }()
			began := map[string]bool{}
			for waits := time.Duration(0); !test.shown(len(began), waits); {
				select {
				case err := <-done:
					c.Fatalf("it has ended: %v", err)
				default:
				}
				var start string
				err := d.QueryRow(t.Context(), `SELECT query_start::text, clock_timestamp() - query_start FROM pg_stat_activity
					WHERE wait_event_type = 'Lock' AND strpos(query, $1) > 0`, d.mark()).Scan(&start, &waits)
				if !errors.Is(err, pgx.ErrNoRows) { // it is between two
					c.Assert(err, qt.IsNil)
					began[start] = true
				}
			}
			end()
			c.Assert(<-done, qt.IsNil)
		})
	}
}

// A machine that is paused in the midst of a stop holds what all stops need.
func TestAStopThatIsPausedHoldsOthersUpNoLongerThanBusyTimeout(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d := newDatabase(t)
	store, lease := d.store(t, postgresstore.Options{}), join(t, d, "m")
	one, two := running("one", liveness.Identity{}), running("two", liveness.Identity{})
	register(t, store, one, two)
	paused, resume, done := make(chan bool), make(chan bool), make(chan error, 1)
	pausing := d.store(t, postgresstore.Options{BusyTimeout: time.Second, OnStop: func(context.Context, pgx.Tx, lifecycle.Event) error {
		close(paused)
		<-resume
		return nil
	}})
	go func() {
		_, err := pausing.Stop(t.Context(), one, cause)
		done <- err
	}()
	<-paused
	c.Assert(lease.Beat(t.Context()), qt.IsNil)
	outcome, err := store.Stop(t.Context(), two, cause)
	c.Assert(err, qt.IsNil)
	c.Assert(outcome, qt.Equals, lifecycle.Stopped)
	close(resume)
	c.Assert(<-done, qt.ErrorIs, lifecycle.ErrUnavailable)
	c.Assert(stopped(t, store), qt.DeepEquals, []string{"two: exit:test"})
	c.Assert(only(t, store).Name, qt.Equals, "one")
}
