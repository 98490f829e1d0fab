package postgresstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/postgresstore"
)

// ttl is so long that no lease runs out by itself in a test.
const ttl = time.Hour

// join has a machine join the fleet.
func join(t testing.TB, d database, owner string, options ...postgresstore.Options) *postgresstore.Lease {
	options = append(options, postgresstore.Options{})
	options[0].Owner = owner
	lease, err := d.store(t, options[0]).Join(t.Context(), postgresstore.LeaseOptions{TTL: ttl})
	qt.New(t).Assert(err, qt.IsNil)
	return lease
}

// silence makes the last beat of machines as old as if they had not beaten for
// two hours.
func silence(t testing.TB, d database, owners ...string) {
	execSQL(t, d, `UPDATE rollcall_leases SET beat_at = beat_at - interval '2 hours' WHERE owner = ANY($1::text[])`, owners)
}

// steady makes machines as if they had been beating for two hours.
func steady(t testing.TB, d database, owners ...string) {
	execSQL(t, d, `UPDATE rollcall_leases SET since = since - interval '2 hours' WHERE owner = ANY($1::text[])`, owners)
}

func launch(t testing.TB, store *postgresstore.Store, owner, name string) lifecycle.Record {
	record, err := store.Launch(t.Context(), lifecycle.Record{Name: name, Owner: owner})
	qt.New(t).Assert(err, qt.IsNil)
	return record
}

func TestTheServersClockMayBeSetBack(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d := newDatabase(t)
	lost, survivor := join(t, d, "lost"), join(t, d, "survivor")
	launch(t, lost.Store(), "lost", "worker")
	execSQL(t, d, `UPDATE rollcall_leases SET beat_at = beat_at + interval '1 year', since = since + interval '1 year'`)
	c.Assert(survivor.Beat(t.Context()), qt.IsNil)
	c.Assert(takeOver(t, survivor), qt.Equals, 0)
	c.Assert(lost.Beat(t.Context()), qt.IsNil)
	c.Assert(value(t, d, `SELECT count(*)::text FROM rollcall_leases WHERE since > clock_timestamp() OR beat_at > clock_timestamp()`), qt.Equals, "0")
}

// writes are all ways in which a machine writes.
var writes = map[string]func(context.Context, *postgresstore.Store, lifecycle.Record) error{
	"launch": func(ctx context.Context, store *postgresstore.Store, _ lifecycle.Record) error {
		_, err := store.Launch(ctx, lifecycle.Record{Name: "another", Owner: "lost"})
		return err
	},
	"activate": func(ctx context.Context, store *postgresstore.Store, record lifecycle.Record) error {
		return store.Activate(ctx, record, liveness.Identity{})
	},
	"deactivate": func(ctx context.Context, store *postgresstore.Store, record lifecycle.Record) error {
		return store.Deactivate(ctx, record)
	},
	"heartbeat": func(ctx context.Context, store *postgresstore.Store, record lifecycle.Record) error {
		return store.Heartbeat(ctx, record)
	},
	"set Data": func(ctx context.Context, store *postgresstore.Store, record lifecycle.Record) error {
		return store.SetData(ctx, record, json.RawMessage(`"late"`))
	},
	"bind": func(ctx context.Context, store *postgresstore.Store, record lifecycle.Record) error {
		return store.Bind(ctx, record, "late")
	},
	"stop": func(ctx context.Context, store *postgresstore.Store, record lifecycle.Record) error {
		_, err := store.Stop(ctx, record, cause)
		return err
	},
	"stop batch": func(ctx context.Context, store *postgresstore.Store, record lifecycle.Record) error {
		_, err := store.StopBatch(ctx, []lifecycle.Stop{{Record: record, Cause: cause}})
		return err
	},
	"gate": func(ctx context.Context, store *postgresstore.Store, _ lifecycle.Record) error {
		_, err := store.Gate().CompareAndSwap(ctx, "gate", "", "claimed")
		return err
	},
}

