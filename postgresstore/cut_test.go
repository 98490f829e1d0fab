package postgresstore_test

import (
	"context"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"
	"github.com/jackc/pgx/v5"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/postgresstore"
)

// Each way to cut a commit, for each method that has something to tell apart
// when it tries again.
func TestACommitWhoseConnectionIsCutTakesPlaceOnce(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		do   func(c *qt.C, ctx context.Context, store *postgresstore.Store, lease *postgresstore.Lease)
	}{
		{"launch", func(c *qt.C, ctx context.Context, store *postgresstore.Store, _ *postgresstore.Lease) {
			record, err := store.Launch(ctx, lifecycle.Record{Name: "new", Owner: "m"})
			c.Assert(err, qt.IsNil)
			stored, err := store.Record(ctx, "new")
			c.Assert(err, qt.IsNil)
			c.Assert(stored.Incarnation, qt.Equals, record.Incarnation)
			_, err = store.Launch(ctx, lifecycle.Record{Name: "new", Owner: "m"})
			c.Assert(err, qt.ErrorIs, lifecycle.ErrNameTaken)
		}},
		{"activate", func(c *qt.C, ctx context.Context, store *postgresstore.Store, _ *postgresstore.Lease) {
			c.Assert(store.Activate(ctx, lifecycle.Record{Name: "a", Incarnation: "of a"}, liveness.Identity{PID: 7}), qt.IsNil)
			stored, err := store.Record(ctx, "a")
			c.Assert(err, qt.IsNil)
			c.Assert(stored.Identity.PID, qt.Equals, 7)
		}},
		{"stop", func(c *qt.C, ctx context.Context, store *postgresstore.Store, _ *postgresstore.Lease) {
			outcome, err := store.Stop(ctx, lifecycle.Record{Name: "a", Incarnation: "of a"}, cause)
			c.Assert(err, qt.IsNil)
			c.Assert(outcome, qt.Equals, lifecycle.Stopped)
			outcome, err = store.Stop(ctx, lifecycle.Record{Name: "a", Incarnation: "of a"}, cause)
			c.Assert(err, qt.IsNil)
			c.Assert(outcome, qt.Equals, lifecycle.AlreadyStopped)
		}},
		{"stop tree", func(c *qt.C, ctx context.Context, store *postgresstore.Store, _ *postgresstore.Lease) {
			stops := []lifecycle.Stop{{Record: lifecycle.Record{Name: "b", Incarnation: "of b"}, Cause: cause}}
			_, err := store.StopBatch(ctx, stops)
			c.Assert(err, qt.IsNil)
			c.Assert(stops[0].Outcome, qt.Equals, lifecycle.Stopped)
			c.Assert(stops[0].Descendants, qt.HasLen, 1)
			c.Assert(stops[0].Descendants[0].Incarnation, qt.Equals, "of child of b")
		}},
		{"stop batch", func(c *qt.C, ctx context.Context, store *postgresstore.Store, _ *postgresstore.Lease) {
			var stops []lifecycle.Stop
			child, err := store.Record(ctx, "child of b")
			c.Assert(err, qt.IsNil)
			for _, name := range []string{"a", "nobody", "b", "a", child.Name} {
				stops = append(stops, lifecycle.Stop{Record: lifecycle.Record{Name: name, Incarnation: "of " + name}, Cause: cause})
			}
			outcomes, err := stopBatch(ctx, store, stops)
			c.Assert(err, qt.IsNil)
			c.Assert(outcomes, qt.DeepEquals, []lifecycle.Outcome{
				lifecycle.Stopped, lifecycle.AlreadyStopped, lifecycle.Stopped, lifecycle.AlreadyStopped, lifecycle.AlreadyStopped,
			})
		}},
		{"gate", func(c *qt.C, ctx context.Context, store *postgresstore.Store, _ *postgresstore.Lease) {
			swapped, err := store.Gate().CompareAndSwap(ctx, "key", "", "value")
			c.Assert(err, qt.IsNil)
			c.Assert(swapped, qt.IsTrue)
			swapped, err = store.Gate().CompareAndSwap(ctx, "key", "", "value")
			c.Assert(err, qt.IsNil)
			c.Assert(swapped, qt.IsFalse)
		}},
		{"join", func(c *qt.C, ctx context.Context, store *postgresstore.Store, lease *postgresstore.Lease) {
			again, err := store.Join(ctx, postgresstore.LeaseOptions{TTL: ttl})
			c.Assert(err, qt.IsNil)
			c.Assert(again.Epoch(), qt.Equals, lease.Epoch())
			c.Assert(again.Beat(ctx), qt.IsNil)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d, cut, cutter := cuttable(t)
			d.store(t, postgresstore.Options{}) // its tables
			for _, how := range hows {
				t.Run(how, func(t *testing.T) {
					c := qt.New(t)
					execSQL(t, d, `DELETE FROM rollcall_records`)
					execSQL(t, d, `DELETE FROM rollcall_bindings`)
					execSQL(t, d, `DELETE FROM rollcall_events`)
					execSQL(t, d, `DELETE FROM rollcall_gate`)
					child := running("child of b", liveness.Identity{})
					child.Parent = "b"
					register(t, d.store(t, postgresstore.Options{}), running("a", liveness.Identity{}), running("b", liveness.Identity{}), child)
					lease := join(t, cut, "m")
					cutter.arm(how, 0)
					test.do(c, t.Context(), lease.Store(), lease)
					c.Assert(cutter.count(), qt.Equals, 1)
					all := map[string]int{}
					for _, event := range events(t, lease.Store()) {
						all[event.Name]++
					}
					for name, n := range all {
						c.Assert(n, qt.Equals, 1, qt.Commentf(name))
					}
				})
			}
		})
	}
}

