package liveness_test

import (
	"encoding/binary"
	"testing"
	"time"
	"unicode/utf16"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/liveness"
)

func TestFileTimes(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		name  string
		stamp uint64
		want  time.Time
	}{
		{"the Unix epoch", 116444736000000000, time.Unix(0, 0)},
		{"a step of 100 ns after it", 116444736000000001, time.Unix(0, 100)},
		{"before it", 116444735999999999, time.Unix(0, -100)},
		{"a recent one", 133801632000000000, time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		c.Run(test.name, func(c *qt.C) {
			got, ok := liveness.FileTime(test.stamp)
			c.Check(ok, qt.IsTrue)
			c.Check(got.Equal(test.want), qt.IsTrue, qt.Commentf("%v, want %v", got, test.want))
		})
	}
	for _, stamp := range []uint64{0, 1 << 63, 1<<64 - 1} {
		_, ok := liveness.FileTime(stamp)
		c.Check(ok, qt.IsFalse, qt.Commentf("%d", stamp))
	}
}

func TestStartKey(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	info := make([]byte, 112)
	binary.LittleEndian.PutUint32(info, 112)
	binary.LittleEndian.PutUint64(info[8:], 7<<48|4711)
	c.Check(liveness.ParseStartKey(info), qt.Equals, uint64(7<<48|4711))
	for n := range 16 {
		c.Check(liveness.ParseStartKey(info[:n]), qt.Equals, uint64(0))
	}
	clear(info[:4])
	c.Check(liveness.ParseStartKey(info), qt.Equals, uint64(0), qt.Commentf("a header of no size"))
}

// block is an environment block of Windows.
func block(entries ...string) []byte {
	var b []byte
	for _, entry := range append(entries, "") {
		for _, unit := range utf16.Encode([]rune(entry + "\x00")) {
			b = binary.LittleEndian.AppendUint16(b, unit)
		}
	}
	return b
}

func TestEnvironmentOfWindows(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		name  string
		block []byte
		want  string
		ok    bool
	}{
		{"entries", block("A=1", "B=zwei", "C=三"), "A=1\x00B=zwei\x00C=三\x00", true},
		{"notes of the shell", block("=C:=C:\\", "A=1"), "A=1\x00", true},
		{"empty", block(), "", true},
		{"more behind the end", append(block("A=1"), 1, 2, 3, 4), "A=1\x00", true},
		{"no end", block("A=1")[:8], "", false},
		{"nothing", nil, "", false},
		{"half a character", []byte{65}, "", false},
	} {
		c.Run(test.name, func(c *qt.C) {
			environ, ok := liveness.ParseEnvironment(test.block)
			c.Check(ok, qt.Equals, test.ok)
			c.Check(string(environ), qt.Equals, test.want)
		})
	}
	whole := block("A=1", "M=abc")
	for n := range len(whole) - 2 {
		_, ok := liveness.ParseEnvironment(whole[:n])
		c.Check(ok, qt.IsFalse, qt.Commentf("cut at %d", n))
	}
}

func FuzzWindowsRecords(f *testing.F) {
	f.Add(block("A=1", "=C:=C:\\"))
	f.Fuzz(func(t *testing.T, bytes []byte) {
		if environ, ok := liveness.ParseEnvironment(bytes); !ok && environ != nil {
			t.Fatalf("%q, cut", environ)
		}
		if key := liveness.ParseStartKey(bytes); len(bytes) < 16 && key != 0 {
			t.Fatalf("%d out of %d bytes", key, len(bytes))
		}
	})
}
