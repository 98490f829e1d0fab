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
	db := openDB(t, filepath.Join(tempDir(t), "state.db"))
	store, err := sqlitestore.New(t.Context(), db, options)
	qt.New(t).Assert(err, qt.IsNil)
	return store, db
}

// subject is a Store as package storetest wants it.
type subject struct {
	*sqlitestore.Store
	t    *testing.T
	db   *sql.DB
	path string
}

func newSubject(t *testing.T, path string) subject {
	db := openDB(t, path)
	store, err := sqlitestore.New(t.Context(), db, sqlitestore.Options{})
	qt.New(t).Assert(err, qt.IsNil)
	return subject{store, t, db, path}
}

func (s subject) Put(ctx context.Context, record lifecycle.Record) error {
	return s.Store.Put(ctx, record)
}

func (s subject) Events(ctx context.Context) ([]lifecycle.Event, error) {
	return s.Store.Events(ctx, 0)
}

func (s subject) Reopen(context.Context) (storetest.Subject, error) {
	if err := s.db.Close(); err != nil {
		return nil, err
	}
	return newSubject(s.t, s.path), nil
}

func TestStoreKeepsTheRulesOfItsInterface(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		return newSubject(t, filepath.Join(tempDir(t), "state.db"))
	})
}

func TestGateKeepsTheRulesOfItsInterface(t *testing.T) {
	storetest.RunKV(t, func(t *testing.T) lifecycle.KV {
		store, _ := open(t, sqlitestore.Options{})
		return store.Gate()
	})
}
