package postgresstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	qt "github.com/frankban/quicktest"
	"github.com/jackc/pgx/v5"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/postgresstore"
)

func takeOver(t testing.TB, lease *postgresstore.Lease) int {
	stopped, err := lease.TakeOver(t.Context())
	qt.New(t).Assert(err, qt.IsNil)
	return stopped
}

func TestARecordOfALostMachineIsStoppedByAnother(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d := newDatabase(t)
	lost, survivor := join(t, d, "lost"), join(t, d, "survivor")
	running := launch(t, lost.Store(), "lost", "running")
	c.Assert(lost.Store().Activate(t.Context(), running, self(t)), qt.IsNil)
	c.Assert(lost.Store().Bind(t.Context(), running, "session"), qt.IsNil)
	launch(t, lost.Store(), "lost", "launching")
	c.Assert(lost.Store().Deactivate(t.Context(), launch(t, lost.Store(), "lost", "inactive")), qt.IsNil)
	launch(t, survivor.Store(), "survivor", "of the survivor")

	c.Assert(takeOver(t, survivor), qt.Equals, 0)
	silence(t, d, "lost")
	steady(t, d, "survivor")
	c.Assert(takeOver(t, survivor), qt.Equals, 3)
	c.Assert(takeOver(t, survivor), qt.Equals, 0)

	c.Assert(names(t, survivor.Store()), qt.DeepEquals, []string{"of the survivor"})
	var got []string
	for _, event := range events(t, survivor.Store()) {
		got = append(got, fmt.Sprint(event.By, " ", event.Reason, " ", event.Name, " ", event.Snapshot.Phase, " ", event.Snapshot.Bindings))
	}
	c.Assert(got, qt.DeepEquals, []string{
		"system exit:host_lost running running [session]",
		"system exit:host_lost launching launching []",
		"system exit:host_lost inactive inactive []",
	})
	c.Assert(value(t, d, `SELECT string_agg(owner, ' ') FROM rollcall_leases`), qt.Equals, "survivor")
}

// The clock of the server may have jumped, it or the network may have been away
// for all: who has not been beating all the while cannot tell that another was
// the only one who did not.
func TestAMachineWhoseOwnBeatsHadAGapTakesNobodyForLost(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d := newDatabase(t)
	lost, survivor := join(t, d, "lost"), join(t, d, "survivor")
	launch(t, lost.Store(), "lost", "worker")
	silence(t, d, "lost", "survivor")
	steady(t, d, "survivor")
	c.Assert(takeOver(t, survivor), qt.Equals, 0) // its own lease has run out

	c.Assert(survivor.Beat(t.Context()), qt.IsNil)
	c.Assert(takeOver(t, survivor), qt.Equals, 0)
	c.Assert(lost.Beat(t.Context()), qt.IsNil) // there was time for this
	steady(t, d, "survivor")
	c.Assert(takeOver(t, survivor), qt.Equals, 0)
	c.Assert(names(t, lost.Store()), qt.DeepEquals, []string{"worker"})

	silence(t, d, "lost")
	c.Assert(takeOver(t, survivor), qt.Equals, 1)
}

// The same between its last beat and the next one, which nobody has seen yet.
func TestAMachineThatHasNotBeatenForHalfOfItsTTLTakesNobodyForLost(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d := newDatabase(t)
	lost, survivor := join(t, d, "lost"), join(t, d, "survivor")
	launch(t, lost.Store(), "lost", "worker")
	silence(t, d, "lost")
	steady(t, d, "survivor")
	execSQL(t, d, `UPDATE rollcall_leases SET beat_at = beat_at - ttl * 0.6 WHERE owner = 'survivor'`)
	c.Assert(takeOver(t, survivor), qt.Equals, 0)
	execSQL(t, d, `UPDATE rollcall_leases SET beat_at = beat_at + ttl * 0.2 WHERE owner = 'survivor'`)
	c.Assert(takeOver(t, survivor), qt.Equals, 1)
}