func TestATakeOverWhoseConnectionIsCutTakesPlaceOnce(t *testing.T) {
	t.Parallel()
	// The commits of a take-over: that the machine is lost, its records, the end
	// of the records, its lease.
	for n := range 4 {
		t.Run(numbered("commit", n), func(t *testing.T) {
			t.Parallel()
			d, cut, cutter := cuttable(t)
			for i, how := range hows {
				t.Run(how, func(t *testing.T) {
					c := qt.New(t)
					lost := join(t, d, "lost")
					for i := range 10 {
						launch(t, lost.Store(), "lost", numbered("worker", i))
					}
					survivor := join(t, cut, "survivor")
					silence(t, d, "lost")
					steady(t, d, "survivor")
					cutter.arm(how, n)
					c.Assert(takeOver(t, survivor), qt.Equals, 10)
					c.Assert(cutter.count(), qt.Equals, 1)
					c.Assert(events(t, survivor.Store()), qt.HasLen, 10*(i+1))
					c.Assert(value(t, d, `SELECT string_agg(owner, ' ') FROM rollcall_leases`), qt.Equals, "survivor")
				})
			}
		})
	}
}

// A stop by somebody else in between is not mistaken for one's own.
func TestAStopThatWasUndoneAndDoneByAnotherIsAlreadyStopped(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d, cut, cutter := cuttable(t)
	other := d.store(t, postgresstore.Options{})
	record := running("worker", liveness.Identity{})
	register(t, other, record)
	tries := 0
	cutter.arm("before", 0)
	// The other one waits for the row, and has it when the first is cut.
	done := make(chan lifecycle.Outcome)
	blocked := cut.store(t, postgresstore.Options{OnStop: func(ctx context.Context, tx pgx.Tx, _ lifecycle.Event) error {
		if tries++; tries > 1 {
			return nil
		}
		go func() {
			outcome, err := other.Stop(t.Context(), record, lifecycle.Cause{By: "other", Reason: "exit:other"})
			c.Check(err, qt.IsNil)
			done <- outcome
		}()
		return waitForLock(ctx, d)
	}})
	outcome, err := blocked.Stop(t.Context(), record, cause)
	c.Assert(err, qt.IsNil)
	c.Assert(outcome, qt.Equals, lifecycle.AlreadyStopped)
	c.Assert(<-done, qt.Equals, lifecycle.Stopped)
	c.Assert(stopped(t, other), qt.DeepEquals, []string{"worker: exit:other"})
}

// waitForLock returns when somebody waits for a lock on a table of the database,
// or one who is cut for any lock.
func waitForLock(ctx context.Context, d database) error {
	for {
		var waits bool
		err := d.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND (strpos(query, $1) > 0 OR application_name = $1))`, d.mark()).Scan(&waits)
		if waits || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

func TestACommitThatIsNeverAnsweredIsOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d, cut, cutter := cuttable(t)
	record := running("worker", liveness.Identity{})
	register(t, d.store(t, postgresstore.Options{}), record)
	store := cut.store(t, postgresstore.Options{BusyTimeout: 3 * time.Second})
	cutter.arm("answer", 0)
	cutter.setAway(true)
	_, err := store.Stop(t.Context(), record, cause)
	c.Assert(err, qt.ErrorIs, postgresstore.ErrOutcomeUnknown)
	c.Assert(err, qt.ErrorIs, lifecycle.ErrUnavailable)
	cutter.setAway(false)
	outcome, err := store.Stop(t.Context(), record, cause)
	c.Assert(err, qt.IsNil)
	c.Assert(outcome, qt.Equals, lifecycle.AlreadyStopped)
	c.Assert(events(t, store), qt.HasLen, 1)
}
