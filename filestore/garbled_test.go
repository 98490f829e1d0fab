package filestore_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/filestore"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

// garbled are what somebody or something may have made of the last line of the
// record "bad", and whether it still tells the name, and the parent.
var garbled = []struct {
	name           string
	spoil          func(line string) string
	told, ofParent bool
}{
	{"edited", func(s string) string { return strings.Replace(s, `"argv"`, `"args"`, 1) }, true, true},
	{"a flipped bit", func(s string) string { return strings.Replace(s, `"phase"`, `"phasd"`, 1) }, true, true},
	{"no checksum", func(s string) string { return s[:strings.Index(s, `,"crc"`)] + "}\n" }, true, true},
	{"the end of another", func(s string) string { return s[:strings.Index(s, `"heartbeat"`)] + "\"crc\":\"12345678\"}\n" }, true, true},
	{"a hole after the name", func(s string) string { return s[:100] + strings.Repeat("\x00", 100) + s[200:] }, true, false},
	{"a hole over the name", func(s string) string { return strings.Repeat("\x00", 100) + s[100:] }, false, false},
	{"no JSON", func(string) string { return "garbage\n" }, false, false},
	{"another JSON", func(string) string { return "[1]\n" }, false, false},
}

// spoiled is a directory with the records first, bad and last, the lines of bad
// garbled.
func spoiled(t *testing.T, spoil func(string) string, parent string) string {
	dir := tempDir(t)
	store := open(t, dir, filestore.Options{})
	bad := running("bad", before(t))
	bad.Parent = parent
	register(t, store, running("first", before(t)), bad, running("last", before(t)))
	var lines []string
	for line := range strings.Lines(readFile(t, dir, recordsFile)) {
		if strings.Contains(line, `"name":"bad"`) {
			if !strings.Contains(line, `"op":"bind"`) {
				continue
			}
			line = spoil(line)
		}
		lines = append(lines, line)
	}
	writeFile(t, strings.Join(lines, ""), dir, recordsFile)
	return dir
}

func TestAGarbledRecordIsNamedAndKeptAndInNobodysWay(t *testing.T) {
	t.Parallel()
	for _, test := range garbled {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			dir := spoiled(t, test.spoil, "")
			line := strings.Split(readFile(t, dir, recordsFile), "\n")[3]
			store := open(t, dir, filestore.Options{}.RewriteFrom(1))
			var errs []error
			for record, err := range store.Candidates(t.Context()) {
				if err == nil {
					continue
				}
				errs = append(errs, err)
				if test.told {
					c.Check(record.Name, qt.Equals, "bad")
				} else {
					c.Check(record.Name, qt.Equals, "")
				}
			}
			c.Assert(errs, qt.HasLen, 1)
			c.Assert(errs[0], qt.ErrorIs, lifecycle.ErrInvalidRecord)
			c.Assert(errs[0], qt.ErrorIs, filestore.ErrGarbled)
			c.Assert(errs[0], qt.ErrorMatches, `filestore: invalid record: .*records.jsonl: line 4: garbled: .*`)

			report, err := lifecycle.Cleaner{Store: store}.Clean(t.Context())
			c.Assert(err, qt.ErrorIs, filestore.ErrGarbled)
			c.Assert([]int{report.Stopped, report.Failed}, qt.DeepEquals, []int{2, 1})
			c.Assert(stopped(t, store), qt.DeepEquals, []string{"first: " + beforeReason(t), "last: " + beforeReason(t)})

			// It stays where it is, whatever is written, and by whomever.
			for range 40 {
				c.Assert(store.Put(t.Context(), running("busy", liveness.Identity{})), qt.IsNil)
			}
			content := readFile(t, dir, recordsFile)
			c.Assert(strings.Count(content, `"name":"busy"`) < 40, qt.IsTrue, qt.Commentf("it was not rewritten"))
			c.Assert(strings.Contains(content, line+"\n"), qt.IsTrue)
			_, err = open(t, dir, filestore.Options{}).Records(t.Context())
			c.Assert(err, qt.ErrorIs, filestore.ErrGarbled)
			c.Assert(strings.Count(err.Error(), "\n"), qt.Equals, 0)

			// Until somebody deletes the line.
			writeFile(t, strings.Replace(content, line+"\n", "", 1), dir, recordsFile)
			c.Assert(names(t, open(t, dir, filestore.Options{})), qt.DeepEquals, []string{"busy"})
		})
	}
}

func TestALaterLineReplacesAGarbledOne(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	dir := tempDir(t)
	store := open(t, dir, filestore.Options{})
	record := running("a", liveness.Identity{})
	register(t, store, record)
	c.Assert(store.Heartbeat(t.Context(), record), qt.IsNil)
	edit(t, filepath.Join(dir, recordsFile), `"op":"bind"`, `"op":"bond"`)
	c.Assert(names(t, open(t, dir, filestore.Options{})), qt.DeepEquals, []string{"a"})
}

