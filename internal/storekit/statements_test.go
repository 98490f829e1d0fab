package storekit_test

import (
	"sync"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/storekit"
)

func TestStatementsNameTheTables(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	s := storekit.NewStatements("rollcall_", `"a schema".my_`)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			c.Check(s.Text("SELECT 1 FROM rollcall_a, rollcall_b"), qt.Equals, `SELECT 1 FROM "a schema".my_a, "a schema".my_b`)
			c.Check(s.Text("SELECT 1"), qt.Equals, "SELECT 1")
		})
	}
	wg.Wait()
}
