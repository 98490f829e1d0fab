package filestore_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/filestore"
	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

// created is a moment with nanoseconds, away from any default.
var created = time.Date(2024, 2, 29, 23, 59, 58, 123456789, time.UTC)

var cause = lifecycle.Cause{By: "tester", Reason: "exit:test"}

// selfOnce reads the identity of this process once.
var selfOnce = sync.OnceValues(liveness.Self)

// self is the identity of this process, which is alive.
func self(t testing.TB) liveness.Identity {
	id, err := selfOnce()
	if errors.Is(err, errors.ErrUnsupported) {
		proctest.Skip(t, "%v", err)
	}
	qt.New(t).Assert(err, qt.IsNil)
	return id
}

// before is what this process would have been in an earlier boot of this
// machine: dead, although somebody has its PID. Where no boot can be proven to
// be over it is a process whose PID nobody has.
func before(t testing.TB) liveness.Identity {
	id := self(t)
	if id.Boot.Quality == bootid.Native {
		id.Boot = bootid.ID{Machine: id.Boot.Machine, Boot: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", Quality: bootid.Native}
		return id
	}
	id.PID = 1 << 30
	return id
}

// beforeReason is the reason for which a record of before is stopped.
func beforeReason(t testing.TB) string {
	if self(t).Boot.Quality == bootid.Native {
		return lifecycle.ReasonReboot
	}
	return lifecycle.ReasonDied
}

// tempDir is t.TempDir, which fails under Wine where a file was open: Wine 8
// cannot remove it in the way that Go asks for.
func tempDir(t testing.TB) string {
	t.Helper()
	if runtime.GOOS != "windows" {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("", "")
	qt.New(t).Assert(err, qt.IsNil)
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Logf("left behind: %v", err)
		}
	})
	return dir
}

// running is a record in phase Running.
func running(name string, identity liveness.Identity) lifecycle.Record {
	return lifecycle.Record{
		Name: name, Incarnation: "of " + name, Identity: identity, CreatedAt: created,
		Heartbeat: lifecycle.Heartbeat{Boot: identity.Boot, Awake: time.Hour, Wall: created.Add(time.Nanosecond)},
		Data:      json.RawMessage(`{"argv":["sh","-c","exit 1"]}`),
	}
}

// register puts records into a store as they are, each with a binding.
func register(t testing.TB, store *filestore.Store, records ...lifecycle.Record) {
	c := qt.New(t)
	for _, record := range records {
		c.Assert(store.Put(t.Context(), record), qt.IsNil)
		c.Assert(store.Bind(t.Context(), record, "session of "+record.Name), qt.IsNil)
	}
}

// names returns the names of the registered records.
func names(t testing.TB, store *filestore.Store) []string {
	records, err := store.Records(t.Context())
	qt.New(t).Assert(err, qt.IsNil)
	var names []string
	for _, record := range records {
		names = append(names, record.Name)
	}
	return names
}

// events returns all events of a store.
func events(t testing.TB, store *filestore.Store) []lifecycle.Event {
	c := qt.New(t)
	var all []lifecycle.Event
	for after := int64(0); ; after = all[len(all)-1].Seq {
		page, err := store.Events(t.Context(), after)
		c.Assert(err, qt.IsNil)
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
	}
}

// stopped returns "name: reason" of all events of a store.
func stopped(t testing.TB, store *filestore.Store) []string {
	var all []string
	for _, event := range events(t, store) {
		all = append(all, event.Name+": "+event.Reason)
	}
	return all
}

// dump returns everything that is kept of the records, by name, and of the
// events, by number.
func dump(t testing.TB, store *filestore.Store) map[string]string {
	c := qt.New(t)
	all := map[string]string{}
	for record, err := range store.Candidates(t.Context()) {
		c.Assert(err, qt.IsNil)
		text, err := json.Marshal(record)
		c.Assert(err, qt.IsNil)
		bound := ""
		if holder, err := store.Bound(t.Context(), "session of "+record.Name); err == nil && holder.Name == record.Name {
			bound = " bound"
		}
		all[record.Name] = string(text) + bound
	}
	for _, event := range events(t, store) {
		text, err := json.Marshal(event)
		c.Assert(err, qt.IsNil)
		all[fmt.Sprint("event ", event.Seq)] = string(text)
	}
	return all
}

func numbered(name string, i int) string { return fmt.Sprintf("%s-%04d", name, i) }

// The files of a directory.
const (
	recordsFile = "records.jsonl"
	eventsFile  = "events.jsonl"
)

func readFile(t testing.TB, elements ...string) string {
	text, err := os.ReadFile(filepath.Join(elements...))
	qt.New(t).Assert(err, qt.IsNil)
	return string(text)
}

func writeFile(t testing.TB, content string, elements ...string) {
	qt.New(t).Assert(os.WriteFile(filepath.Join(elements...), []byte(content), 0o600), qt.IsNil)
}

// edit replaces a text, which must be there, in a file.
func edit(t testing.TB, path, old, new string) {
	content := readFile(t, path)
	qt.New(t).Assert(content, qt.Contains, old)
	writeFile(t, strings.Replace(content, old, new, 1), path)
}

// fill fills a directory with records, by hand: registering flushes each to the
// disk.
func fill(t testing.TB, dir string, n int, identity liveness.Identity) {
	open(t, dir, filestore.Options{})
	content := []byte(readFile(t, dir, recordsFile))
	for i := range n {
		record := running(numbered("worker", i), identity)
		line, err := filestore.RecordLine(record, int64(i)+1, "session-"+record.Name, "terminal-"+record.Name)
		qt.Assert(t, err, qt.IsNil)
		content = append(content, line...)
	}
	writeFile(t, string(content), dir, recordsFile)
}

// strideVariable is which part of many cases is tried: with 1 all.
const strideVariable = "ROLLCALL_STRIDE"

// stride is a part of many cases, less of them where each takes long, as under
// Wine and with the race detector.
func stride(t testing.TB) int {
	if runtime.GOOS == "windows" || proctest.Race {
		return setting(t, strideVariable, 23)
	}
	return setting(t, strideVariable, 7)
}

// setting is the number in a variable of the environment, or else the usual one.
func setting(t testing.TB, variable string, usual int) int {
	text := os.Getenv(variable)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	qt.Assert(t, err, qt.IsNil)
	return n
}
