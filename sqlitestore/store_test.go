package sqlitestore_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	qt "github.com/frankban/quicktest"
	_ "modernc.org/sqlite"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/storetest"
	"github.com/rollcall-go/rollcall/sqlitestore"
	"github.com/rollcall-go/rollcall/sqlitestore/internal/drivertest"
)

// dsn opens a file as a host would that cares for its readers.
func dsn(path string) string { return "file:" + path + "?_pragma=journal_mode(WAL)" }

func openDB(t testing.TB, path string) *sql.DB {
	c := qt.New(t)
	db, err := sql.Open("sqlite", dsn(path))
	c.Assert(err, qt.IsNil)
	t.Cleanup(func() { db.Close() })
	return db
}

func open(t testing.TB, options sqlitestore.Options) (*sqlitestore.Store, *sql.DB) {
	return openFile(t, filepath.Join(tempDir(t), "state.db"), options)
}

func openFile(t testing.TB, path string, options sqlitestore.Options) (*sqlitestore.Store, *sql.DB) {
	db := openDB(t, path)
	store, err := sqlitestore.New(t.Context(), db, options)
	qt.New(t).Assert(err, qt.IsNil)
	return store, db
}

// harness is a file.
type harness struct {
	t    *testing.T
	path string
}

var (
	_ storetest.Addressed    = harness{}
	_ storetest.Garbler      = harness{}
	_ storetest.EventGarbler = harness{}
	_ storetest.Filler       = harness{}
	_ storetest.Putter       = (*sqlitestore.Store)(nil)
)

func newHarness(t *testing.T, address string) storetest.Harness {
	if address == "" {
		address = filepath.Join(tempDir(t), "state.db")
		t.Cleanup(func() { assertSound(t, address) })
	}
	return harness{t, address}
}

// assertSound checks that a file is whole, and that no binding has outlived its
// record.
func assertSound(t *testing.T, path string) {
	c := qt.New(t)
	db, err := sql.Open("sqlite", dsn(path))
	c.Assert(err, qt.IsNil)
	defer db.Close()
	var sound string
	var left int
	row := db.QueryRow(`SELECT integrity_check, (SELECT count(*) FROM rollcall_bindings WHERE record NOT IN (SELECT seq FROM rollcall_records))
		FROM pragma_integrity_check`)
	c.Check(row.Scan(&sound, &left), qt.IsNil)
	c.Check(sound, qt.Equals, "ok")
	c.Check(left, qt.Equals, 0)
}

// Open opens the file once more, as another process would.
func (h harness) Open(ctx context.Context, options storetest.Options) (lifecycle.Registrar, error) {
	all := sqlitestore.Options{Owner: options.Owner, Clock: options.Clock}
	if options.OnStop != nil {
		all.OnStop = func(ctx context.Context, _ sqlitestore.Tx, event lifecycle.Event) error {
			return options.OnStop(ctx, event)
		}
	}
	return sqlitestore.New(ctx, openDB(h.t, h.path), all)
}

func (h harness) Address() string { return h.path }

func (h harness) Fill(ctx context.Context, records []lifecycle.Record) error {
	return drivertest.Fill(ctx, openDB(h.t, h.path), records)
}

func (h harness) Garblings() (all []storetest.Garbling) {
	for _, way := range garbled {
		all = append(all, storetest.Garbling{Name: way.name, Text: way.text, Spoil: func(ctx context.Context, name string) error {
			_, err := openDB(h.t, h.path).ExecContext(ctx, `UPDATE rollcall_records SET `+way.set+` WHERE name = ?`, name)
			return err
		}})
	}
	return all
}

func (h harness) GarbleEvent(ctx context.Context, name string) error {
	_, err := openDB(h.t, h.path).ExecContext(ctx, `UPDATE rollcall_events SET snapshot = '{' WHERE name = ?`, name)
	return err
}

func TestStoreKeepsTheRulesOfItsInterface(t *testing.T) {
	t.Parallel()
	storetest.RunRegistrar(t, newHarness)
}
