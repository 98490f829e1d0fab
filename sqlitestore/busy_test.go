package sqlitestore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// far is much more time than anything here takes.
const far = 20 * time.Second

// blocked returns a store on a file whose write lock somebody else holds until
// end is called. The host has set a busy timeout of its own.
func blocked(t *testing.T, s *spy, options sqlitestore.Options) (store *sqlitestore.Store, record lifecycle.Record, end func()) {
	c := qt.New(t)
	path := filepath.Join(tempDir(t), "state.db")
	s.dsn = dsn(path) + "&_pragma=busy_timeout(600000)"
	store, err := sqlitestore.New(t.Context(), openSpied(t, s), options)
	c.Assert(err, qt.IsNil)
	record = running("worker", liveness.Identity{})
	register(t, store, record)
	return store, record, begin(t, path)
}

func TestAWriteWaitsForOtherWriters(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	s := &spy{}
	store, record, end := blocked(t, s, sqlitestore.Options{})
	attempts := 0
	s.before = func(_ driver.Conn, query string) error {
		if query == "BEGIN IMMEDIATE" {
			if attempts++; attempts == 2 { // the first one was in vain
				end()
			}
		}
		return nil
	}
	outcome, err := store.Stop(t.Context(), record, cause)
	c.Assert(err, qt.IsNil)
	c.Assert(outcome, qt.Equals, lifecycle.Stopped)
	c.Assert(attempts >= 2, qt.IsTrue)
	c.Assert(events(t, store), qt.HasLen, 1)
}

func TestAWriteGivesUpAfterItsTimeout(t *testing.T) {
	t.Parallel()
	for _, timeout := range []time.Duration{time.Nanosecond, 20 * time.Millisecond, 300 * time.Millisecond} {
		t.Run(timeout.String(), func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			store, record, end := blocked(t, &spy{}, sqlitestore.Options{BusyTimeout: timeout})
			started := time.Now()
			outcome, err := store.Stop(t.Context(), record, cause)
			took := time.Since(started)
			c.Assert(sqlitestore.IsBusy(err), qt.IsTrue)
			c.Assert(err, qt.ErrorIs, lifecycle.ErrUnavailable)
			c.Assert(err, qt.ErrorMatches, `sqlitestore: stop "worker": store is unavailable: database is locked.*`)
			c.Assert(outcome, qt.Equals, lifecycle.Outcome(0))
			c.Assert(took >= timeout, qt.IsTrue, qt.Commentf("%v", took))
			c.Assert(took < far, qt.IsTrue, qt.Commentf("%v", took))

			end() // and nothing was lost
			outcome, err = store.Stop(t.Context(), record, cause)
			c.Assert(err, qt.IsNil)
			c.Assert(outcome, qt.Equals, lifecycle.Stopped)
		})
	}
}

func TestACancelledContextEndsTheWait(t *testing.T) {
	t.Parallel()
	for _, attempt := range []int{1, 2} {
		t.Run(fmt.Sprint("in attempt ", attempt), func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			s := &spy{}
			store, record, _ := blocked(t, s, sqlitestore.Options{})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			attempts := 0
			s.before = func(_ driver.Conn, query string) error {
				if query == "BEGIN IMMEDIATE" {
					if attempts++; attempts == attempt {
						time.AfterFunc(time.Millisecond, cancel)
					}
				}
				return nil
			}
			started := time.Now()
			_, err := store.Stop(ctx, record, cause)
			c.Assert(err, qt.ErrorIs, context.Canceled)
			c.Assert(time.Since(started) < far, qt.IsTrue)
		})
	}
}

// Drivers have error types of their own.
type (
	methodError int
	textError   string
)

func (e methodError) Error() string { return "an error of a driver" }
func (e methodError) Code() int     { return int(e) }
func (e textError) Error() string   { return string(e) }

func TestBusyIsKnownFromAnyDriver(t *testing.T) {
	t.Parallel()
	tests := []struct {
		err  error
		want bool
	}{
		{nil, false},
		{methodError(5), true},
		{methodError(517), true}, // SQLITE_BUSY_SNAPSHOT
		{methodError(262), true}, // SQLITE_LOCKED_SHAREDCACHE
		{methodError(8), false},
		{textError("database is locked"), true},
		{textError("sqlite3: database is locked"), true},
		{textError("database table is locked: t"), true},
		{textError("SQLITE_BUSY"), true},
		{textError("disk I/O error"), false},
		{sql.ErrConnDone, false},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%T %[1]v", test.err), func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			c.Assert(sqlitestore.IsBusy(test.err), qt.Equals, test.want)
			if test.err != nil {
				c.Assert(sqlitestore.IsBusy(errors.Join(errHook, test.err)), qt.Equals, test.want)
			}
		})
	}
}

