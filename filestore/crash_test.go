package filestore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/filestore"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

// life is what a host does with its store: every call that writes, in an order
// that makes records old and has them rewritten.
type life struct {
	name  string
	quick bool // a loss of power may undo it
	do    func(context.Context, *filestore.Store) error
}

func lives() []life {
	world := livenesstest.New()
	process := world.Start()
	record := func(name, parent string) lifecycle.Record {
		return lifecycle.Record{
			Name: name, Incarnation: "1", Parent: parent, CreatedAt: created,
			Data: json.RawMessage(`{"argv":["make"]}`),
		}
	}
	again := record("boss", "")
	again.Incarnation = "2"
	launch := func(r lifecycle.Record) life {
		return life{"launch " + r.Name, false, func(ctx context.Context, s *filestore.Store) error {
			_, err := s.Launch(ctx, r)
			return err
		}}
	}
	bind := func(r lifecycle.Record, key string) life {
		return life{"bind " + key + " to " + r.Name, false, func(ctx context.Context, s *filestore.Store) error {
			return s.Bind(ctx, r, key)
		}}
	}
	beat := life{"heartbeat", true, func(ctx context.Context, s *filestore.Store) error {
		return s.Heartbeat(ctx, record("worker", ""))
	}}
	swap := func(old, new string) life {
		return life{"gate " + new, false, func(ctx context.Context, s *filestore.Store) error {
			_, err := s.Gate().CompareAndSwap(ctx, "key", old, new)
			return err
		}}
	}
	stop := func(r lifecycle.Record) life {
		return life{"stop " + r.Name, false, func(ctx context.Context, s *filestore.Store) error {
			_, err := s.Stop(ctx, r, cause)
			return err
		}}
	}
	return []life{
		launch(record("boss", "")), launch(record("worker", "boss")), launch(record("helper", "worker")), launch(record("other", "")),
		swap("", "claimed"),
		{"activate", false, func(ctx context.Context, s *filestore.Store) error {
			return s.Activate(ctx, record("worker", ""), process)
		}},
		{"set Data", false, func(ctx context.Context, s *filestore.Store) error {
			return s.SetData(ctx, record("worker", ""), json.RawMessage(`{"session":1}`))
		}},
		bind(record("worker", ""), "session of worker"), beat, beat, beat, bind(record("other", ""), "session of other"),
		beat, beat, bind(record("other", ""), "session of worker"),
		stop(record("boss", "")), launch(again), swap("claimed", "done"),
		{"deactivate", false, func(ctx context.Context, s *filestore.Store) error {
			return s.Deactivate(ctx, record("other", ""))
		}},
		bind(again, "session of boss"), stop(again), stop(record("other", "")), launch(record("last", "")),
	}
}

// everything is what a store and its gate hold.
func everything(t testing.TB, s *filestore.Store) map[string]string {
	all := dump(t, s)
	value, err := s.Gate().Get(t.Context(), "key")
	qt.New(t).Assert(err, qt.IsNil)
	all["gate"] = value
	return all
}

// image is the content of the files of a directory.
type image map[string]string

func imageOf(t testing.TB, dir string) image {
	all := image{}
	for _, name := range []string{recordsFile, eventsFile, "gate"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			all[name] = string(text)
		}
	}
	return all
}

// in writes the files to a directory.
func (i image) in(t testing.TB, dir string) string {
	for name, content := range i {
		writeFile(t, content, dir, name)
	}
	return dir
}

// state is what a store that finds these files holds.
func (i image) state(t testing.TB) map[string]string {
	if len(i) == 0 {
		return map[string]string{"gate": ""}
	}
	return everything(t, open(t, i.in(t, tempDir(t)), unflushed()))
}

// oneOf checks that a directory opens and holds one of several states, and that
// the host can go on: each of its records then has one event.
func oneOf(t *testing.T, dir string, states []map[string]string, comment qt.Comment) {
	c := qt.New(t)
	s, err := filestore.New(t.Context(), dir, unflushed())
	c.Assert(err, qt.IsNil, comment)
	got := everything(t, s)
	var same bool
	for _, want := range states {
		same = same || fmt.Sprint(got) == fmt.Sprint(want)
	}
	if !same {
		c.Assert(got, qt.DeepEquals, states[0], comment)
	}
	register(t, s, running("next", liveness.Identity{}))
	for record, err := range s.Candidates(t.Context()) {
		c.Assert(err, qt.IsNil, comment)
		_, err := s.Stop(t.Context(), record, cause) // or its parent's took it along
		c.Assert(err, qt.IsNil, comment)
	}
	seen := map[string]bool{}
	for _, event := range events(t, s) {
		key := event.Name + " " + event.Incarnation
		c.Assert(seen[key], qt.IsFalse, qt.Commentf("a second event of %s", key), comment)
		seen[key] = true
	}
	c.Assert(names(t, open(t, dir, filestore.Options{})), qt.HasLen, 0, comment)
}

// lastDurable is the first state that a loss of power may bring back after n
// steps.
func lastDurable(all []life, n int) int {
	for n > 0 && all[n-1].quick {
		n--
	}
	return n
}

// The power goes out before each operation of a host's life in turn, in which the
// records are rewritten often or never.
func TestPowerGoesOutAtAnyOperation(t *testing.T) {
	t.Parallel()
	for _, from := range []int64{1, 1 << 20} {
		t.Run(fmt.Sprint("rewritten from ", from), func(t *testing.T) {
			t.Parallel()
			cutPower(t, from)
		})
	}
}

