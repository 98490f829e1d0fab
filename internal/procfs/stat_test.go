package procfs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/procfs"
)

var stats = []struct {
	name     string
	file     string
	state    byte
	threads  uint64
	start    uint64
	exited   bool
	borrowed bool
}{
	{"6.18 cat", "6.18-cat", 'R', 1, 387135, false, false},
	{"6.18 empty comm", "6.18-empty-comm", 'S', 1, 387134, false, true},
	{"6.18 kthreadd", "6.18-kthreadd", 'S', 1, 24, false, true},
	{"6.18 kworker", "6.18-kworker", 'I', 1, 24, false, true},
	{"6.18 leader exited", "6.18-leader-exited", 'Z', 2, 344717, false, true},
	{"6.18 newline", "6.18-newline", 'R', 1, 387133, false, true},
	{"6.18 no utf8", "6.18-no-utf8", 'S', 1, 344602, false, false},
	{"6.18 parentheses", "6.18-parentheses", 'S', 1, 344600, false, false},
	{"6.18 spaces", "6.18-spaces", 'S', 1, 344602, false, false},
	{"6.18 zombie", "6.18-zombie", 'Z', 1, 344717, true, true},
	{"gVisor cat", "gvisor-cat", 'R', 1, 5, false, false},
	{"gVisor replaced", "gvisor-replaced", 'X', 1, 8, true, false},
	{"built ends at 22", "built-ends-at-22", 'S', 1, 55, false, false},
	{"built largest", "built-largest", 'R', 4194304, 18446744073709551615, false, true},
	{"built short", "built-short", 'S', 1, 98765, false, false},
}

func readStat(t testing.TB, name string) []byte {
	t.Helper()
	line, err := os.ReadFile(filepath.Join("testdata", name+".stat"))
	if err != nil {
		t.Fatal(err)
	}
	return line
}

func TestStat(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range stats {
		c.Run(test.name, func(c *qt.C) {
			stat, err := procfs.ParseStat(readStat(c, test.file))
			c.Assert(err, qt.IsNil)
			c.Check(stat.State, qt.Equals, test.state)
			c.Check(stat.Threads, qt.Equals, test.threads)
			c.Check(stat.Start, qt.Equals, test.start)
			c.Check(stat.Exited(), qt.Equals, test.exited)
			c.Check(stat.Borrowed(), qt.Equals, test.borrowed)
		})
	}
	files, err := filepath.Glob("testdata/*.stat")
	c.Assert(err, qt.IsNil)
	c.Check(len(files), qt.Equals, len(stats), qt.Commentf("each recorded file has a row"))
}

// A number cut short would be another number, so a line is whole up to the
// space after field 22 or it is no line.
func TestTruncatedStatIsAnError(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range stats {
		c.Run(test.name, func(c *qt.C) {
			line := readStat(c, test.file)
			comm := strings.LastIndexByte(string(line), ')')
			whole := comm + 1
			for range 21 { // fields 3 to 22, each after a space, and the space after it
				whole += 1 + strings.IndexByte(string(line[whole:]), ' ')
			}
			for n := range whole {
				stat, err := procfs.ParseStat(line[:n])
				c.Assert(err, qt.IsNotNil, qt.Commentf("%q", line[:n]))
				c.Assert(stat, qt.Equals, procfs.Stat{})
			}
			for n := whole; n <= len(line); n++ {
				stat, err := procfs.ParseStat(line[:n])
				c.Assert(err, qt.IsNil)
				c.Assert(stat.Start, qt.Equals, test.start)
			}
		})
	}
}

func TestGarbledStatIsAnError(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	const good = "12 (a) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20\n"
	_, err := procfs.ParseStat([]byte(good))
	c.Assert(err, qt.IsNil)
	for _, test := range []struct {
		name string
		line string
	}{
		{"empty", ""},
		{"no name", "12 S 1 2 3"},
		{"name alone", "12 (a)"},
		{"long state", strings.Replace(good, " S ", " SS ", 1)},
		{"no state", strings.Replace(good, " S ", " ", 1)},
		{"two spaces", strings.Replace(good, " 5 ", "  5 ", 1)},
		{"negative start", strings.Replace(good, " 19 20", " -19 20", 1)},
		{"start beyond 64 bits", strings.Replace(good, " 19 20", " 18446744073709551616 20", 1)},
		{"start of 21 digits", strings.Replace(good, " 19 20", " 000000000000000000019 20", 1)},
		{"start in letters", strings.Replace(good, " 19 20", " x 20", 1)},
		{"threads in letters", strings.Replace(good, " 17 ", " x ", 1)},
		{"name that never ends", "12 (" + strings.Repeat("a", 4096) + good[5:]},
	} {
		c.Run(test.name, func(c *qt.C) {
			stat, err := procfs.ParseStat([]byte(test.line))
			c.Check(err, qt.ErrorMatches, "malformed stat line")
			c.Check(stat, qt.Equals, procfs.Stat{})
		})
	}
}

// In gVisor a thread that another has replaced has lost its number.
func TestReplacedThreadOfGVisorIsNoExitedProcess(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range stats {
		stat, err := procfs.ParseStat(readStat(t, test.file))
		c.Assert(err, qt.IsNil)
		c.Check(stat.Replaced(), qt.Equals, test.file == "gvisor-replaced", qt.Commentf("%s", test.name))
	}
}

// A line that counts no threads is of a thread that another has replaced: it
// says nothing about the process.
func TestStatesOfAnExitedProcess(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		name     string
		state    string
		threads  string
		exited   bool
		replaced bool
	}{
		{"zombie", "Z", "1", true, false},
		{"zombie that is being reaped", "Z", "0", false, true},
		{"dead", "X", "0", false, true},
		{"dead, as Linux before 3.14 wrote it", "x", "0", false, true},
		{"leading thread of others", "Z", "2", false, false},
		{"running, no threads counted", "R", "0", false, false},
		{"running", "R", "1", false, false},
		{"sleeping", "S", "1", false, false},
		{"in the kernel", "D", "1", false, false},
		{"stopped", "T", "1", false, false},
		{"traced", "t", "1", false, false},
		{"idle", "I", "1", false, false},
		{"parked", "P", "1", false, false},
	} {
		c.Run(test.name, func(c *qt.C) {
			stat, err := procfs.ParseStat([]byte("12 (a) " + test.state + " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 " + test.threads + " 18 19 20"))
			c.Assert(err, qt.IsNil)
			c.Check(stat.Exited(), qt.Equals, test.exited)
			c.Check(stat.Replaced(), qt.Equals, test.replaced)
		})
	}
}

func FuzzStat(f *testing.F) {
	for _, test := range stats {
		f.Add(readStat(f, test.file))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		stat, err := procfs.ParseStat(line)
		if err != nil {
			if stat != (procfs.Stat{}) {
				t.Fatalf("%q: %v with an error", line, stat)
			}
			return
		}
		if more, err := procfs.ParseStat(append(bytes.Clone(line), " 1 2 3\n"...)); len(line) >= 96 && (err != nil || more != stat) {
			t.Fatalf("%q: fields after the last one changed %v to %v, %v", line, stat, more, err)
		}
	})
}