// A gap that does not count for a machine with a long TTL may be as long as the
// whole TTL of another.
func TestAMachineWithALongTTLWaitsLongerForAnother(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d := newDatabase(t)
	lost, survivor := join(t, d, "lost"), join(t, d, "survivor")
	launch(t, lost.Store(), "lost", "worker")
	steady(t, d, "survivor")
	execSQL(t, d, `UPDATE rollcall_leases SET ttl = '3h', since = since + interval '1 minute' WHERE owner = 'survivor'`)
	execSQL(t, d, `UPDATE rollcall_leases SET beat_at = beat_at - interval '110 minutes' WHERE owner = 'lost'`)
	c.Assert(takeOver(t, survivor), qt.Equals, 0)
	execSQL(t, d, `UPDATE rollcall_leases SET beat_at = beat_at - interval '11 minutes' WHERE owner = 'lost'`)
	c.Assert(takeOver(t, survivor), qt.Equals, 0) // nor has it itself been beating for so long
	steady(t, d, "survivor")
	c.Assert(takeOver(t, survivor), qt.Equals, 1)
}

func TestARefusedRecordOfALostMachineCostsNoMoreThanItsBatch(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d := newDatabase(t)
	calls := 0
	survivor := join(t, d, "survivor", postgresstore.Options{OnStop: func(_ context.Context, _ pgx.Tx, event lifecycle.Event) error {
		calls++
		if event.Name == "lost 200" {
			return errHook
		}
		return nil
	}})
	join(t, d, "lost")
	execSQL(t, d, `INSERT INTO rollcall_records (name, incarnation, owner, epoch, phase, identity, created_at, beat_boot, beat_awake, parent)
		SELECT 'lost ' || n, 'i', 'lost', 0, 'running', '', n, '', 0, '' FROM generate_series(1, 250) AS n`)
	silence(t, d, "lost")
	steady(t, d, "survivor")
	n, err := survivor.TakeOver(t.Context())
	c.Assert(err, qt.ErrorIs, errHook)
	c.Assert(n, qt.Equals, 249)
	c.Assert(calls <= 3*250, qt.IsTrue, qt.Commentf("%d", calls))
}

// Somebody who looks at all machines may register a record for one of them.
func TestARecordThatIsRegisteredForAMachineBelongsToItsLease(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d := newDatabase(t)
	everybody := d.store(t, postgresstore.Options{})
	register := func(name string) error {
		_, err := everybody.Launch(t.Context(), lifecycle.Record{Name: name, Owner: "lost"})
		return err
	}
	refuse := true
	survivor := join(t, d, "survivor", postgresstore.Options{OnStop: func(context.Context, pgx.Tx, lifecycle.Event) error {
		if refuse {
			return errHook
		}
		return nil
	}})
	join(t, d, "lost")
	c.Assert(register("first"), qt.IsNil)
	silence(t, d, "lost")
	steady(t, d, "survivor")
	_, err := survivor.TakeOver(t.Context())
	c.Assert(err, qt.ErrorIs, errHook)
	c.Assert(register("none"), qt.ErrorIs, postgresstore.ErrFenced)
	join(t, d, "lost")
	c.Assert(register("second"), qt.IsNil) // while its past is still being stopped
	refuse = false
	c.Assert(takeOver(t, survivor), qt.Equals, 1)
	c.Assert(names(t, everybody), qt.DeepEquals, []string{"second"})
}

// A machine that comes back while others are still at its past.
func TestAMachineThatComesBackEarlyKeepsItsNewRecords(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d := newDatabase(t)
	refuse := true
	survivor := join(t, d, "survivor", postgresstore.Options{OnStop: func(_ context.Context, _ pgx.Tx, event lifecycle.Event) error {
		if refuse && event.Name == "refused" {
			return errHook
		}
		return nil
	}})
	lost := join(t, d, "lost")
	for i := range 300 {
		launch(t, lost.Store(), "lost", numbered("worker", i))
	}
	launch(t, lost.Store(), "lost", "refused")
	launch(t, lost.Store(), "lost", "z")
	silence(t, d, "lost")
	steady(t, d, "survivor")
	n, err := survivor.TakeOver(t.Context())
	c.Assert(err, qt.ErrorIs, errHook)
	c.Assert(n, qt.Equals, 301)
	c.Assert(only(t, lost.Store()).Name, qt.Equals, "refused")

	again := join(t, d, "lost")
	launch(t, again.Store(), "lost", "z")
	refuse = false
	c.Assert(takeOver(t, survivor), qt.Equals, 1)
	c.Assert(only(t, again.Store()).Name, qt.Equals, "z")
	c.Assert(again.Beat(t.Context()), qt.IsNil)
	c.Assert(value(t, d, `SELECT string_agg(lost::text, ' ') FROM rollcall_leases`), qt.Equals, "0 0")
	silence(t, d, "lost")
	c.Assert(takeOver(t, survivor), qt.Equals, 1)
}

