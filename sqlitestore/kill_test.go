package sqlitestore_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// killsVariable is how many cleaners TestCleanersAreKilledAtAnyInstant kills.
const killsVariable = "ROLLCALL_KILLS"

// oneByOne is a store without its ability to stop in batches.
type oneByOne struct{ lifecycle.Store }

// killedRole cleans a file once per boot. Its arguments are the file, the name
// of the gate, "batch" or "single", the number of stops in the midst of which it
// kills itself, or 0, and "alone" if no other is at it.
func killedRole(args []string) error {
	stops, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	db, err := openRoleDB(args[0])
	if err != nil {
		return err
	}
	defer db.Close()
	fmt.Print("b")                  // it begins
	var options sqlitestore.Options // without a hook records are stopped in sets
	if stops > 0 {
		options.OnStop = func(context.Context, sqlitestore.Tx, lifecycle.Event) error {
			if stops--; stops == 0 {
				self, err := os.FindProcess(os.Getpid())
				if err == nil {
					err = self.Kill()
				}
				if err != nil {
					return err
				}
				select {}
			}
			return nil
		}
	}
	store, err := sqlitestore.New(context.Background(), db, options)
	if err != nil {
		return err
	}
	cleaner := lifecycle.Cleaner{Store: store}
	if args[2] == "single" {
		cleaner.Store = oneByOne{store}
	}
	report, err := cleaner.CleanOncePerBoot(context.Background(), &lifecycle.BootGate{KV: store.Gate(), Name: args[1]})
	if err == nil && report.GateClosed && args[4] == "alone" {
		err = fmt.Errorf("the gate was closed before a pass was complete")
	}
	return err
}

// addDead adds n dead records, made after one that fillMixed left, and returns
// their names. Every fifth is the child of the one before.
func addDead(t testing.TB, db *sql.DB, prefix string, n int) []string {
	execSQL(t, db, `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?2 - 1)
		INSERT INTO rollcall_records (name, incarnation, owner, phase, identity, created_at, beat_boot, beat_awake, beat_wall, parent, data)
		SELECT printf('%s-%04d', ?1, i), printf('of %s-%04d', ?1, i), '', phase, identity, created_at, beat_boot, beat_awake, beat_wall,
			CASE i % 5 WHEN 4 THEN printf('%s-%04d', ?1, i - 1) ELSE '' END, data
		FROM n, rollcall_records WHERE name = 'remote-0000'`, prefix, n)
	execSQL(t, db, `INSERT INTO rollcall_bindings SELECT seq, 'session of ' || name FROM rollcall_records WHERE name GLOB ?1 || '-*'`, prefix)
	var all []string
	for i := range n {
		all = append(all, numbered(prefix, i))
	}
	return all
}

// TestCleanersAreKilledAtAnyInstant kills cleaners: at a random time, or at a
// random stop, in the midst of its transaction. After each it looks at what is
// in the file, and starts the next one on it until one completes its pass.
func TestCleanersAreKilledAtAnyInstant(t *testing.T) {
	t.Parallel()
	killAndCheck(t, kills(t), 1)
}

// TestSeveralCleanersAreKilledAtOnce does so to several that are at one file:
// whoever is left, or comes next, takes over from the one that had claimed the
// gate.
func TestSeveralCleanersAreKilledAtOnce(t *testing.T) {
	t.Parallel()
	killAndCheck(t, kills(t)/2, 4)
}

// kills is how many cleaners a test kills.
func kills(t *testing.T) int {
	text := os.Getenv(killsVariable)
	if text == "" {
		return 20
	}
	n, err := strconv.Atoi(text)
	qt.Assert(t, err, qt.IsNil)
	return n
}

// killAndCheck starts some cleaners at a time until enough were killed, on one
// file after the other: looking at a file takes longer the more is in it.
func killAndCheck(t *testing.T, kills, together int) {
	const roundsPerFile = 10
	c := qt.New(t)
	k := &killing{T: t, longest: 20 * time.Millisecond}
	rounds, records := 0, 0
	for k.byTime+k.byStop < kills {
		k.path = filepath.Join(tempDir(t), "state.db")
		store, db := openFile(t, k.path, sqlitestore.Options{})
		dead := fillMixed(t, store, 10)
		rows := dump(t, db)
		c.Assert(db.Close(), qt.IsNil)
		for n := 0; n < roundsPerFile && k.byTime+k.byStop < kills; n++ {
			prefix := fmt.Sprintf("round%d", rounds)
			db := openDB(t, k.path)
			dead = append(dead, addDead(t, db, prefix, 200)...)
			maps.Copy(rows, dump(t, db))
			c.Assert(db.Close(), qt.IsNil)
			for completed := false; !completed; {
				completed = k.run(prefix, together)
			}
			rounds++
		}
		assertCleaned(t, k.path, dead, rows)
		records += len(dead)
	}
	t.Logf("%d kills, %d by time and %d in a transaction; %d passes completed, %d records", k.byTime+k.byStop, k.byTime, k.byStop, rounds, records)
	if together == 1 {
		t.Logf("%d kills before, %d within and %d after a pass", k.before, k.within, k.after)
	}
}

