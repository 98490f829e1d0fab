package filestore_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/rollcall-go/rollcall/filestore"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

// seeds are the files of a directory that was used.
func seeds(f *testing.F) image {
	dir := tempDir(f)
	store := open(f, dir, filestore.Options{})
	child := running("child", liveness.Identity{})
	child.Parent = "a"
	register(f, store, running("a", liveness.Identity{}), child, running("b", liveness.Identity{}))
	if _, err := store.Stop(f.Context(), running("a", liveness.Identity{}), cause); err != nil {
		f.Fatal(err)
	}
	swap(f, store.Gate(), "key", "", "1")
	return imageOf(f, dir)
}

// unsigned is a line without its checksum.
func unsigned(line []byte) []byte {
	body, _, _ := bytes.Cut(line, []byte(`,"crc":"`))
	return append(body, '}')
}

// signed gives the JSON objects among some lines their checksum: a fuzzer does not
// find it.
func signed(text []byte) []byte {
	var all []byte
	for line := range bytes.Lines(text) {
		if bytes.HasPrefix(line, []byte("{")) && bytes.HasSuffix(line, []byte("}\n")) {
			line = filestore.Sign(line)
		}
		all = append(all, line...)
	}
	return all
}

// Whatever stands in a line, with a checksum or without, it is decoded or garbled.
func FuzzLine(f *testing.F) {
	for _, content := range seeds(f) {
		for line := range bytes.Lines([]byte(content)) {
			f.Add(unsigned(line))
		}
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		good := filestore.Sign(line)
		for _, err := range []error{
			filestore.DecodeRecord(line), filestore.DecodeEvent(line), filestore.DecodeRecord(good), filestore.DecodeEvent(good),
		} {
			if err != nil && !errors.Is(err, filestore.ErrGarbled) {
				t.Fatal(err)
			}
		}
		if err := filestore.ParseHeader(good); err != nil && !errors.Is(err, filestore.ErrGarbled) &&
			!errors.Is(err, filestore.ErrForeignFile) && !errors.Is(err, filestore.ErrNewerVersion) {
			t.Fatal(err)
		}
	})
}

// Whatever follows the header of each file, the store opens, says what is garbled,
// and can be used; what it said was garbled is still said after that.
func FuzzFiles(f *testing.F) {
	files := seeds(f)
	parts := map[string][2][]byte{}
	for name, content := range files {
		header, rest, _ := bytes.Cut([]byte(content), []byte("\n"))
		parts[name] = [2][]byte{append(header, '\n'), rest}
	}
	bare := map[string][]byte{}
	for name, part := range parts {
		for line := range bytes.Lines(part[1]) {
			bare[name] = append(append(bare[name], unsigned(line)...), '\n')
		}
	}
	f.Add(bare[recordsFile], bare[eventsFile])
	f.Add(bare[recordsFile], []byte(nil))
	f.Add([]byte("x\n"), []byte("\x00\n{}\n"))
	f.Add([]byte("\n\n\x00"), []byte("\n"))
	f.Fuzz(func(t *testing.T, records, events []byte) {
		dir := tempDir(t)
		for name, rest := range map[string][]byte{recordsFile: records, eventsFile: events} {
			if err := os.WriteFile(filepath.Join(dir, name), append(bytes.Clone(parts[name][0]), signed(rest)...), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		store := open(t, dir, unflushed().RewriteFrom(1))
		garbled := func(s *filestore.Store) (n int) {
			for _, err := range s.Candidates(t.Context()) {
				if err == nil {
					continue
				}
				if !errors.Is(err, filestore.ErrGarbled) {
					t.Fatal(err)
				}
				n++
			}
			return n
		}
		before := garbled(store)
		record, err := store.Launch(t.Context(), lifecycle.Record{Name: "a new name"})
		if errors.Is(err, lifecycle.ErrNameTaken) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		for range 5 { // rewrites the records
			if err := store.Heartbeat(t.Context(), record); err != nil {
				t.Fatal(err)
			}
		}
		other := open(t, dir, unflushed())
		if outcome, err := other.Stop(t.Context(), record, cause); err != nil || outcome != lifecycle.Stopped {
			t.Fatal(outcome, err)
		}
		if after := garbled(open(t, dir, unflushed())); after != before {
			t.Fatalf("%d lines were garbled, %d are now", before, after)
		}
		if all, err := other.Events(t.Context(), 0); len(all) == 0 || err != nil && !errors.Is(err, filestore.ErrGarbled) {
			t.Fatal(all, err)
		}
	})
}

// Whatever stands in the file of a gate, it is a gate or an error, and one that
// may be swapped may be read.
func FuzzGate(f *testing.F) {
	f.Add([]byte(seeds(f)["gate"]))
	f.Add([]byte("rollcall gate 1\n\"k\\x00\" \"v\"\n"))
	f.Add([]byte("rollcall gate 1\n\"a key\" \"v\"\n"))
	f.Add([]byte("rollcall gate 2\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(tempDir(t), "gate")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		gate := filestore.GateOn(path, newFaultyDisk())
		old, getErr := gate.Get(t.Context(), "a key")
		swapped, err := gate.CompareAndSwap(t.Context(), "a key", old, "new")
		if swapped == (err != nil) || getErr != nil && err == nil {
			t.Fatal(swapped, err, getErr)
		}
		if err != nil && !errors.Is(err, filestore.ErrGarbled) && !errors.Is(err, filestore.ErrForeignFile) && !errors.Is(err, filestore.ErrNewerVersion) {
			t.Fatal(err)
		}
	})
}