// The last line is told from a write that was cut short.
func TestAnEditedLastLineIsNotDropped(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	dir := tempDir(t)
	register(t, open(t, dir, filestore.Options{}), running("a", liveness.Identity{}))
	edit(t, filepath.Join(dir, recordsFile), `"op":"bind"`, `"op":"bond"`)
	store := open(t, dir, filestore.Options{})
	_, err := store.Records(t.Context())
	c.Assert(err, qt.ErrorIs, filestore.ErrGarbled)
	register(t, store, running("b", liveness.Identity{}))
	c.Assert(readFile(t, dir, recordsFile), qt.Contains, `"op":"bond"`)
}

func TestAnEditedLineBeforeOneThatWasCutShortIsNotDropped(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	dir := tempDir(t)
	register(t, open(t, dir, filestore.Options{}), running("a", liveness.Identity{}))
	edit(t, filepath.Join(dir, recordsFile), `"op":"bind"`, `"op":"bond"`)
	writeFile(t, readFile(t, dir, recordsFile)+`{"name":"b"`, dir, recordsFile)
	store := open(t, dir, filestore.Options{})
	_, err := store.Records(t.Context())
	c.Assert(err, qt.ErrorIs, filestore.ErrGarbled)
	register(t, store, running("b", liveness.Identity{}))
	c.Assert(readFile(t, dir, recordsFile), qt.Contains, `"op":"bond"`)
}

func TestAnEditedLastLineOfAStepIsNotDropped(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	dir := tempDir(t)
	store := open(t, dir, filestore.Options{})
	register(t, store, running("a", liveness.Identity{}), running("b", liveness.Identity{}))
	c.Assert(store.Bind(t.Context(), running("b", liveness.Identity{}), "session of a"), qt.IsNil) // two lines
	edit(t, filepath.Join(dir, recordsFile), `"bindings":["session of a","session of b"]`, `"bindings":["session of b","session of a"]`)
	store = open(t, dir, filestore.Options{})
	for range 2 {
		records, err := store.Records(t.Context())
		c.Assert(err, qt.ErrorIs, filestore.ErrGarbled)
		c.Assert(records[0].Name, qt.Equals, "a")
		_, err = store.Bound(t.Context(), "session of a")
		c.Assert(err, qt.ErrorIs, lifecycle.ErrNotRegistered)
		register(t, store, running("c", liveness.Identity{}))
	}
}

func TestAGarbledEventIsNamedAndItsRecordStaysStopped(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	dir := tempDir(t)
	store := open(t, dir, filestore.Options{})
	register(t, store, running("a", liveness.Identity{}), running("b", liveness.Identity{}), running("c", liveness.Identity{}))
	for _, name := range []string{"a", "b", "c"} {
		_, err := store.Stop(t.Context(), running(name, liveness.Identity{}), cause)
		c.Assert(err, qt.IsNil)
	}
	edit(t, filepath.Join(dir, eventsFile), `"session of b"`, `"session of x"`)
	store = open(t, dir, filestore.Options{})
	c.Assert(names(t, store), qt.HasLen, 0)
	all, err := store.Events(t.Context(), 0)
	c.Assert(err, qt.ErrorIs, filestore.ErrGarbled)
	c.Assert(err, qt.ErrorMatches, `filestore: event 2: .*events.jsonl: line 3: garbled: its checksum is wrong`)
	c.Assert(all, qt.HasLen, 3)
	c.Assert([]string{all[1].Name, all[1].Incarnation, all[2].Name}, qt.DeepEquals, []string{"b", "of b", "c"})
	c.Assert(all[1].Snapshot.Garbled["line"], qt.Contains, "session of x")
	_, err = store.Snapshot(t.Context(), "b")
	c.Assert(err, qt.ErrorIs, filestore.ErrGarbled)
	_, err = store.Snapshot(t.Context(), "c")
	c.Assert(err, qt.IsNil)
	all, err = store.Events(t.Context(), 2)
	c.Assert(err, qt.IsNil)
	c.Assert(all, qt.HasLen, 1)
	c.Assert(store.Put(t.Context(), running("b", liveness.Identity{})), qt.ErrorIs, lifecycle.ErrInvalidRecord)
}

