package sqlitestore_test

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

var errFault = errors.New("injected fault")

// faults are what may go wrong at one statement. A driver that is cancelled
// while a statement ends returns the context's error for one that was executed.
var faults = []struct {
	name          string
	before, after func(cancel func()) error
}{
	{"fails", func(func()) error { return errFault }, nil},
	{"fails after it was executed", nil, func(func()) error { return errFault }},
	{"is cancelled", func(cancel func()) error { cancel(); return nil }, nil},
	{"is cancelled after it was executed", nil, func(cancel func()) error { cancel(); return context.Canceled }},
}

// TestAnOperationIsWholeOrUndoneWhereverItFails has each operation fail at its
// first statement, at its second, and so on.
func TestAnOperationIsWholeOrUndoneWhereverItFails(t *testing.T) {
	t.Parallel()
	for _, op := range operations {
		for _, fault := range faults {
			t.Run(op.name+" "+fault.name, func(t *testing.T) {
				t.Parallel()
				c := qt.New(t)
				path := filepath.Join(tempDir(t), "state.db")
				s := &spy{dsn: dsn(path) + "&_pragma=synchronous(OFF)&_pragma=busy_timeout(99)"}
				db := openSpied(t, s)
				store, err := sqlitestore.New(t.Context(), db, sqlitestore.Options{OnStop: refuse})
				c.Assert(err, qt.IsNil)
				watcher := openDB(t, path)

				reached := true
				for at := 1; reached; at++ {
					record := running(numbered("worker", at), liveness.Identity{})
					register(t, store, record)
					before := dump(t, watcher)[record.Name]
					ctx, cancel := context.WithCancel(t.Context())
					var n int
					var query string
					inject := func(f func(func()) error) func(driver.Conn, string) error {
						return func(_ driver.Conn, q string) error {
							if n++; n != at || f == nil {
								return nil
							}
							query = q
							return f(cancel)
						}
					}
					if fault.before != nil {
						s.before = inject(fault.before)
					} else {
						s.after = inject(fault.after)
					}
					err := op.call(ctx, store, record)
					reached = n >= at
					s.before, s.after = nil, nil
					cancel()

					comment := qt.Commentf("statement %d, %s, error %v", at, query, err)
					c.Assert(settings(t, db), qt.Equals, "busy_timeout 99 synchronous 0 journal_mode wal", comment)
					assertWhole(t, watcher, record.Name, comment)
					if err != nil && query != "COMMIT" && !strings.HasPrefix(op.name, "stop, refused") {
						c.Assert(dump(t, watcher)[record.Name], qt.Equals, before, comment)
					}
				}
			})
		}
	}
}

func TestAConnectionThatStaysInItsTransactionIsThrownAway(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	s := &spy{dsn: dsn(filepath.Join(tempDir(t), "state.db"))}
	db := openSpied(t, s)
	store, err := sqlitestore.New(t.Context(), db, sqlitestore.Options{OnStop: refuse})
	c.Assert(err, qt.IsNil)
	record := running("refused", liveness.Identity{})
	record.Name = "refused for good"
	register(t, store, record)

	s.before = func(_ driver.Conn, query string) error {
		if query == "ROLLBACK" {
			return errFault
		}
		return nil
	}
	_, err = store.Stop(t.Context(), record, cause)
	c.Assert(err, qt.ErrorIs, errHook)
	s.before = nil
	c.Assert(s.closed.Load(), qt.Equals, int32(1))
	settings(t, db)
	c.Assert(names(t, store), qt.DeepEquals, []string{"refused for good"})
	c.Assert(events(t, store), qt.HasLen, 0)
}

func TestAConnectionWhoseSettingsCannotBePutBackIsThrownAway(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{"synchronous = 1", "busy_timeout = 99"} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			s := &spy{dsn: dsn(filepath.Join(tempDir(t), "state.db")) + "&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(99)"}
			db := openSpied(t, s)
			store, err := sqlitestore.New(t.Context(), db, sqlitestore.Options{})
			c.Assert(err, qt.IsNil)
			s.before = func(_ driver.Conn, query string) error {
				if query == "PRAGMA "+setting {
					return errFault
				}
				return nil
			}
			_, err = store.Launch(t.Context(), lifecycle.Record{Name: "worker"})
			c.Assert(err, qt.IsNil)
			s.before = nil
			c.Assert(s.closed.Load(), qt.Equals, int32(1))
			c.Assert(settings(t, db), qt.Equals, "busy_timeout 99 synchronous 1 journal_mode wal")
		})
	}
}

// SQLite ends a transaction by itself when a write is interrupted or the disk
// is full. A database in memory must not be thrown away for that.
func TestADatabaseInMemoryOutlivesATransactionThatEndedByItself(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	s := &spy{dsn: ":memory:"}
	db := openSpied(t, s)
	store, err := sqlitestore.New(t.Context(), db, sqlitestore.Options{
		OnStop: func(ctx context.Context, tx sqlitestore.Tx, _ lifecycle.Event) error {
			_, err := tx.ExecContext(ctx, "ROLLBACK")
			return errors.Join(errHook, err)
		},
	})
	c.Assert(err, qt.IsNil)
	record := running("worker", liveness.Identity{})
	register(t, store, record)
	_, err = store.Stop(t.Context(), record, cause)
	c.Assert(err, qt.ErrorIs, errHook)
	c.Assert(s.closed.Load(), qt.Equals, int32(0))
	c.Assert(names(t, store), qt.DeepEquals, []string{"worker"})
	c.Assert(events(t, store), qt.HasLen, 0)
}

func TestACancelledNewDoesNotTalkOfForeignTables(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	s := &spy{dsn: dsn(filepath.Join(tempDir(t), "state.db"))}
	db := openSpied(t, s)
	_, err := sqlitestore.New(t.Context(), db, sqlitestore.Options{})
	c.Assert(err, qt.IsNil)
	var at, n atomic.Int32
	for at.Store(1); n.Load() == 0 || n.Load() >= at.Load(); at.Add(1) {
		ctx, cancel := context.WithCancel(t.Context())
		n.Store(0)
		s.before = func(driver.Conn, string) error {
			if n.Add(1) == at.Load() {
				cancel()
			}
			return nil
		}
		_, err := sqlitestore.New(ctx, db, sqlitestore.Options{})
		cancel()
		comment := qt.Commentf(fmt.Sprint("statement ", at.Load()))
		c.Assert(errors.Is(err, sqlitestore.ErrForeignSchema), qt.IsFalse, comment)
		if err != nil {
			c.Assert(err, qt.ErrorIs, context.Canceled, comment)
		}
	}
}
