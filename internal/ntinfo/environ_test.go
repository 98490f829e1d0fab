package ntinfo_test

import (
	"encoding/binary"
	"testing"
	"unicode/utf16"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/ntinfo"
)

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
			environ, ok := ntinfo.ParseEnvironment(test.block)
			c.Check(ok, qt.Equals, test.ok)
			c.Check(string(environ), qt.Equals, test.want)
		})
	}
	whole := block("A=1", "M=abc")
	for n := range len(whole) - 2 {
		_, ok := ntinfo.ParseEnvironment(whole[:n])
		c.Check(ok, qt.IsFalse, qt.Commentf("cut at %d", n))
	}
}

func FuzzEnvironment(f *testing.F) {
	f.Add(block("A=1", "=C:=C:\\"))
	f.Fuzz(func(t *testing.T, bytes []byte) {
		if environ, ok := ntinfo.ParseEnvironment(bytes); !ok && environ != nil {
			t.Fatalf("%q, cut", environ)
		}
	})
}
