package bootid_test

import (
	"encoding/binary"
	"io/fs"
	"slices"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/ntinfo"
)

func TestBootCounterIsBelievedIfTwoPlacesAgree(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	id, ok := bootid.BootCounter(42, 42)
	c.Check(ok, qt.IsTrue)
	c.Check(id, qt.Equals, bootid.ID{Boot: "counter-42", Quality: bootid.Native})
	for _, pair := range [][2]uint32{{0, 0}, {42, 0}, {0, 42}, {42, 43}} {
		_, ok := bootid.BootCounter(pair[0], pair[1])
		c.Check(ok, qt.IsFalse, qt.Commentf("%v", pair))
	}
}

// timeOfDay builds a SYSTEM_TIMEOFDAY_INFORMATION; it proves the decoder, not
// Windows.
func timeOfDay(boot, sleep uint64) []byte {
	info := make([]byte, 48)
	binary.LittleEndian.PutUint64(info, boot)
	binary.LittleEndian.PutUint64(info[8:], boot+1000)
	binary.LittleEndian.PutUint64(info[40:], sleep)
	return info
}

func TestBootTimeOfWindowsIsDerived(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	id, ok := bootid.ParseTimeOfDay(timeOfDay(133801632000000000, 600))
	c.Check(ok, qt.IsTrue)
	c.Check(id, qt.Equals, bootid.ID{Boot: "began-133801631999999400", Quality: bootid.Derived})
	for _, info := range [][]byte{timeOfDay(0, 0), timeOfDay(5, 6), timeOfDay(1<<63, 0)} {
		_, ok := bootid.ParseTimeOfDay(info)
		c.Check(ok, qt.IsFalse)
	}
	whole := timeOfDay(133801632000000000, 0)
	for n := range whole {
		_, ok := bootid.ParseTimeOfDay(whole[:n])
		c.Check(ok, qt.IsFalse)
	}
	_, err := id.MarshalText()
	c.Check(err, qt.IsNil)
}

// A pair of readings, before the clock was set and after it.
func TestClockStepLeavesTheBootOfWindowsTheSame(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	const boot = 133801632000000000
	processes := []ntinfo.Process{{}, {PID: 4, Created: boot + 52}, {PID: 4321, Parent: 4, Created: boot + 333}}
	want := bootid.ID{Boot: "system-133801632000000052", Quality: bootid.Derived}
	for _, step := range []int64{0, 36e9, -36e9} {
		id, err := bootid.DeriveBoot(slices.Values(processes), func() ([]byte, error) {
			return timeOfDay(uint64(boot+step), 0), nil
		})
		c.Assert(err, qt.IsNil)
		c.Check(id, qt.Equals, want)
	}
}

func TestBootOfWindowsWithoutASystemProcessIsItsTime(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, processes := range [][]ntinfo.Process{nil, {{PID: 32, Created: 5}}, {{PID: 4}}} {
		id, err := bootid.DeriveBoot(slices.Values(processes), func() ([]byte, error) { return timeOfDay(700, 600), nil })
		c.Assert(err, qt.IsNil)
		c.Check(id, qt.Equals, bootid.ID{Boot: "began-100", Quality: bootid.Derived})
		_, err = bootid.DeriveBoot(slices.Values(processes), func() ([]byte, error) { return timeOfDay(0, 0), nil })
		c.Check(err, qt.ErrorMatches, "SYSTEM_TIMEOFDAY_INFORMATION: no boot time: .*")
		_, err = bootid.DeriveBoot(slices.Values(processes), func() ([]byte, error) { return nil, fs.ErrPermission })
		c.Check(err, qt.ErrorIs, fs.ErrPermission)
	}
}

func TestBootCounterOfTelemetry(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	info := make([]byte, 112)
	binary.LittleEndian.PutUint32(info, 112)
	binary.LittleEndian.PutUint32(info[60:], 42)
	counter, ok := bootid.ParseTelemetryBoot(info)
	c.Check(ok, qt.IsTrue)
	c.Check(counter, qt.Equals, uint32(42))
	for n := range 64 {
		_, ok := bootid.ParseTelemetryBoot(info[:n])
		c.Check(ok, qt.IsFalse)
	}
	binary.LittleEndian.PutUint32(info, 32) // of a version that ends before it
	_, ok = bootid.ParseTelemetryBoot(info)
	c.Check(ok, qt.IsFalse)
}

func FuzzTimeOfDay(f *testing.F) {
	f.Add(timeOfDay(133801632000000000, 600))
	f.Fuzz(func(t *testing.T, info []byte) {
		if id, ok := bootid.ParseTimeOfDay(info); ok == id.IsZero() {
			t.Fatalf("%v, %t", id, ok)
		} else if _, err := id.MarshalText(); err != nil {
			t.Fatal(err)
		}
		if counter, ok := bootid.ParseTelemetryBoot(info); !ok && counter != 0 {
			t.Fatalf("%d, %t", counter, ok)
		}
	})
}