func TestAMachineThatWasTakenForLostWritesNothing(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	ctx := t.Context()
	d := newDatabase(t)
	lost, survivor := join(t, d, "lost"), join(t, d, "survivor")
	old := launch(t, lost.Store(), "lost", "worker")
	other := launch(t, survivor.Store(), "survivor", "other")

	refused := func(when string) {
		before := dump(t, d)
		for name, write := range writes {
			for _, record := range []lifecycle.Record{old, other} {
				err := write(ctx, lost.Store(), record)
				c.Assert(err, qt.ErrorIs, postgresstore.ErrFenced, qt.Commentf("%s, %s", name, when))
			}
		}
		c.Assert(lost.Beat(ctx), qt.ErrorIs, postgresstore.ErrFenced)
		_, err := lost.TakeOver(ctx)
		if err != nil { // there was somebody to look at
			c.Assert(err, qt.ErrorIs, postgresstore.ErrFenced)
		}
		c.Assert(dump(t, d), qt.DeepEquals, before)
		c.Assert(value(t, d, `SELECT count(*)::text FROM rollcall_gate`), qt.Equals, "0")
	}

	silence(t, d, "lost")
	steady(t, d, "survivor")
	c.Assert(takeOver(t, survivor), qt.Equals, 1)
	refused("taken over")

	// Back again, it has a new lease and new records, and its past has neither.
	again := join(t, d, "lost")
	c.Assert(again.Epoch() > lost.Epoch(), qt.IsTrue)
	refused("come back")
	record := launch(t, again.Store(), "lost", "worker")
	refused("come back with a record")
	silence(t, d, "survivor")
	steady(t, d, "lost")
	c.Assert(takeOver(t, again), qt.Equals, 1)
	refused("come back, and the survivor lost")
	c.Assert(only(t, again.Store()).Incarnation, qt.Equals, record.Incarnation)
	c.Assert(stopped(t, again.Store()), qt.DeepEquals, []string{"worker: exit:host_lost", "other: exit:host_lost"})
}

func TestAMachineWithALeaseWritesThroughIt(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d := newDatabase(t)
	unleased := d.store(t, postgresstore.Options{Owner: "lost"})
	record := launch(t, unleased, "lost", "worker")
	lease := join(t, d, "lost")
	for name, write := range writes {
		c.Assert(write(t.Context(), unleased, record), qt.ErrorIs, postgresstore.ErrFenced, qt.Commentf(name))
	}
	for _, name := range []string{"launch", "heartbeat", "activate", "deactivate", "bind", "gate", "stop"} {
		c.Assert(writes[name](t.Context(), lease.Store(), record), qt.IsNil, qt.Commentf(name))
	}
}

// Somebody who holds a lock on its lease is not lost, whatever the lease says: it
// commits before it is, or it does not commit.
func TestAMachineThatIsWritingIsNotTakenOver(t *testing.T) {
	t.Parallel()
	for name, write := range writes {
		if name == "heartbeat" {
			continue // one statement
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			d, cut, cutter := cuttable(t)
			writing, survivor := join(t, cut, "lost"), join(t, d, "survivor")
			record := launch(t, writing.Store(), "lost", "worker")
			silence(t, d, "lost")
			steady(t, d, "survivor")
			cutter.onCommit(func() { c.Check(takeOver(t, survivor), qt.Equals, 0) })
			c.Assert(write(t.Context(), writing.Store(), record), qt.IsNil)
			c.Assert(cutter.count(), qt.Equals, 1)
			left := len(names(t, survivor.Store()))
			c.Assert(takeOver(t, survivor), qt.Equals, left)
			c.Assert(names(t, survivor.Store()), qt.HasLen, 0)
		})
	}
}

func TestALeaseThatRanOutIsRenewedIfNobodyTookItOver(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d := newDatabase(t)
	late, survivor := join(t, d, "late"), join(t, d, "survivor")
	record := launch(t, late.Store(), "late", "worker")
	silence(t, d, "late")
	c.Assert(late.Store().Heartbeat(t.Context(), record), qt.IsNil)
	c.Assert(late.Beat(t.Context()), qt.IsNil)
	steady(t, d, "survivor")
	c.Assert(takeOver(t, survivor), qt.Equals, 0)
	silence(t, d, "late")
	c.Assert(join(t, d, "late").Epoch(), qt.Equals, late.Epoch()) // another process of it, or a reboot
	c.Assert(takeOver(t, survivor), qt.Equals, 0)
	c.Assert(names(t, late.Store()), qt.DeepEquals, []string{"worker"})
}

func TestJoinNeedsAnOwner(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d := newDatabase(t)
	_, err := d.store(t, postgresstore.Options{}).Join(t.Context(), postgresstore.LeaseOptions{})
	c.Assert(err, qt.ErrorIs, postgresstore.ErrOwner)
	_, err = d.store(t, postgresstore.Options{Owner: "m"}).Join(t.Context(), postgresstore.LeaseOptions{TTL: -1})
	c.Assert(err, qt.ErrorIs, postgresstore.ErrInvalidOptions)
}

