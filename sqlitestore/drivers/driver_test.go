package drivers_test

import (
	"database/sql"
	"os"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/sqlitestore/internal/drivertest"
)

var driver = drivertest.Driver{
	Name:    "sqlite3",
	WAL:     "_pragma=journal_mode(WAL)",
	Set:     "_pragma=busy_timeout(0)&_pragma=synchronous(NORMAL)",
	Plain:   "delete 60000 2",
	WithWAL: "wal 0 1",
}

func TestDriver(t *testing.T) {
	t.Parallel()
	driver.Run(t)
}

// Without "file:" all of it is the name of a file.
func TestParametersNeedAURI(t *testing.T) {
	c := qt.New(t)
	t.Chdir(t.TempDir())
	db, err := sql.Open(driver.Name, "state.db?_pragma=journal_mode(WAL)")
	c.Assert(err, qt.IsNil)
	defer db.Close()
	var mode string
	c.Assert(db.QueryRowContext(t.Context(), "PRAGMA journal_mode").Scan(&mode), qt.IsNil)
	c.Assert(mode, qt.Equals, "delete")
	_, err = db.ExecContext(t.Context(), "CREATE TABLE host (a)")
	c.Assert(err, qt.IsNil)
	_, err = os.Stat("state.db")
	c.Assert(err, qt.ErrorIs, os.ErrNotExist)
}
