package filestore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/filestore"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

// newGate returns the path of a gate with a closed key, and that key.
func newGate(t testing.TB) (path, key string) {
	path = filepath.Join(tempDir(t), "gate")
	key = "rollcall/clean/34f1d24a-ac65-41c6-9747-1a33e1cba659/4026531836.4026531836.1/"
	swap(t, filestore.Gate(path), key, "", "done 12851140756438")
	return path, key
}

// BenchmarkGateGet is what a closed gate costs besides the boot ID. Compare it
// with BenchmarkGateFloor.
func BenchmarkGateGet(b *testing.B) {
	path, key := newGate(b)
	gate := filestore.Gate(path)
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if value, err := gate.Get(ctx, key); value == "" || err != nil {
			b.Fatal(value, err)
		}
	}
}

// BenchmarkClosedGate is what every start of a program after the first one of a
// boot pays.
func BenchmarkClosedGate(b *testing.B) {
	c := qt.New(b)
	gate := &lifecycle.BootGate{KV: filestore.Gate(filepath.Join(tempDir(b), "gate"))}
	pass := func() (bool, error) { return gate.Do(b.Context(), func(context.Context) error { return nil }) }
	_, err := pass()
	c.Assert(err, qt.IsNil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := pass(); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkClean(b *testing.B, n int) {
	c := qt.New(b)
	for b.Loop() {
		b.StopTimer()
		dir := tempDir(b)
		fill(b, dir, n, before(b))
		b.StartTimer()
		store := open(b, dir, filestore.Options{})
		report, err := lifecycle.Cleaner{Store: store}.Clean(b.Context())
		b.StopTimer()
		c.Assert(err, qt.IsNil)
		c.Assert(report.Stopped, qt.Equals, n)
		c.Assert(os.RemoveAll(dir), qt.IsNil)
		b.StartTimer()
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// The pass after a reboot, opening included.
func BenchmarkClean1k(b *testing.B)   { benchmarkClean(b, 1000) }
func BenchmarkClean10k(b *testing.B)  { benchmarkClean(b, 10_000) }
func BenchmarkClean100k(b *testing.B) { benchmarkClean(b, 100_000) }

// BenchmarkOpen is what a start of a program pays for its first call.
func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := tempDir(b)
			fill(b, dir, n, before(b))
			for b.Loop() {
				if _, err := filestore.New(b.Context(), dir, filestore.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkHeartbeat(b *testing.B) {
	store := open(b, tempDir(b), filestore.Options{})
	record := running("worker", liveness.Identity{})
	register(b, store, record)
	for b.Loop() {
		if err := store.Heartbeat(b.Context(), record); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStop stops one record, flushed to the disk, out of 1,000.
func BenchmarkStop(b *testing.B) {
	dir := tempDir(b)
	fill(b, dir, 1000, before(b))
	store := open(b, dir, filestore.Options{})
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		record := running(numbered("one", i), liveness.Identity{})
		register(b, store, record)
		b.StartTimer()
		if outcome, err := store.Stop(b.Context(), record, cause); outcome != lifecycle.Stopped || err != nil {
			b.Fatal(outcome, err)
		}
	}
}