func cutPower(t *testing.T, rewriteFrom int64) {
	const cutsPerOperation = 2
	all := lives()
	for at := 1; ; at += stride(t) {
		random := rand.New(rand.NewPCG(1, uint64(at)))
		disk := newFaultyDisk()
		disk.failAt, disk.forever = at, true
		dir := tempDir(t)
		images := []image{{}} // before the first step, and after each
		done := 0
		s, err := filestore.New(t.Context(), dir, filestore.Options{}.WithDisk(disk).RewriteFrom(rewriteFrom))
		if err == nil {
			for _, step := range all {
				if err = step.do(t.Context(), s); err != nil {
					break
				}
				done++
				images = append(images, imageOf(t, dir))
			}
		}
		if err == nil && done == len(all) {
			qt.Assert(t, at > 80, qt.IsTrue, qt.Commentf("only %d operations", at))
			t.Logf("%d operations", at-1)
			return
		}
		var states []map[string]string
		for _, i := range append(images[lastDurable(all, done):], imageOf(t, dir)) { // the step under way may have happened
			if _, err := filestore.New(t.Context(), i.in(t, tempDir(t)), unflushed()); err == nil {
				states = append(states, i.state(t))
			}
		}
		for cut := range cutsPerOperation {
			image := disk.afterPowerCut(t, random)
			oneOf(t, image, states, qt.Commentf("operation %d, cut %d, after %d steps: %v", at, cut, done, err))
			os.RemoveAll(image)
		}
	}
}

// An operation fails, by itself or with all that come after it, and a write may
// leave half of itself. What was reported as an error has not happened, and works
// when it is tried again.
func TestDiskFailsAtAnyOperation(t *testing.T) {
	t.Parallel()
	for _, half := range []bool{false, true} {
		t.Run(fmt.Sprint("half=", half), func(t *testing.T) {
			t.Parallel()
			at := 1
			for failOnce(t, at, half) {
				at += stride(t)
			}
			qt.Assert(t, at > 100, qt.IsTrue, qt.Commentf("only %d operations", at))
		})
	}
}

func failOnce(t *testing.T, at int, half bool) (failed bool) {
	c := qt.New(t)
	disk := newFaultyDisk()
	disk.failAt, disk.half = at, half
	dir := tempDir(t)
	options := filestore.Options{}.WithDisk(disk).RewriteFrom(1)
	s, err := filestore.New(t.Context(), dir, options)
	if err != nil {
		c.Assert(err, qt.ErrorIs, errDisk)
		s, err = filestore.New(t.Context(), dir, options)
		c.Assert(err, qt.IsNil)
	}
	for _, step := range lives() {
		before := imageOf(t, dir)
		if err := step.do(t.Context(), s); err != nil {
			comment := qt.Commentf("operation %d, step %s", at, step.name)
			c.Assert(err, qt.ErrorIs, errDisk, comment)
			nothing := fmt.Sprint(imageOf(t, dir).state(t)) == fmt.Sprint(before.state(t))
			if !strings.HasPrefix(step.name, "gate") {
				c.Assert(err, qt.ErrorIs, lifecycle.ErrUnavailable, comment)
				c.Assert(nothing, qt.IsTrue, comment)
			}
			if nothing { // a gate that was swapped, but not flushed to the disk, is swapped
				c.Assert(step.do(t.Context(), s), qt.IsNil, comment)
			}
		}
	}
	end := imageOf(t, dir).state(t)
	c.Assert(end, qt.HasLen, 7, qt.Commentf("%v", end)) // one record, five events, the gate
	c.Assert(end["gate"], qt.Equals, "done")
	return disk.count >= at
}

// Each byte at which a write may end, when its process is killed: one of a
// line, of two lines in one step, and of a family's events.
func TestAWriteIsCutShortAtAnyByte(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	dir, image := tempDir(t), tempDir(t)
	s := open(t, dir, filestore.Options{}.RewriteFrom(2000))
	before := everything(t, s)
	files := map[string]string{recordsFile: readFile(t, dir, recordsFile), eventsFile: readFile(t, dir, eventsFile)}
	cuts := 0
	for _, step := range lives() {
		c.Assert(step.do(t.Context(), s), qt.IsNil)
		after := everything(t, s)
		everyByte := slices.Contains([]string{"launch boss", "bind session of worker to other", "stop boss"}, step.name)
		for name, content := range files {
			now := readFile(t, dir, name)
			if name == recordsFile && !strings.HasPrefix(now, content) {
				everyByte = false // rewritten; no process sees a part of that
			}
			if !everyByte {
				files[name] = now
				continue
			}
			for other, content := range files {
				writeFile(t, content, image, other)
			}
			writeFile(t, now, image, name)
			for end := len(now) - 1; end >= len(content); end -= stride(t) {
				comment := qt.Commentf("%s: %s cut at byte %d of %d..%d", step.name, name, end, len(content), len(now))
				c.Assert(os.Truncate(filepath.Join(image, name), int64(end)), qt.IsNil)
				got := dump(t, open(t, image, filestore.Options{}))
				got["gate"] = before["gate"]
				want := before
				if end == len(now)-1 { // only the end of the line is missing
					want = after
				}
				c.Assert(fmt.Sprint(got), qt.Equals, fmt.Sprint(want), comment)
				cuts++
				if cuts%20 > 0 {
					continue
				}
				goesOn := imageOf(t, image)
				got["gate"] = ""
				oneOf(t, goesOn.in(t, tempDir(t)), []map[string]string{got}, comment)
			}
			files[name] = now
		}
		before = after
	}
	c.Assert(cuts > 1500/stride(t), qt.IsTrue, qt.Commentf("%d", cuts))
}
