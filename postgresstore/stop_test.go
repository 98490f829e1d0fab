package postgresstore_test

import (
	"errors"
	"sync"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
	"github.com/rollcall-go/rollcall/postgresstore"
)

// twoHandles opens one database twice, as two processes would.
func twoHandles(t *testing.T) (here, there *postgresstore.Store) {
	d := newDatabase(t)
	return d.store(t, postgresstore.Options{}), d.again(t).store(t, postgresstore.Options{})
}

func TestANameRegisteredAgainBetweenScanAndStopIsSpared(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	cleaning, other := twoHandles(t)
	dead := before(t)
	register(t, cleaning, running("worker", dead), running("gone", dead))
	read, err := cleaning.Records(t.Context())
	c.Assert(err, qt.IsNil)

	_, err = other.Stop(t.Context(), read[0], cause)
	c.Assert(err, qt.IsNil)
	again, err := other.Launch(t.Context(), lifecycle.Record{Owner: thisMachine, Name: "worker"})
	c.Assert(err, qt.IsNil)
	c.Assert(other.Activate(t.Context(), again, dead), qt.IsNil) // of all things
	c.Assert(other.Bind(t.Context(), again, "session"), qt.IsNil)

	outcomes, err := stopBatch(t.Context(), cleaning, []lifecycle.Stop{{Record: read[0], Cause: cause}, {Record: read[1], Cause: cause}})
	c.Assert(err, qt.IsNil)
	c.Assert(outcomes, qt.DeepEquals, []lifecycle.Outcome{lifecycle.AlreadyStopped, lifecycle.Stopped})
	c.Assert(only(t, cleaning).Incarnation, qt.Equals, again.Incarnation)
	bound, err := cleaning.Bound(t.Context(), "session")
	c.Assert(err, qt.IsNil)
	c.Assert(bound.Incarnation, qt.Equals, again.Incarnation)
	c.Assert(stopped(t, cleaning), qt.DeepEquals, []string{"worker: exit:test", "gone: exit:test"})
}

// changing is a Liveness of which one process is dead and every other alive. It
// lets something happen between the reading of a record and its stop.
type changing struct {
	dead   liveness.Identity
	change func()
}

func (l changing) Check(id liveness.Identity) liveness.Verdict {
	l.change()
	if id.String() == l.dead.String() {
		return liveness.Verdict{State: liveness.Dead, Reason: liveness.NoProcess}
	}
	return liveness.Verdict{State: liveness.Alive, Reason: liveness.SameProcess}
}

func TestARecordThatComesToLifeBetweenScanAndStopIsSpared(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	cleaning, other := twoHandles(t)
	record := running("worker", before(t))
	register(t, cleaning, record)
	report, err := lifecycle.Cleaner{Store: cleaning, Owner: thisMachine, Liveness: changing{record.Identity, func() {
		c.Check(other.Activate(t.Context(), record, self(t)), qt.IsNil)
	}}}.Clean(t.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(report.KeptBy, qt.DeepEquals, map[string]int{lifecycle.ReasonAlive: 1})
	c.Assert(only(t, cleaning).Identity, qt.Equals, self(t))
	c.Assert(events(t, cleaning), qt.HasLen, 0)

	// A decision of the host itself does not ask what the record looks like.
	outcome, err := cleaning.Stop(t.Context(), record, cause)
	c.Assert(err, qt.IsNil)
	c.Assert(outcome, qt.Equals, lifecycle.Stopped)
}

func TestASecondEventOfAnIncarnationIsRefusedByTheDatabase(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, db := open(t, postgresstore.Options{})
	record := running("worker", liveness.Identity{})
	register(t, store, record)
	_, err := store.Stop(t.Context(), record, cause)
	c.Assert(err, qt.IsNil)
	// A row that came back past Launch, as from a restored backup.
	execSQL(t, db, `INSERT INTO rollcall_records (name, incarnation, owner, epoch, phase, identity, created_at, beat_boot, beat_awake, parent)
		VALUES ('worker', $1, 'o', 0, 'running', '', 0, '', 0, '')`, record.Incarnation)
	_, err = store.Stop(t.Context(), record, cause)
	c.Assert(err, qt.ErrorMatches, `postgresstore: stop "worker": events: .*duplicate key value violates unique constraint.*`)
	c.Assert(events(t, store), qt.HasLen, 1)
	c.Assert(names(t, store), qt.DeepEquals, []string{"worker"})
}

func TestRecordsAreStoppedOnceThroughManyHandles(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	const n, cleaners = 100, 4
	d := newDatabase(t)
	store := d.store(t, postgresstore.Options{})
	var records []lifecycle.Record
	for i := range n {
		records = append(records, running(numbered("worker", i), before(t)))
	}
	register(t, store, records...)
	var wg sync.WaitGroup
	var reports [cleaners]lifecycle.Report
	var errs [cleaners]error
	for i := range cleaners {
		handle := d.again(t).store(t, postgresstore.Options{})
		wg.Go(func() {
			reports[i], errs[i] = lifecycle.Cleaner{Store: handle, Owner: thisMachine, Concurrency: 1 + i%2}.Clean(t.Context())
		})
	}
	wg.Wait()
	c.Assert(errors.Join(errs[:]...), qt.IsNil)
	total := 0
	for _, report := range reports {
		total += report.Stopped
	}
	c.Assert(total, qt.Equals, n)
	c.Assert(events(t, store), qt.HasLen, n)
	c.Assert(names(t, store), qt.HasLen, 0)
}

func TestFamiliesAreStoppedWithTheirHead(t *testing.T) {
	t.Parallel()
	const n = 1000
	tests := []struct {
		name   string
		parent string // SQL, of the record i
	}{
		{"a chain", `CASE i WHEN 0 THEN '' ELSE 'worker-' || to_char(i - 1, 'FM0000') END`},
		{"children", `CASE i WHEN 0 THEN '' ELSE 'worker-0000' END`},
		{"a cycle", `'worker-' || to_char((i + 1) % 1000, 'FM0000')`},
		{"a head that is its own parent", `'worker-0000'`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			world := livenesstest.New()
			store, db := open(t, postgresstore.Options{})
			execSQL(t, db, `INSERT INTO rollcall_records (name, incarnation, owner, epoch, phase, identity, created_at, beat_boot, beat_awake, parent)
				SELECT 'worker-' || to_char(i, 'FM0000'), 'i', 'o', 0, 'running', '', 0, '', 0, `+test.parent+` FROM generate_series(0, $1::integer - 1) AS i`, n)
			execSQL(t, db, `INSERT INTO rollcall_bindings SELECT seq, 'session of ' || name FROM rollcall_records`)
			register(t, store, running("stranger", world.Start()))

			head := lifecycle.Record{Name: "worker-0000", Incarnation: "i"}
			outcome, err := store.Stop(t.Context(), head, cause)
			c.Assert(err, qt.IsNil)
			c.Assert(outcome, qt.Equals, lifecycle.Stopped)
			all := stopped(t, store)
			c.Assert(all, qt.HasLen, n)
			c.Assert(all[n-1], qt.Equals, "worker-0000: exit:test") // the head comes last
			for _, line := range all[:n-1] {
				c.Assert(line, qt.Matches, `worker-\d{4}: parent_stopped`)
			}
			c.Assert(names(t, store), qt.DeepEquals, []string{"stranger"})
			c.Assert(value(t, db, `SELECT string_agg(key, ',') FROM rollcall_bindings`), qt.Equals, "session of stranger")
		})
	}
}
