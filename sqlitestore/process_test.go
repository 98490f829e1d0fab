package sqlitestore_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// cleanRole cleans a file at the same moment as others, once per boot if
// told so, and prints the report.
func cleanRole(args []string) error {
	if err := waitForStart(); err != nil {
		return err
	}
	db, err := openRoleDB(args[0])
	if err != nil {
		return err
	}
	defer db.Close()
	store, err := sqlitestore.New(context.Background(), db, sqlitestore.Options{})
	if err != nil {
		return err
	}
	cleaner := lifecycle.Cleaner{Store: store}
	var report lifecycle.Report
	if args[1] == "once" {
		report, err = cleaner.CleanOncePerBoot(context.Background(), &lifecycle.BootGate{KV: store.Gate()})
	} else {
		report, err = cleaner.Clean(context.Background())
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}

// cleanTogether has n processes clean a file at the same moment, and returns
// their reports.
func cleanTogether(t *testing.T, n int, path, how string) []lifecycle.Report {
	var reports []lifecycle.Report
	for _, p := range startTogether(t, n, "clean", path, how) {
		var report lifecycle.Report
		qt.New(t).Assert(json.Unmarshal([]byte(p.output(t)), &report), qt.IsNil)
		reports = append(reports, report)
	}
	return reports
}

// fillMixed fills a store with dead records and all kinds of others that must
// be left alone: those of living processes, of another owner, launching,
// inactive, and without a process. It returns the names of the dead.
func fillMixed(t *testing.T, store *sqlitestore.Store, dead int) []string {
	c := qt.New(t)
	gone := before(t)
	var living []liveness.Identity
	gun, trigger, err := os.Pipe()
	c.Assert(err, qt.IsNil)
	t.Cleanup(func() { gun.Close(); trigger.Close() })
	for range 3 {
		p := start(t, gun, "bystand")
		p.awaitUp(t)
		id, err := liveness.CaptureProcess(p.Process)
		c.Assert(err, qt.IsNil)
		living = append(living, id)
	}
	var all []string
	for i := range dead {
		name := numbered("dead", i)
		all = append(all, name)
		register(t, store, running(name, gone))
		if i%10 != 0 {
			continue
		}
		remote := running(numbered("remote", i), gone)
		remote.Owner = "another machine"
		unbound := running(numbered("hooked", i), liveness.Identity{})
		launching := running(numbered("launching", i), liveness.Identity{})
		launching.Phase, launching.Heartbeat = lifecycle.Launching, lifecycle.Beat(nil)
		inactive := running(numbered("inactive", i), liveness.Identity{})
		inactive.Phase = lifecycle.Inactive
		register(t, store, remote, unbound, launching, inactive,
			running(numbered("alive", i), self(t)), running(numbered("child", i), living[i%len(living)]))
	}
	return all
}

// assertCleaned checks that each of the dead has exactly one event, with a
// whole snapshot, that everything else is as it was, and that the file is
// sound.
func assertCleaned(t *testing.T, path string, dead []string, before map[string]string) {
	c := qt.New(t)
	s := newSubject(t, path)
	all := events(t, s.Store)
	seen := map[string]bool{}
	for _, event := range all {
		c.Assert(seen[event.Name], qt.IsFalse, qt.Commentf("a second event of %s", event.Name))
		seen[event.Name] = true
		want := running(event.Name, event.Snapshot.Identity)
		reason := beforeReason(t)
		if event.Snapshot.Parent != "" {
			reason = lifecycle.ReasonParentStopped
		}
		c.Assert([]string{event.By, event.Reason, event.Incarnation}, qt.DeepEquals, []string{lifecycle.BySystem, reason, want.Incarnation})
		c.Assert(event.Snapshot.SameState(want), qt.IsTrue)
		c.Assert(string(event.Snapshot.Data), qt.Equals, string(want.Data))
		c.Assert(event.Snapshot.CreatedAt.Equal(created), qt.IsTrue)
		c.Assert(event.Snapshot.Bindings, qt.DeepEquals, []string{"session of " + event.Name})
	}
	for _, name := range dead {
		c.Assert(seen[name], qt.IsTrue, qt.Commentf(name))
		delete(before, name)
	}
	c.Assert(all, qt.HasLen, len(dead))
	c.Assert(dump(t, s.db), qt.DeepEquals, before)
	c.Assert(value(t, s.db, `SELECT count(*) FROM rollcall_bindings WHERE record NOT IN (SELECT seq FROM rollcall_records)`), qt.Equals, "0")
	c.Assert(value(t, s.db, `PRAGMA integrity_check`), qt.Equals, "ok")
}

// roundsVariable is how often TestAfterARebootOneOfManyProcessesCleans does it,
// once without it.
const roundsVariable = "ROLLCALL_ROUNDS"

func TestAfterARebootOneOfManyProcessesCleans(t *testing.T) {
	t.Parallel()
	rounds := 1
	if text := os.Getenv(roundsVariable); text != "" {
		var err error
		rounds, err = strconv.Atoi(text)
		qt.Assert(t, err, qt.IsNil)
	}
	for range rounds {
		oneOfManyProcessesCleans(t)
	}
}

func oneOfManyProcessesCleans(t *testing.T) {
	c := qt.New(t)
	path := filepath.Join(tempDir(t), "state.db")
	s := newSubject(t, path)
	dead := fillMixed(t, s.Store, 100)
	before := dump(t, s.db)

	scans := 0
	for _, report := range cleanTogether(t, 64, path, "once") {
		if !report.GateClosed {
			scans++
			c.Assert(report.Stopped, qt.Equals, len(dead), qt.Commentf("%v", report))
			c.Assert(report.KeptBy, qt.DeepEquals, map[string]int{
				lifecycle.ReasonAlive: 20, lifecycle.ReasonUntracked: 10, lifecycle.ReasonLaunching: 10, lifecycle.ReasonAtRest: 10,
			})
			c.Assert(report.Skipped, qt.Equals, 10)
		}
	}
	c.Assert(scans, qt.Equals, 1)
	assertCleaned(t, path, dead, before)
}

func TestManyProcessesThatCleanAtOnceStopEachRecordOnce(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	path := filepath.Join(tempDir(t), "state.db")
	s := newSubject(t, path)
	dead := fillMixed(t, s.Store, 400)
	before := dump(t, s.db)

	total := 0
	for _, report := range cleanTogether(t, 8, path, "always") {
		total += report.Stopped
	}
	c.Assert(total, qt.Equals, len(dead))
	assertCleaned(t, path, dead, before)
}
