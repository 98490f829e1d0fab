//go:build cgo

package mattn_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	qt "github.com/frankban/quicktest"
	_ "github.com/mattn/go-sqlite3"

	"github.com/rollcall-go/rollcall/sqlitestore/internal/drivertest"
)

var driver = drivertest.Driver{
	Name:    "sqlite3",
	WAL:     "_journal_mode=WAL",
	Set:     "_busy_timeout=0&_synchronous=NORMAL",
	Plain:   "delete 5000 1",
	WithWAL: "wal 5000 1",
}

func TestDriver(t *testing.T) { driver.Run(t) }

// What other drivers take is ignored without an error.
func TestParametersOfOtherDriversAreIgnored(t *testing.T) {
	c := qt.New(t)
	db, err := sql.Open(driver.Name, "file:"+filepath.Join(t.TempDir(), "state.db")+"?_pragma=journal_mode(WAL)")
	c.Assert(err, qt.IsNil)
	defer db.Close()
	var mode string
	c.Assert(db.QueryRowContext(t.Context(), "PRAGMA journal_mode").Scan(&mode), qt.IsNil)
	c.Assert(mode, qt.Equals, "delete")
}
