package filestore_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/filestore"
	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/lifecycle"
)

func swap(t testing.TB, kv lifecycle.KV, key, old, new string) {
	t.Helper()
	swapped, err := kv.CompareAndSwap(t.Context(), key, old, new)
	qt.Assert(t, err, qt.IsNil)
	qt.Assert(t, swapped, qt.IsTrue)
}

func value(t testing.TB, kv lifecycle.KV, key string) string {
	t.Helper()
	got, err := kv.Get(t.Context(), key)
	qt.Assert(t, err, qt.IsNil)
	return got
}

func TestAGateIsReadByPeople(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	path := filepath.Join(tempDir(t), "gate")
	gate := filestore.Gate(path)
	swap(t, gate, "first key", "", `a "value"`)
	swap(t, gate, "key\n2", "", "ä\xff")
	c.Assert(readFile(t, path), qt.Equals, "rollcall gate 1\n\"key\\n2\" \"ä\\xff\"\n\"first key\" \"a \\\"value\\\"\"\n")
	c.Assert(value(t, gate, "first key"), qt.Equals, `a "value"`)
	c.Assert(value(t, gate, "key\n2"), qt.Equals, "ä\xff")
	c.Assert(value(t, gate, "key"), qt.Equals, "")
}

// A gate that was never swapped has made nothing.
func TestAGateMakesNothingUntilItIsNeeded(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	dir := tempDir(t)
	gate := filestore.Gate(filepath.Join(dir, "not made", "gate"))
	c.Assert(value(t, gate, "key"), qt.Equals, "")
	entries, err := os.ReadDir(dir)
	c.Assert(err, qt.IsNil)
	c.Assert(entries, qt.HasLen, 0)
}

func TestAGateKeepsTheNewestKeys(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	path := filepath.Join(tempDir(t), "gate")
	gate := filestore.GateOn(path, newFaultyDisk())
	long := strings.Repeat("long value ", 50) // more than one buffer
	for i := range 110 {
		swap(t, gate, numbered("key", i), "", long)
	}
	swap(t, gate, numbered("key", 50), long, "newest")
	for i := range 110 {
		want := long
		switch {
		case i < 10:
			want = ""
		case i == 50:
			want = "newest"
		}
		c.Assert(value(t, gate, numbered("key", i)), qt.Equals, want, qt.Commentf("%d", i))
	}
}

// All of them have claimed each number, and each number was claimed once.
func TestManyProcessesSwapAGate(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	const processes, numbers = 6, 10
	path := filepath.Join(tempDir(t), "gate")
	outputs := together(t, processes, func(i int) *exec.Cmd {
		return proctest.Command("swap", path, fmt.Sprint(i), fmt.Sprint(numbers))
	})
	claimed := strings.Fields(strings.Join(outputs, " "))
	c.Assert(claimed, qt.HasLen, numbers, qt.Commentf("%v", claimed))
	for i := range numbers {
		c.Assert(value(t, filestore.Gate(path), fmt.Sprint(i)), qt.Not(qt.Equals), "")
	}
}

// A reader without a lock sees the file before or after a swap.
func TestAReaderSeesWholeValues(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	path := filepath.Join(tempDir(t), "gate")
	writer, reader := filestore.GateOn(path, newFaultyDisk()), filestore.Gate(path)
	long := func(i int) string { return strings.Repeat(fmt.Sprint(i%10), 3000) }
	swap(t, writer, "key", "", long(0))
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for i := range 500 / stride(t) {
			swap(t, writer, "key", long(i), long(i+1))
		}
	})
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		got, err := reader.Get(t.Context(), "key")
		c.Check(err, qt.IsNil)
		c.Check(len(got) == 3000 && strings.Count(got, got[:1]) == 3000, qt.IsTrue, qt.Commentf("%q", got))
	}
	wg.Wait()
}

// The power goes out at any operation of a swap, or the disk fails at it.
func TestAGateSurvivesADiskThatFails(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for at := 1; ; at++ {
		path := filepath.Join(tempDir(t), "gate")
		disk := newFaultyDisk()
		gate := filestore.GateOn(path, disk)
		swap(t, gate, "key", "", "old")
		first := disk.count
		disk.failAt, disk.forever, disk.half = first+at, true, true
		_, err := gate.CompareAndSwap(t.Context(), "key", "old", "new")
		if err == nil {
			c.Assert(at > 4, qt.IsTrue)
			return
		}
		c.Assert(err, qt.ErrorIs, errDisk)
		got := value(t, filestore.Gate(path), "key")
		c.Assert(got == "old" || got == "new", qt.IsTrue)
		swap(t, filestore.Gate(path), "key", got, "newer")
		c.Assert(value(t, filestore.Gate(path), "key"), qt.Equals, "newer")
	}
}

