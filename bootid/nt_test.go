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
		c.Check(id.Valid(), qt.IsTrue)
		_, err = bootid.DeriveBoot(slices.Values(processes), func() ([]byte, error) { return timeOfDay(0, 0), nil })
		c.Check(err, qt.ErrorMatches, "SYSTEM_TIMEOFDAY_INFORMATION: no boot time: .*")
		_, err = bootid.DeriveBoot(slices.Values(processes), func() ([]byte, error) { return nil, fs.ErrPermission })
		c.Check(err, qt.ErrorIs, fs.ErrPermission)
	}
}