func TestADescendantOnALivingMachineIsNotTakenOver(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d := newDatabase(t)
	lost, survivor := join(t, d, "lost"), join(t, d, "survivor")
	launch(t, lost.Store(), "lost", "parent")
	_, err := survivor.Store().Launch(t.Context(), lifecycle.Record{Name: "child", Owner: "survivor", Parent: "parent"})
	c.Assert(err, qt.IsNil)
	silence(t, d, "lost")
	steady(t, d, "survivor")
	c.Assert(takeOver(t, survivor), qt.Equals, 1)
	c.Assert(names(t, survivor.Store()), qt.DeepEquals, []string{"child"})
}

func TestSurvivorsShareTheWork(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d := newDatabase(t)
	const machines, records, survivors = 4, 600, 3
	var all []string
	for i := range machines {
		owner := numbered("lost", i)
		join(t, d, owner)
		all = append(all, owner)
		execSQL(t, d, `INSERT INTO rollcall_records (name, incarnation, owner, epoch, phase, identity, created_at, beat_boot, beat_awake, parent)
			SELECT $1 || n, 'i', $1, (SELECT epoch FROM rollcall_leases WHERE owner = $1), 'running', '', n, '', 0, ''
			FROM generate_series(1, $2::integer) AS n`, owner, records)
	}
	execSQL(t, d, `INSERT INTO rollcall_bindings SELECT seq, 'session of ' || name FROM rollcall_records`)
	var leases []*postgresstore.Lease
	for i := range survivors {
		leases = append(leases, join(t, d.again(t), numbered("survivor", i)))
	}
	silence(t, d, all...)
	execSQL(t, d, `UPDATE rollcall_leases SET since = since - interval '2 hours'`)
	counts, errs := make([]int, survivors), make([]error, survivors)
	var wg sync.WaitGroup
	for i, lease := range leases {
		wg.Go(func() { counts[i], errs[i] = lease.TakeOver(t.Context()) })
	}
	wg.Wait()
	c.Assert(errors.Join(errs...), qt.IsNil)
	total := 0
	for _, n := range counts {
		total += n
	}
	t.Log("stopped:", counts)
	c.Assert(total, qt.Equals, machines*records)
	c.Assert(events(t, leases[0].Store()), qt.HasLen, machines*records)
	c.Assert(value(t, d, `SELECT (SELECT count(*) FROM rollcall_records) || ' ' || (SELECT count(*) FROM rollcall_bindings)`), qt.Equals, "0 0")
	takeOver(t, leases[0]) // whoever comes next sees that all is done
	c.Assert(value(t, d, `SELECT count(*)::text FROM rollcall_leases`), qt.Equals, fmt.Sprint(survivors))
}

func TestNoMoreThanFourTakeOverAtOnce(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	d := newDatabase(t)
	lost, survivor := join(t, d, "lost"), join(t, d, "survivor")
	launch(t, lost.Store(), "lost", "worker")
	silence(t, d, "lost")
	steady(t, d, "survivor")
	var ends []func()
	others := d.again(t)
	for range 4 {
		ends = append(ends, lock(t, others, `SELECT FROM rollcall_slots LIMIT 1 FOR UPDATE SKIP LOCKED`))
	}
	c.Assert(takeOver(t, survivor), qt.Equals, 0)
	c.Assert(lost.Beat(t.Context()), qt.IsNil) // nor is it taken for lost
	silence(t, d, "lost")
	ends[2]()
	c.Assert(takeOver(t, survivor), qt.Equals, 1)
}
