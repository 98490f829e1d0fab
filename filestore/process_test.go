package filestore_test

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/filestore"
	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

// together runs n processes in a role from the same moment on, and returns what
// they have written.
func together(t *testing.T, n int, command func(i int) *exec.Cmd) []string {
	c := qt.New(t)
	gun, trigger, err := os.Pipe()
	c.Assert(err, qt.IsNil)
	type running struct {
		*exec.Cmd
		stdout io.Reader
		stderr strings.Builder
	}
	children := make([]*running, n)
	for i := range children {
		p := &running{Cmd: command(i)}
		children[i] = p
		p.Stdin, p.Stderr = gun, &p.stderr
		p.stdout, err = p.StdoutPipe()
		c.Assert(err, qt.IsNil)
		c.Assert(p.Start(), qt.IsNil)
		t.Cleanup(func() {
			if p.ProcessState == nil {
				_ = p.Process.Kill()
				_ = p.Wait()
			}
		})
	}
	gun.Close()
	for _, p := range children {
		_, err := io.ReadFull(p.stdout, make([]byte, len("ready\n")))
		c.Assert(err, qt.IsNil, qt.Commentf("%s", &p.stderr))
	}
	trigger.Close()
	var outputs []string
	for _, p := range children {
		text, err := io.ReadAll(p.stdout)
		c.Assert(err, qt.IsNil)
		c.Assert(p.Wait(), qt.IsNil, qt.Commentf("%s", &p.stderr))
		outputs = append(outputs, string(text))
	}
	return outputs
}

// fillMixed fills a store with dead records and all kinds of others that must be
// left alone. It returns the names of the dead.
func fillMixed(t *testing.T, store *filestore.Store, dead int) []string {
	gone := before(t)
	bystander, err := liveness.Capture(proctest.Start(t, proctest.Command("hold")).PID())
	qt.Assert(t, err, qt.IsNil)
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
		launching := running(numbered("launching", i), liveness.Identity{})
		launching.Phase, launching.Heartbeat = lifecycle.Launching, lifecycle.Beat(nil)
		inactive := running(numbered("inactive", i), liveness.Identity{})
		inactive.Phase = lifecycle.Inactive
		register(t, store, remote, running(numbered("hooked", i), liveness.Identity{}), launching, inactive,
			running(numbered("alive", i), self(t)), running(numbered("child", i), bystander))
	}
	return all
}

// assertCleaned checks that each of the dead has exactly one event, with a whole
// snapshot, and that everything else is as it was.
func assertCleaned(t *testing.T, dir string, dead []string, before map[string]string) {
	c := qt.New(t)
	store := open(t, dir, filestore.Options{})
	seen := map[string]bool{}
	for _, event := range events(t, store) {
		c.Assert(seen[event.Name], qt.IsFalse, qt.Commentf("a second event of %s", event.Name))
		seen[event.Name] = true
		want := running(event.Name, event.Snapshot.Identity)
		reason := beforeReason(t)
		if event.Snapshot.Parent != "" && event.Reason == lifecycle.ReasonParentStopped {
			reason = lifecycle.ReasonParentStopped
		}
		c.Assert([]string{event.By, event.Reason, event.Incarnation}, qt.DeepEquals, []string{lifecycle.BySystem, reason, want.Incarnation})
		c.Assert(event.Snapshot.SameState(want), qt.IsTrue)
		c.Assert(string(event.Snapshot.Data), qt.Equals, string(want.Data))
		c.Assert(event.Snapshot.CreatedAt.Equal(created), qt.IsTrue)
		c.Assert(event.Snapshot.Bindings, qt.DeepEquals, []string{"session of " + event.Name})
		_, err := store.Bound(t.Context(), "session of "+event.Name)
		c.Assert(err, qt.ErrorIs, lifecycle.ErrNotRegistered)
	}
	c.Assert(seen, qt.HasLen, len(dead))
	for _, name := range dead {
		c.Assert(seen[name], qt.IsTrue, qt.Commentf(name))
		delete(before, name)
	}
	after := dump(t, store)
	for key := range after {
		if strings.HasPrefix(key, "event ") {
			delete(after, key)
		}
	}
	c.Assert(after, qt.DeepEquals, before)
}

// lockedRole holds the lock of a directory until it is killed.
func lockedRole(args []string) error {
	unlock, err := filestore.Lock(args[0])
	if err != nil {
		return err
	}
	defer unlock()
	proctest.Hold()
	return nil
}

// Of two that write all the time none keeps the other out.
func TestWritersTakeTurns(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	dir := tempDir(t)
	record := running("busy", liveness.Identity{})
	record.Data = json.RawMessage(`"` + strings.Repeat("long", 50_000) + `"`) // the lock is held longer than not
	register(t, open(t, dir, unflushed()), record)
	const n = 30
	var mu sync.Mutex
	var order []int
	var wg sync.WaitGroup
	for i := range 2 {
		store := open(t, dir, unflushed())
		wg.Go(func() {
			for range n {
				c.Check(store.Heartbeat(t.Context(), record), qt.IsNil)
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	turns := len(slices.Compact(slices.Clone(order)))
	c.Assert(turns > n/2, qt.IsTrue, qt.Commentf("%d turns: %v", turns, order))
}

// The lock of a holder that was killed is free; until then others wait, for no
// longer than they were told to.
func TestALockGoesWithItsHolder(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	dir := tempDir(t)
	store := open(t, dir, filestore.Options{BusyTimeout: 1})
	register(t, store, running("a", liveness.Identity{}))
	holder := proctest.Start(t, proctest.Command("locked", filepath.Join(dir, "lock")))
	_, err := store.Stop(t.Context(), running("a", liveness.Identity{}), cause)
	c.Assert(err, qt.ErrorIs, lifecycle.ErrUnavailable)
	c.Assert(err, qt.ErrorMatches, `filestore: stop "a": store is unavailable: .*lock is locked by others`)
	_, err = store.Records(t.Context())
	c.Assert(err, qt.ErrorIs, lifecycle.ErrUnavailable)
	_, err = filestore.New(t.Context(), dir, filestore.Options{BusyTimeout: 1})
	c.Assert(err, qt.ErrorIs, lifecycle.ErrUnavailable)
	holder.Kill()
	patient := open(t, dir, filestore.Options{})
	outcome, err := patient.Stop(t.Context(), running("a", liveness.Identity{}), cause)
	c.Assert(err, qt.IsNil)
	c.Assert(outcome, qt.Equals, lifecycle.Stopped)
}
