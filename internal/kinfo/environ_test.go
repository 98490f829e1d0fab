package kinfo_test

import (
	"encoding/binary"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/kinfo"
)

// procArgs is what KERN_PROCARGS2 of macOS answers for
// /bin/prog a "" with A=1 and ROLLCALL_MARKER=x, built by hand.
const procArgs = "\x03\x00\x00\x00/bin/prog\x00\x00\x00prog\x00a\x00\x00A=1\x00ROLLCALL_MARKER=x\x00\x00ptr_munge=\x00"

func TestEnvironmentOfMacOS(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		name, block, want string
	}{
		{"whole", procArgs, "A=1\x00ROLLCALL_MARKER=x\x00\x00ptr_munge=\x00"},
		{"with an empty entry", "\x00\x00\x00\x00/p\x00A=1\x00\x00ROLLCALL_MARKER=x\x00", "A=1\x00\x00ROLLCALL_MARKER=x\x00"},
		{"of a program that Apple protects", procArgs[:4+12+8], ""},
		{"cut within the environment", procArgs[:30], "A=1\x00"},
		{"without arguments", "\x00\x00\x00\x00/p\x00A=1\x00", "A=1\x00"},
	} {
		environ, err := kinfo.ParseProcArgs([]byte(test.block))
		c.Check(err, qt.IsNil, qt.Commentf(test.name))
		c.Check(string(environ), qt.Equals, test.want, qt.Commentf(test.name))
	}
	for n := range 4 + 12 + 7 {
		environ, err := kinfo.ParseProcArgs([]byte(procArgs[:n]))
		c.Check(err, qt.ErrorIs, kinfo.ErrMalformed, qt.Commentf("%d bytes", n))
		c.Check(environ, qt.IsNil)
	}
}

// envVector is what KERN_PROC_ENV of OpenBSD writes to an address, built by
// hand: pointers to A=1 and B=2, nil, and the strings.
func envVector(order binary.AppendByteOrder, base uint64, pointerSize int) []byte {
	var block []byte
	for _, offset := range []uint64{3, 3} {
		pointer := base + offset*uint64(pointerSize)
		if len(block) > 0 {
			pointer += 4
		}
		if pointerSize == 8 {
			block = order.AppendUint64(block, pointer)
		} else {
			block = order.AppendUint32(block, uint32(pointer))
		}
	}
	block = append(block, make([]byte, pointerSize)...)
	return append(block, "A=1\x00B=2\x00"...)
}

func TestEnvironmentOfOpenBSD(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	const base = 0xc0001000
	for _, test := range []struct {
		goarch      string
		order       binary.AppendByteOrder
		pointerSize int
	}{
		{"amd64", binary.LittleEndian, 8},
		{"386", binary.LittleEndian, 4},
		{"ppc64", binary.BigEndian, 8},
	} {
		system, _ := kinfo.Of("openbsd", test.goarch)
		block := envVector(test.order, base, test.pointerSize)
		environ, err := system.ParseEnvVector(block, base, test.pointerSize)
		c.Assert(err, qt.IsNil)
		c.Check(string(environ), qt.Equals, "A=1\x00B=2\x00")
		for n := range block {
			environ, err := system.ParseEnvVector(block[:n], base, test.pointerSize)
			c.Assert(err, qt.ErrorIs, kinfo.ErrMalformed, qt.Commentf("%s: %d bytes", test.goarch, n))
			c.Assert(environ, qt.IsNil)
		}
		_, err = system.ParseEnvVector(block, base+1<<20, test.pointerSize)
		c.Check(err, qt.ErrorMatches, "malformed process record: an entry of the environment at .*")
	}
}

func FuzzEnviron(f *testing.F) {
	f.Add([]byte(procArgs))
	f.Add(envVector(binary.LittleEndian, 0, 8))
	f.Add(envVector(binary.LittleEndian, 0, 4))
	openbsd, _ := kinfo.Of("openbsd", "amd64")
	f.Fuzz(func(t *testing.T, block []byte) {
		if len(block) > 1<<12 {
			return
		}
		for _, parse := range []func() ([]byte, error){
			func() ([]byte, error) { return kinfo.ParseProcArgs(block) },
			func() ([]byte, error) { return openbsd.ParseEnvVector(block, 0, 8) },
			func() ([]byte, error) { return openbsd.ParseEnvVector(block, 0, 4) },
		} {
			environ, err := parse()
			if err != nil && environ != nil || len(environ) > 0 && environ[len(environ)-1] != 0 {
				t.Fatalf("%q, %v", environ, err)
			}
		}
	})
}
