package sqlitestore_test

import (
	"context"
	"database/sql/driver"
	"path/filepath"
	"strings"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/sqlitestore"
	"github.com/rollcall-go/rollcall/sqlitestore/internal/drivertest"
)

func TestSetsAreStoppedAsOneByOne(t *testing.T) {
	t.Parallel()
	drivertest.Driver{Name: "sqlite"}.Sets(t)
}

// stopsOf registers records, and returns their stops.
func stopsOf(t *testing.T, store *sqlitestore.Store, records ...lifecycle.Record) (stops []lifecycle.Stop) {
	register(t, store, records...)
	for _, record := range records {
		stops = append(stops, lifecycle.Stop{Record: record, Cause: cause})
	}
	return stops
}

func workers(t *testing.T, n int) (records []lifecycle.Record) {
	for i := range n {
		records = append(records, running(numbered("worker", i), self(t)))
	}
	return records
}

func TestWhatIsStoppedInSets(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		records int
		change  string
		atLeast int // of the records in sets
	}{
		{"simple records, more than a set", 300, "", 300},
		{"parents with a child each", 100, `INSERT INTO rollcall_records
			SELECT seq + 1000, 'child of ' || name, incarnation, owner, phase, identity, created_at, beat_boot, beat_awake, beat_wall, name, data FROM rollcall_records`, 200},
		{"parents with more children than a set takes", 100, `INSERT INTO rollcall_records
			SELECT r.seq * 1000 + n.value, n.value || ' of ' || name, incarnation, owner, phase, identity, created_at, beat_boot, beat_awake, beat_wall, name, data
			FROM rollcall_records AS r, json_each('[1,2,3,4,5]') AS n`, 600},
		{"a chain", 200, `UPDATE rollcall_records SET parent = coalesce((SELECT name FROM rollcall_records AS p WHERE p.seq = rollcall_records.seq - 1), '')`, 200},
		{"other families than one that is too big", 60, `INSERT INTO rollcall_records
			SELECT 1000 + n.seq * 60 + r.seq, 'child ' || (n.seq * 60 + r.seq), r.incarnation, r.owner, r.phase, r.identity, r.created_at, r.beat_boot, r.beat_awake, r.beat_wall,
				(SELECT name FROM rollcall_records WHERE seq = 30), r.data FROM rollcall_records AS n, rollcall_records AS r WHERE n.seq <= 5`, 59},
		{"other sets than that of a blob", 600, `UPDATE rollcall_records SET phase = CAST(phase AS BLOB) WHERE seq = 600`, 512},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			store, db := open(t, sqlitestore.Options{})
			stops := stopsOf(t, store, workers(t, test.records)...)
			if test.change != "" {
				execSQL(t, db, test.change)
			}
			n, err := store.StopBatch(t.Context(), stops)
			c.Assert(err, qt.IsNil)
			c.Assert(n, qt.Equals, len(stops))
			c.Assert(names(t, store), qt.HasLen, 0)
			inSets := drivertest.InSets(t, db)
			c.Assert(inSets >= test.atLeast, qt.IsTrue, qt.Commentf("%d in sets", inSets))
		})
	}
}

func TestASlowHookDoesNotKeepOthersFromWriting(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	const n, children = 32, 2
	s := &spy{dsn: dsn(filepath.Join(tempDir(t), "state.db"))}
	store, err := sqlitestore.New(t.Context(), openSpied(t, s), sqlitestore.Options{OnStop: func(context.Context, sqlitestore.Tx, lifecycle.Event) error {
		<-time.After(3 * time.Millisecond)
		return nil
	}})
	c.Assert(err, qt.IsNil)
	parents := workers(t, n)
	stops := stopsOf(t, store, parents...)
	for _, parent := range parents {
		for i := range children {
			child := running(numbered("child of "+parent.Name, i), self(t))
			child.Parent = parent.Name
			register(t, store, child)
		}
	}
	commits := 0
	s.before = func(_ driver.Conn, query string) error {
		if query == "COMMIT" {
			commits++
		}
		return nil
	}
	_, err = store.StopBatch(t.Context(), stops)
	c.Assert(err, qt.IsNil)
	// At most the 7 hooks of 20 ms, and 16 of the sets that were begun before.
	c.Assert(commits >= n*(1+children)/(7+16), qt.IsTrue, qt.Commentf("%d", commits))
}

func TestAHookThatFailsIsCalledForFewOthersAgain(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	calls := 0
	store, _ := open(t, sqlitestore.Options{OnStop: func(_ context.Context, _ sqlitestore.Tx, event lifecycle.Event) error {
		calls++
		<-time.After(5 * time.Millisecond)
		if strings.Contains(event.Name, "refused") {
			return errHook
		}
		return nil
	}})
	records := append(workers(t, 63), running("worker-refused", self(t)))
	n, err := store.StopBatch(t.Context(), stopsOf(t, store, records...))
	c.Assert(err, qt.ErrorIs, errHook)
	c.Assert(n, qt.Equals, 63)
	// All; those of the last set, in which it is, up to twice more; and then it alone.
	c.Assert(calls <= 64+8+8+1, qt.IsTrue, qt.Commentf("%d", calls))
}
