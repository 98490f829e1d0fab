package sqlitestore_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// BenchmarkClosedGate is what every start of a program after the first one of
// a boot pays. Compare it with BenchmarkGateFloor.
func BenchmarkClosedGate(b *testing.B) {
	c := qt.New(b)
	store, _ := open(b, sqlitestore.Options{})
	gate := &lifecycle.BootGate{KV: store.Gate()}
	pass := func() (bool, error) { return gate.Do(b.Context(), func(context.Context) error { return nil }) }
	ran, err := pass()
	c.Assert(err, qt.IsNil)
	c.Assert(ran, qt.IsTrue)
	b.ReportAllocs()
	for b.Loop() {
		if ran, err := pass(); ran || err != nil {
			b.Fatal(ran, err)
		}
	}
}

// BenchmarkGateFloor is the least that a gate in the database can cost: the
// boot ID is read, and one row by a statement that is prepared.
func BenchmarkGateFloor(b *testing.B) {
	c := qt.New(b)
	const bootID = "/proc/sys/kernel/random/boot_id"
	if _, err := os.Stat(bootID); err != nil {
		b.Skip(err)
	}
	_, db := open(b, sqlitestore.Options{})
	execSQL(b, db, `INSERT INTO rollcall_gate (key, value) VALUES ('key', 'value')`)
	statement, err := db.PrepareContext(b.Context(), `SELECT value FROM rollcall_gate WHERE key = ?`)
	c.Assert(err, qt.IsNil)
	defer statement.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := os.ReadFile(bootID); err != nil {
			b.Fatal(err)
		}
		var value string
		if err := statement.QueryRowContext(b.Context(), "key").Scan(&value); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen is New on a file that has the tables, over an open database.
func BenchmarkOpen(b *testing.B) {
	_, db := open(b, sqlitestore.Options{})
	for b.Loop() {
		if _, err := sqlitestore.New(b.Context(), db, sqlitestore.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

// benchmarkClean is the pass after a reboot over n records, each with two bindings.
func benchmarkClean(b *testing.B, n int, options sqlitestore.Options, change ...string) {
	c := qt.New(b)
	dir := b.TempDir()
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		path := filepath.Join(dir, numbered("state", i))
		db, err := sql.Open("sqlite", dsn(path))
		c.Assert(err, qt.IsNil)
		store, err := sqlitestore.New(b.Context(), db, options)
		c.Assert(err, qt.IsNil)
		fill(b, db, n)
		for _, statement := range change {
			execSQL(b, db, statement)
		}
		b.StartTimer()
		report, err := lifecycle.Cleaner{Store: store}.Clean(b.Context())
		b.StopTimer()
		c.Assert(err, qt.IsNil)
		c.Assert(report.Stopped+report.AlreadyStopped, qt.Equals, n)
		c.Assert(db.Close(), qt.IsNil)
		c.Assert(os.Remove(path), qt.IsNil)
		b.StartTimer()
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkClean10k(b *testing.B)  { benchmarkClean(b, 10_000, sqlitestore.Options{}) }
func BenchmarkClean100k(b *testing.B) { benchmarkClean(b, 100_000, sqlitestore.Options{}) }

// Each second record is the child of the one before it.
func BenchmarkClean10kFamilies(b *testing.B) {
	benchmarkClean(b, 10_000, sqlitestore.Options{}, `UPDATE rollcall_records SET parent = printf('worker-%06d', seq - 2) WHERE seq % 2 = 0`)
}

func BenchmarkClean10kHook(b *testing.B) {
	benchmarkClean(b, 10_000, sqlitestore.Options{OnStop: func(context.Context, sqlitestore.Tx, lifecycle.Event) error { return nil }})
}

// fill fills a file with records of an earlier boot.
func fill(b *testing.B, db *sql.DB, n int) {
	identity := before(b)
	execSQL(b, db, `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 - 1)
		INSERT INTO rollcall_records (name, incarnation, owner, phase, identity, created_at, beat_boot, beat_awake, beat_wall, parent, data)
		SELECT printf('worker-%06d', i), printf('0197f000-0000-7000-8000-%012d', i), '', 'running', ?2, 1700000000000000000 + i, ?3, 1, NULL, '',
			'{"argv":["sh","-c","exit 1"],"directory":"/srv/work"}' FROM n`, n, identity.String(), identity.Boot.String())
	execSQL(b, db, `INSERT INTO rollcall_bindings SELECT seq, 'session-' || name FROM rollcall_records`)
	execSQL(b, db, `INSERT INTO rollcall_bindings SELECT seq, 'terminal-' || name FROM rollcall_records`)
	execSQL(b, db, `PRAGMA wal_checkpoint(TRUNCATE)`)
}

// BenchmarkStop stops one record, in a transaction that reaches the disk.
func BenchmarkStop(b *testing.B) {
	store, _ := open(b, sqlitestore.Options{})
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		record := running(numbered("worker", i), liveness.Identity{})
		register(b, store, record)
		b.StartTimer()
		if outcome, err := store.Stop(b.Context(), record, cause); outcome != lifecycle.Stopped || err != nil {
			b.Fatal(outcome, err)
		}
	}
}

func BenchmarkHeartbeat(b *testing.B) {
	store, _ := open(b, sqlitestore.Options{})
	record := running("worker", liveness.Identity{})
	register(b, store, record)
	for b.Loop() {
		if err := store.Heartbeat(b.Context(), record); err != nil {
			b.Fatal(err)
		}
	}
}