func TestAGateThatIsNoneIsRefusedAndLeftAlone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, content string
		want          error
		read          bool // also where another key is asked for
	}{
		{"another program's", "PID 5\n", filestore.ErrForeignFile, true},
		{"binary", "\x00\x00", filestore.ErrForeignFile, true},
		{"of a newer version", "rollcall gate 2\nkey", filestore.ErrNewerVersion, true},
		{"of no version", "rollcall gate x\n", filestore.ErrGarbled, true},
		{"cut in its first line", "rollcall gate 1", filestore.ErrGarbled, true},
		{"longer than a gate", "rollcall gate 1\n" + strings.Repeat("\"key\" \"value\"\n", 1<<20/14), filestore.ErrGarbled, true},
		{"another program's, and long", strings.Repeat("PID 5\n", 1<<20), filestore.ErrForeignFile, true},
		{"cut in a line", "rollcall gate 1\n\"key\" \"do", filestore.ErrGarbled, false},
		{"a hole", "rollcall gate 1\n\"key\" \"1\"\n\x00\x00\x00\n", filestore.ErrGarbled, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			path := filepath.Join(tempDir(t), "gate")
			writeFile(t, test.content, path)
			gate := filestore.Gate(path)
			_, err := gate.CompareAndSwap(t.Context(), "key", "", "1")
			c.Assert(err, qt.ErrorIs, test.want)
			c.Assert(err.Error(), qt.Contains, "filestore: swap gate: "+path)
			_, err = gate.Get(t.Context(), "other")
			if test.read {
				c.Assert(err, qt.ErrorIs, test.want)
				c.Assert(err.Error(), qt.Contains, "filestore: read gate: "+path)
			} else {
				c.Assert(err, qt.IsNil)
			}
			c.Assert(readFile(t, path), qt.Equals, test.content)
		})
	}
}

// A garbled line says nothing about its key, which is not taken to be missing.
func TestAGarbledLineOfAGateIsAnError(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	path := filepath.Join(tempDir(t), "gate")
	writeFile(t, "rollcall gate 1\n\"first\" \"1\"\n\"key\" \"do", path)
	gate := filestore.Gate(path)
	_, err := gate.Get(t.Context(), "key")
	c.Assert(err, qt.ErrorIs, filestore.ErrGarbled)
	c.Assert(err, qt.ErrorMatches, `filestore: read gate: .*gate: garbled: line .*do"`)
	c.Assert(value(t, gate, "first"), qt.Equals, "1")
}

func TestOfAKeyThatStandsTwiceInAGateTheFirstCounts(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	path := filepath.Join(tempDir(t), "gate")
	writeFile(t, "rollcall gate 1\n\"key\" \"\"\n\"other\" \"1\"\n"+strings.Repeat("\"key\" \"older\"\n", 150)+"\"last\" \"2\"\n", path)
	gate := filestore.Gate(path)
	c.Assert(value(t, gate, "key"), qt.Equals, "")
	swap(t, gate, "key", "", "new")
	c.Assert(readFile(t, path), qt.Equals, "rollcall gate 1\n\"key\" \"new\"\n\"other\" \"1\"\n\"last\" \"2\"\n")
}

// What could not be read again is not written.
func TestAGateRefusesWhatItCouldNotRead(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	path := filepath.Join(tempDir(t), "gate")
	gate := filestore.Gate(path)
	swap(t, gate, "first", "", "1")
	content := readFile(t, path)
	_, err := gate.CompareAndSwap(t.Context(), "key", "", strings.Repeat("x", 1<<20))
	c.Assert(err, qt.ErrorMatches, `filestore: swap gate: .*gate: it would hold more than 1048576 bytes`)
	c.Assert(readFile(t, path), qt.Equals, content)
	swap(t, gate, "key", "", strings.Repeat("x", 1<<19))
	c.Assert(value(t, gate, "key"), qt.HasLen, 1<<19)
}

func TestAClosedGateNeedsNoStore(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	if self(t).Boot.Boot == "" {
		proctest.Skip(t, "no boot ID, no gate")
	}
	path := filepath.Join(tempDir(t), "gate")
	for i := range 3 {
		gate := &lifecycle.BootGate{KV: filestore.Gate(path)}
		report, err := lifecycle.Cleaner{Store: open(t, tempDir(t), unflushed())}.CleanOncePerBoot(t.Context(), gate)
		c.Assert(err, qt.IsNil)
		c.Assert(report.GateClosed, qt.Equals, i > 0)
	}
}
