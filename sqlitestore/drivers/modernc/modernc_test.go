package modernc_test

import (
	"testing"

	_ "modernc.org/sqlite"

	"github.com/rollcall-go/rollcall/sqlitestore/internal/drivertest"
)

var driver = drivertest.Driver{
	Name:    "sqlite",
	WAL:     "_pragma=journal_mode(WAL)",
	Set:     "_pragma=busy_timeout(0)&_pragma=synchronous(NORMAL)",
	Plain:   "delete 0 2",
	WithWAL: "wal 0 2",
}

func TestDriver(t *testing.T) { driver.Run(t) }