func TestABusyHookIsTriedAgain(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	calls := 0
	store, db := open(t, sqlitestore.Options{OnStop: func(ctx context.Context, tx sqlitestore.Tx, event lifecycle.Event) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO log VALUES (?)", event.Name)
		c.Assert(err, qt.IsNil)
		if calls++; calls < 3 {
			return methodError(5)
		}
		return nil
	}})
	execSQL(t, db, "CREATE TABLE log (name)")
	record := running("worker", liveness.Identity{})
	register(t, store, record)
	_, err := store.Stop(t.Context(), record, cause)
	c.Assert(err, qt.IsNil)
	c.Assert(calls, qt.Equals, 3)
	c.Assert(value(t, db, "SELECT count(*) FROM log"), qt.Equals, "1")
}

// A rollback journal keeps readers and writers from each other, WAL does not.
func TestARollbackJournalWorksToo(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(tempDir(t), "state.db"))
	c.Assert(err, qt.IsNil)
	defer db.Close()
	store, err := sqlitestore.New(t.Context(), db, sqlitestore.Options{})
	c.Assert(err, qt.IsNil)
	c.Assert(value(t, db, "PRAGMA journal_mode"), qt.Equals, "delete")
	const n, readers = 30, 4
	var records []lifecycle.Record
	for i := range n {
		records = append(records, running(numbered("worker", i), liveness.Identity{}))
	}
	register(t, store, records...)

	done := make(chan struct{})
	var wg sync.WaitGroup
	var errs [readers]error
	for i := range readers {
		wg.Go(func() {
			for errs[i] == nil {
				select {
				case <-done:
					return
				default:
				}
				var got []lifecycle.Record
				if got, errs[i] = store.Records(t.Context()); errs[i] == nil && len(got) > n {
					errs[i] = fmt.Errorf("%d records", len(got))
				}
				if errs[i] == nil {
					_, errs[i] = store.Gate().Get(t.Context(), "key")
				}
			}
		})
	}
	for _, record := range records {
		_, err := store.Stop(t.Context(), record, cause)
		c.Check(err, qt.IsNil)
	}
	close(done)
	wg.Wait()
	c.Assert(errors.Join(errs[:]...), qt.IsNil)
	c.Assert(events(t, store), qt.HasLen, n)
}

func TestTheGateIsReadAsSoonAsAnExclusiveLockEnds(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	s := &spy{dsn: "file:" + filepath.Join(tempDir(t), "state.db")}
	store, err := sqlitestore.New(t.Context(), openSpied(t, s), sqlitestore.Options{BusyTimeout: far})
	c.Assert(err, qt.IsNil)
	_, err = store.Gate().CompareAndSwap(t.Context(), "key", "", "value")
	c.Assert(err, qt.IsNil)

	other, err := sql.Open("sqlite", s.dsn)
	c.Assert(err, qt.IsNil)
	defer other.Close()
	conn, err := other.Conn(t.Context())
	c.Assert(err, qt.IsNil)
	_, err = conn.ExecContext(t.Context(), "BEGIN EXCLUSIVE")
	c.Assert(err, qt.IsNil)
	reads := 0
	s.before = func(_ driver.Conn, query string) error {
		if len(query) > 6 && query[:6] == "SELECT" {
			if reads++; reads == 3 {
				_, err := conn.ExecContext(t.Context(), "ROLLBACK")
				c.Assert(err, qt.IsNil)
				conn.Close()
			}
		}
		return nil
	}
	got, err := store.Gate().Get(t.Context(), "key")
	c.Assert(err, qt.IsNil)
	c.Assert(got, qt.Equals, "value")
}

// Otherwise each record would wait for the timeout anew.
func TestALockedDatabaseEndsThePassAfterOneTimeout(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	path := filepath.Join(tempDir(t), "state.db")
	s := &spy{dsn: dsn(path)}
	store, err := sqlitestore.New(t.Context(), openSpied(t, s), sqlitestore.Options{BusyTimeout: time.Nanosecond})
	c.Assert(err, qt.IsNil)
	for i := range 20 {
		register(t, store, running(numbered("worker", i), before(t)))
	}
	end := begin(t, path)
	attempts := 0
	s.before = func(_ driver.Conn, query string) error {
		if query == "BEGIN IMMEDIATE" {
			attempts++
		}
		return nil
	}
	report, err := lifecycle.Cleaner{Store: store}.Clean(t.Context())
	c.Assert(err, qt.ErrorIs, lifecycle.ErrUnavailable)
	c.Assert(attempts, qt.Equals, 1)
	c.Assert([]int{report.Examined, report.Failed}, qt.DeepEquals, []int{1, 1})
	end()
	report, err = lifecycle.Cleaner{Store: store}.Clean(t.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(report.Stopped, qt.Equals, 20)
}
