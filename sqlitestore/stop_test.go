package sqlitestore_test

import (
	"database/sql/driver"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// twoHandles opens one file twice, as two processes would.
func twoHandles(t *testing.T) (here, there *sqlitestore.Store) {
	path := filepath.Join(tempDir(t), "state.db")
	return newSubject(t, path).Store, newSubject(t, path).Store
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
	again, err := other.Launch(t.Context(), lifecycle.Record{Name: "worker"})
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
	report, err := lifecycle.Cleaner{Store: cleaning, Liveness: changing{record.Identity, func() {
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

func TestRecordsAreStoppedOnceThroughManyHandles(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	const n, cleaners = 100, 4
	path := filepath.Join(tempDir(t), "state.db")
	store := newSubject(t, path).Store
	var records []lifecycle.Record
	for i := range n {
		records = append(records, running(numbered("worker", i), before(t)))
	}
	register(t, store, records...)
	var wg sync.WaitGroup
	var reports [cleaners]lifecycle.Report
	var errs [cleaners]error
	for i := range cleaners {
		handle := newSubject(t, path).Store
		wg.Go(func() {
			reports[i], errs[i] = lifecycle.Cleaner{Store: handle, Concurrency: 1 + i%2}.Clean(t.Context())
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
		{"a chain", `CASE i WHEN 0 THEN '' ELSE printf('worker-%04d', i - 1) END`},
		{"children", `CASE i WHEN 0 THEN '' ELSE 'worker-0000' END`},
		{"a cycle", `printf('worker-%04d', (i + 1) % 1000)`},
		{"a head that is its own parent", `'worker-0000'`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			world := livenesstest.New()
			store, db := open(t, sqlitestore.Options{})
			execSQL(t, db, `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ? - 1)
				INSERT INTO rollcall_records (name, incarnation, owner, phase, identity, created_at, beat_boot, beat_awake, parent)
				SELECT printf('worker-%04d', i), 'i', '', 'running', '', 0, '', 0, `+test.parent+` FROM n`, n)
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
			c.Assert(value(t, db, `SELECT group_concat(key) FROM rollcall_bindings`), qt.Equals, "session of stranger")
		})
	}
}

// What a batch has read before its transaction is read again if somebody else has
// written since.
func TestABatchSeesWhatChangedBeforeItsTransaction(t *testing.T) {
	t.Parallel()
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
		{"a child", func(c *qt.C, others *sqlitestore.Store, second lifecycle.Record) {
			_, err := others.Launch(c.Context(), lifecycle.Record{Name: "child", Parent: second.Name})
			c.Assert(err, qt.IsNil)
		}, []string{"first: exit:test", "child: parent_stopped", "second: exit:test"}, nil},
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
			}
		})
	}
}
