package ntinfo_test

import (
	"encoding/binary"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/ntinfo"
)

func TestStartKey(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	info := make([]byte, 112)
	binary.LittleEndian.PutUint32(info, 112)
	binary.LittleEndian.PutUint64(info[8:], 7<<48|4711)
	c.Check(ntinfo.StartKey(info), qt.Equals, uint64(7<<48|4711))
	for n := range 16 {
		c.Check(ntinfo.StartKey(info[:n]), qt.Equals, uint64(0))
	}
	clear(info[:4])
	c.Check(ntinfo.StartKey(info), qt.Equals, uint64(0), qt.Commentf("a header of no size"))
}

func TestBootCounterOfTelemetry(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	info := make([]byte, 112)
	binary.LittleEndian.PutUint32(info, 112)
	binary.LittleEndian.PutUint32(info[60:], 42)
	counter, ok := ntinfo.BootCounter(info)
	c.Check(ok, qt.IsTrue)
	c.Check(counter, qt.Equals, uint32(42))
	for n := range 64 {
		_, ok := ntinfo.BootCounter(info[:n])
		c.Check(ok, qt.IsFalse)
	}
	binary.LittleEndian.PutUint32(info, 32) // of a version that ends before it
	_, ok = ntinfo.BootCounter(info)
	c.Check(ok, qt.IsFalse)
}

func FuzzTelemetry(f *testing.F) {
	info := make([]byte, 112)
	binary.LittleEndian.PutUint32(info, 112)
	f.Add(info)
	f.Fuzz(func(t *testing.T, info []byte) {
		if key := ntinfo.StartKey(info); len(info) < 16 && key != 0 {
			t.Fatalf("%d out of %d bytes", key, len(info))
		}
		if counter, ok := ntinfo.BootCounter(info); !ok && counter != 0 {
			t.Fatalf("%d, %t", counter, ok)
		}
	})
}