// killing is the state of killAndCheck.
type killing struct {
	*testing.T
	path string

	mu                    sync.Mutex
	longest               time.Duration // until a kill by time, about that of a pass
	byTime, byStop        int
	before, within, after int // of the kills, by how much of the pass was done
}

// run starts some cleaners that may be killed, and reports whether a pass was
// completed: that one may have been killed after it.
func (k *killing) run(gate string, together int) (completed bool) {
	how := "alone"
	if together > 1 {
		how = "together"
	}
	killed := make([]bool, together)
	var wg sync.WaitGroup
	for i := range together {
		mode := []string{"batch", "single"}[rand.N(2)]
		stops, byTime := 0, rand.N(2) == 0
		if !byTime {
			stops = 1 + rand.N(250) // sometimes more than there are
		}
		p := start(k, nil, "killed", k.path, gate, mode, strconv.Itoa(stops), how)
		wg.Go(func() { killed[i] = k.kill(p, byTime) })
	}
	wg.Wait()
	return k.check(gate, slices.Contains(killed, true), together)
}

// kill kills a cleaner at some time, or waits for it, and reports whether it
// was killed.
func (k *killing) kill(p *child, byTime bool) (killed bool) {
	c := qt.New(k)
	_, err := io.ReadFull(p.stdout, make([]byte, 1))
	c.Check(err, qt.IsNil, qt.Commentf("%s", &p.stderr))
	k.mu.Lock()
	longest := k.longest
	k.mu.Unlock()
	began := time.Now()
	if byTime {
		time.Sleep(rand.N(longest)) // the kill is to come at any instant
		_ = p.Process.Kill()
	}
	_, err = io.ReadAll(p.stdout)
	c.Check(err, qt.IsNil)
	err = p.Wait()
	c.Check(p.stderr.String(), qt.Equals, "")
	if err != nil && runtime.GOOS != "windows" {
		c.Check(err, qt.ErrorMatches, "signal: killed")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err == nil: // as long as a pass takes, more or less
		k.longest = (3*k.longest + time.Since(began)) / 4
	case byTime:
		k.byTime++
	default:
		k.byStop++
	}
	return err != nil
}

// check checks the file after the end of some cleaners, and reports whether a
// pass was completed.
func (k *killing) check(gate string, killed bool, together int) (completed bool) {
	c := qt.New(k)
	db := openDB(k, k.path)
	defer db.Close()
	left := value(k, db, `SELECT count(*) FROM rollcall_records WHERE name GLOB ?1 || '-*'`, gate)
	state := value(k, db, `SELECT coalesce((SELECT value FROM rollcall_gate WHERE key GLOB 'rollcall/' || ?1 || '/*'), 'none')`, gate)
	state, _, _ = strings.Cut(state, " ")
	comment := qt.Commentf("gate %s, %s records left", state, left)
	c.Assert(slices.Contains([]string{"none", "claimed", "done"}, state), qt.IsTrue, comment)
	completed = state == "done"
	if completed {
		c.Assert(left, qt.Equals, "0", comment)
	}
	switch {
	case !killed && together == 1:
		c.Assert(completed, qt.IsTrue, comment)
	case together > 1: // who was killed at what is not known
	case left == "200":
		k.before++
	case left == "0":
		k.after++
	default:
		k.within++
	}
	c.Assert(value(k, db, `SELECT ?2 + 0 + count(*) FROM rollcall_events WHERE name GLOB ?1 || '-*'`, gate, left), qt.Equals, "200", comment)
	c.Assert(value(k, db, `SELECT count(*) FROM rollcall_records AS r JOIN rollcall_events AS e ON e.name = r.name`), qt.Equals, "0", comment)
	c.Assert(value(k, db, `SELECT count(*) FROM rollcall_bindings AS b LEFT JOIN rollcall_records AS r ON r.seq = b.record
		WHERE r.name IS NULL OR b.key <> 'session of ' || r.name`), qt.Equals, "0", comment)
	return completed
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
	store, db := openFile(t, path, sqlitestore.Options{})
	all := events(t, store)
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
	c.Assert(dump(t, db), qt.DeepEquals, before)
	c.Assert(value(t, db, `SELECT count(*) FROM rollcall_bindings WHERE record NOT IN (SELECT seq FROM rollcall_records)`), qt.Equals, "0")
	c.Assert(value(t, db, `PRAGMA integrity_check`), qt.Equals, "ok")
}
