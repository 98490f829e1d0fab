package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// storeIn opens the store of the supervisors in a directory.
func storeIn(c *qt.C, dir string) *sqlitestore.Store {
	c.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "supervisor.db"))
	c.Assert(err, qt.IsNil)
	c.Cleanup(func() { db.Close() })
	store, err := sqlitestore.New(c.Context(), db, sqlitestore.Options{})
	c.Assert(err, qt.IsNil)
	return store
}

func eventsIn(c *qt.C, dir string) (events []lifecycle.Event) {
	c.Helper()
	for store := storeIn(c, dir); ; {
		page, err := store.Events(c.Context(), int64(len(events)))
		c.Assert(err, qt.IsNil)
		if len(page) == 0 {
			return events
		}
		events = append(events, page...)
	}
}

func recordsIn(c *qt.C, dir string) []lifecycle.Record {
	c.Helper()
	records, err := storeIn(c, dir).Records(c.Context())
	c.Assert(err, qt.IsNil)
	return records
}

// A supervisor that is killed between the start of a worker and its record leaves
// this: a record without a process, and a process without a record.
func TestUnrecordedWorkers(t *testing.T) {
	c := inParallel(t)
	workers, dir := newPool(c), c.TempDir()
	store := storeIn(c, dir)
	startUnrecorded := func() data {
		cmd := proctest.Command("worker", workers.Addr().String())
		marker := liveness.Plant(cmd)
		c.Assert(cmd.Start(), qt.IsNil)
		c.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
		})
		return data{Marker: marker}
	}
	launch := func(name string, d data) lifecycle.Record {
		text, err := json.Marshal(d)
		c.Assert(err, qt.IsNil)
		record, err := store.Launch(c.Context(), lifecycle.Record{Name: name, Data: text})
		c.Assert(err, qt.IsNil)
		return record
	}

	// worker-1 was started and not recorded, worker-2 not even started, and of
	// worker-3, which the new supervisor does not want, the record was stopped and
	// the process not ended.
	launch("worker-1", startUnrecorded())
	left := workers.waitFor(c, 1)[0]
	launch("worker-2", data{Marker: "nobody's"})
	stopped := launch("worker-3", startUnrecorded())
	_, err := store.Stop(c.Context(), stopped, lifecycle.Cause{Reason: "shutdown"})
	c.Assert(err, qt.IsNil)
	stranger := startUnrecorded() // of which this supervisor knows nothing
	workers.waitFor(c, 3)

	p := supervise(c, workers.command("worker"), "-dir", dir, "-n", "2", "-backoff", "1ms")
	c.Check(p.expect(c, 1, "adopted")[0], qt.Equals, row{"worker-1", "adopted", left, 0})
	c.Check(p.expect(c, 1, lifecycle.ReasonLaunchFailed)[0].name, qt.Equals, "worker-2")
	c.Check(p.expect(c, 1, "running")[0].name, qt.Equals, "worker-2")
	workers.waitFor(c, 3) // with the stranger
	p.interrupt(c)
	alive := workers.waitFor(c, 1)
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", alive[0]))
	if err == nil { // of Linux
		c.Check(string(environ), qt.Contains, stranger.Marker)
	}
}

// A PID alone does not tell whose it is.
func TestUnknownIsNotDead(t *testing.T) {
	c := inParallel(t)
	workers, dir := newPool(c), c.TempDir()
	store := storeIn(c, dir)
	stranger := proctest.Start(c, proctest.Command("hold"))
	unknown := liveness.Identity{PID: stranger.PID()}
	record, err := store.Launch(c.Context(), lifecycle.Record{Name: "worker-1"})
	c.Assert(err, qt.IsNil)
	c.Assert(store.Activate(c.Context(), record, unknown), qt.IsNil)
	claimed, err := store.Gate().CompareAndSwap(c.Context(), claimKey, "", unknown.String())
	c.Assert(err, qt.IsNil)
	c.Assert(claimed, qt.IsTrue)

	p := supervise(c, workers.command("worker"), "-dir", dir)
	for p.line() {
	}
	c.Check(p.stderr.String(), qt.Matches, `supervisor: it is not known whether the supervisor of .*, PID \d+, is alive \(unknown: .*\): if .*, add -force\n`)

	p = supervise(c, workers.command("worker"), "-dir", dir, "-n", "1", "-force")
	c.Check(p.expect(c, 1, "unknown")[0].pid, qt.Equals, stranger.PID())
	c.Assert(p.Process.Signal(os.Interrupt), qt.IsNil)
	for p.line() {
	}
	c.Check(p.stderr.String(), qt.Matches, `supervisor: lifecycle: end the process of "worker-1": the record is stopped, but its process was not ended: .*\n`)
	c.Check(p.ProcessState.ExitCode(), qt.Equals, 1)
	started, _ := workers.counts()
	c.Check(started, qt.Equals, 0)
	c.Check(stranger.Process.Signal(syscall.Signal(0)), qt.IsNil)
}
