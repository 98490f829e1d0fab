package filestore_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/filestore"
	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/internal/storefixture"
	"github.com/rollcall-go/rollcall/liveness"
)

// What the tests of all stores have in common.
var (
	created = storefixture.Created
	cause   = storefixture.Cause

	tempDir      = storefixture.TempDir
	self         = storefixture.Self
	before       = storefixture.Before
	beforeReason = storefixture.BeforeReason
	running      = storefixture.Running
	numbered     = storefixture.Numbered
	register     = storefixture.Register
	names        = storefixture.Names
	events       = storefixture.Events
	stopped      = storefixture.Stopped
)

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