// Two fleets in one: what each machine sees of the other.
func TestEachMachineCleansItsOwn(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d := newDatabase(t)
	dead := before(t)
	stores := map[string]*postgresstore.Store{}
	for _, owner := range []string{"one", "two"} {
		stores[owner] = join(t, d, owner).Store()
		c.Assert(stores[owner].Activate(t.Context(), launch(t, stores[owner], owner, "worker of "+owner), dead), qt.IsNil)
	}
	_, err := stores["one"].Launch(t.Context(), lifecycle.Record{Name: "x", Owner: "two"})
	c.Assert(err, qt.ErrorIs, postgresstore.ErrOwner)

	gate := &lifecycle.BootGate{KV: stores["one"].Gate()}
	report, err := lifecycle.Cleaner{Store: stores["one"], Owner: "one"}.CleanOncePerBoot(t.Context(), gate)
	c.Assert(err, qt.IsNil)
	c.Assert([]int{report.Stopped, report.Examined}, qt.DeepEquals, []int{1, 1})
	c.Assert(names(t, stores["one"]), qt.DeepEquals, []string{"worker of two"})

	// The gate of this very boot is closed for the one and open for the other.
	gate.KV = stores["two"].Gate()
	report, err = lifecycle.Cleaner{Store: stores["two"], Owner: "two"}.CleanOncePerBoot(t.Context(), gate)
	c.Assert(err, qt.IsNil)
	c.Assert(report.Stopped, qt.Equals, 1)
	report, err = lifecycle.Cleaner{Store: stores["two"], Owner: "two"}.CleanOncePerBoot(t.Context(), gate)
	c.Assert(err, qt.IsNil)
	c.Assert(report.GateClosed, qt.IsTrue)
}

func TestMachinesAreShownWithTheirLeases(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d := newDatabase(t)
	one, two := join(t, d, "one"), join(t, d, "two")
	silence(t, d, "two")
	machines, err := d.store(t, postgresstore.Options{}).Machines(t.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(machines, qt.HasLen, 2)
	c.Assert([]bool{machines[0].Expired(), machines[1].Expired()}, qt.DeepEquals, []bool{false, true})
	for i := range machines {
		machines[i].Silent = 0
	}
	c.Assert(machines, qt.DeepEquals, []postgresstore.Machine{
		{Owner: "one", Epoch: one.Epoch(), TTL: ttl}, {Owner: "two", Epoch: two.Epoch(), TTL: ttl},
	})
	execSQL(t, d, `UPDATE rollcall_leases SET lost = epoch, epoch = -1 WHERE owner = 'two'`)
	machines, err = one.Store().Machines(t.Context())
	c.Assert(err, qt.IsNil)
	c.Assert([]int64{machines[1].Epoch, machines[1].Past}, qt.DeepEquals, []int64{0, two.Epoch()})
}

func TestRunBeatsAndTakesOverUntilItIsFenced(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d := newDatabase(t)
	lost := join(t, d, "lost")
	launch(t, lost.Store(), "lost", "worker")
	beats, taken := make(chan error, 100), make(chan int, 100)
	survivor, err := d.store(t, postgresstore.Options{Owner: "survivor"}).Join(t.Context(), postgresstore.LeaseOptions{
		TTL:        time.Second,
		OnBeat:     func(err error) { beats <- err },
		OnTakeOver: func(n int, err error) { taken <- n },
	})
	c.Assert(err, qt.IsNil)
	done := make(chan error)
	go func() { done <- survivor.Run(t.Context()) }()
	for n := 0; n < 3; {
		err := <-beats
		if errors.Is(err, lifecycle.ErrUnavailable) {
			continue // this machine is busy
		}
		c.Assert(err, qt.IsNil)
		n++
	}
	// As old as can be. The survivor has been steady for longer than this TTL.
	execSQL(t, d, `UPDATE rollcall_leases SET ttl = '100ms', beat_at = beat_at - interval '1 hour' WHERE owner = 'lost'`)
	for n := 0; n == 0; {
		n = <-taken
		c.Assert(n <= 1, qt.IsTrue)
	}

	execSQL(t, d, `UPDATE rollcall_leases SET lost = epoch, epoch = -1 WHERE owner = 'survivor'`)
	c.Assert(<-done, qt.ErrorIs, postgresstore.ErrFenced)

	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- join(t, d, "other").Run(ctx) }()
	cancel()
	c.Assert(<-done, qt.ErrorIs, context.Canceled)
}

func TestFollowYieldsEventsAsTheyCome(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d := newSchema(t)
	store := d.store(t, postgresstore.Options{Prefix: "follow_"})
	const n = 20
	var got []string
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i := range n {
		register(t, store, running(numbered("worker", i), liveness.Identity{}))
	}
	stop := func(i int) {
		_, err := store.Stop(t.Context(), running(numbered("worker", i), liveness.Identity{}), cause)
		c.Assert(err, qt.IsNil)
	}
	stop(0)
	for event, err := range store.Follow(ctx, 0) {
		if ctx.Err() != nil {
			c.Assert(err, qt.ErrorIs, context.Canceled)
			break
		}
		c.Assert(err, qt.IsNil)
		got = append(got, event.Name)
		if len(got) == n {
			c.Assert(value(t, d, `SELECT count(*)::text FROM pg_stat_activity WHERE query = 'LISTEN "follow_stopped"'`), qt.Equals, "1")
			cancel()
			continue
		}
		if len(got)%7 == 0 { // its connection is cut
			execSQL(t, d, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN "follow_stopped"'`)
		}
		stop(len(got))
	}
	var want []string
	for i := range n {
		want = append(want, numbered("worker", i))
	}
	c.Assert(got, qt.DeepEquals, want)
}