func TestFilesThatAreNotOursAreRefusedAndLeftAlone(t *testing.T) {
	t.Parallel()
	other := tempDir(t)
	open(t, other, filestore.Options{})
	ours := readFile(t, other, recordsFile)
	for _, test := range []struct {
		name, file, content string
		want                error
	}{
		{"another program's", recordsFile, "{\"records\":[]}\n", filestore.ErrForeignFile},
		{"another program's events", eventsFile, "something happened\n", filestore.ErrForeignFile},
		{"empty", recordsFile, "", filestore.ErrForeignFile},
		{"binary", recordsFile, strings.Repeat("\x00", 10_000), filestore.ErrForeignFile},
		{"records for events", eventsFile, ours, filestore.ErrForeignFile},
		{"of a newer version", recordsFile, `{"product":"github.com/rollcall-go/rollcall/lifecycle/filestore","holds":"records","version":2}` + "\n", filestore.ErrNewerVersion},
		{"with a garbled header", recordsFile, strings.Replace(ours, `"generation":"`, `"generation":"0`, 1), filestore.ErrGarbled},
		{"with half a header", recordsFile, ours[:100], filestore.ErrGarbled},
		{"events that are missing", eventsFile, "missing", fs.ErrNotExist},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			dir := tempDir(t)
			store := open(t, dir, filestore.Options{})
			register(t, store, running("a", liveness.Identity{}))
			if test.content == "missing" {
				c.Assert(os.Remove(filepath.Join(dir, test.file)), qt.IsNil)
			} else {
				writeFile(t, test.content, dir, test.file)
			}
			before := imageOf(t, dir)
			_, err := filestore.New(t.Context(), dir, filestore.Options{})
			c.Assert(err, qt.ErrorIs, test.want)
			c.Assert(err.Error(), qt.Contains, filepath.Join(dir, test.file))
			c.Assert(strings.HasPrefix(err.Error(), "filestore: open "), qt.IsTrue)
			if test.file == recordsFile { // the handle has read the events before
				_, err := store.Launch(t.Context(), lifecycle.Record{Name: "b"})
				c.Assert(err, qt.ErrorIs, test.want)
				c.Assert(err, qt.ErrorIs, lifecycle.ErrUnavailable)
			}
			c.Assert(imageOf(t, dir), qt.DeepEquals, before)
		})
	}
}

func TestEventsThatWereTakenAwayAreMissed(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	dir := tempDir(t)
	store := open(t, dir, unflushed().RewriteFrom(1))
	empty := readFile(t, dir, eventsFile)
	for range 2 {
		record, err := store.Launch(t.Context(), lifecycle.Record{Name: "a"})
		c.Assert(err, qt.IsNil)
		_, err = store.Stop(t.Context(), record, cause)
		c.Assert(err, qt.IsNil)
	}
	writeFile(t, empty, dir, eventsFile)
	_, err := store.Records(t.Context())
	c.Assert(err, qt.ErrorIs, filestore.ErrGarbled)
	c.Assert(err, qt.ErrorMatches, `filestore: read records: store is unavailable: garbled: .*events.jsonl does not reach to where .*`)
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has others")
	}
	c := qt.New(t)
	dir := filepath.Join(tempDir(t), "records")
	store := open(t, dir, unflushed().RewriteFrom(1))
	register(t, store, running("a", liveness.Identity{}))
	_, err := store.Gate().CompareAndSwap(t.Context(), "key", "", "1")
	c.Assert(err, qt.IsNil)
	mode := func(name string) fs.FileMode {
		info, err := os.Stat(filepath.Join(dir, name))
		c.Assert(err, qt.IsNil)
		return info.Mode().Perm()
	}
	c.Assert(mode("."), qt.Equals, fs.FileMode(0o700))
	for _, name := range []string{recordsFile, eventsFile, "lock", "turn", "gate", "gate.lock"} {
		c.Assert(mode(name), qt.Equals, fs.FileMode(0o600), qt.Commentf(name))
	}
	// Those of a file that is replaced are kept.
	header, _, _ := strings.Cut(readFile(t, dir, recordsFile), "\n")
	c.Assert(os.Chmod(filepath.Join(dir, recordsFile), 0o640), qt.IsNil)
	c.Assert(os.Chmod(filepath.Join(dir, "gate"), 0o644), qt.IsNil)
	for range 10 {
		c.Assert(store.Heartbeat(t.Context(), running("a", liveness.Identity{})), qt.IsNil)
	}
	_, err = store.Gate().CompareAndSwap(t.Context(), "key", "1", "2")
	c.Assert(err, qt.IsNil)
	c.Assert(strings.HasPrefix(readFile(t, dir, recordsFile), header), qt.IsFalse)
	c.Assert(mode(recordsFile), qt.Equals, fs.FileMode(0o640))
	c.Assert(mode("gate"), qt.Equals, fs.FileMode(0o644))
}

func TestADirectoryThatCannotBeMade(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	file := filepath.Join(tempDir(t), "file")
	writeFile(t, "", file)
	for _, path := range []string{file, filepath.Join(file, "below")} {
		_, err := filestore.New(t.Context(), path, filestore.Options{})
		c.Assert(err, qt.IsNotNil)
		c.Assert(err.Error(), qt.Contains, file)
		_, err = filestore.Gate(filepath.Join(path, "gate")).CompareAndSwap(t.Context(), "key", "", "1")
		c.Assert(err, qt.IsNotNil)
		c.Assert(err.Error(), qt.Contains, file)
	}
	_, err := filestore.New(t.Context(), "", filestore.Options{})
	c.Assert(err, qt.ErrorIs, fs.ErrNotExist)
}
