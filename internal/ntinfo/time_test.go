package ntinfo_test

import (
	"encoding/binary"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/ntinfo"
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
			got, ok := ntinfo.FileTime(test.stamp)
			c.Check(ok, qt.IsTrue)
			c.Check(got.Equal(test.want), qt.IsTrue, qt.Commentf("%v, want %v", got, test.want))
		})
	}
	for _, stamp := range []uint64{0, 1 << 63, 1<<64 - 1} {
		_, ok := ntinfo.FileTime(stamp)
		c.Check(ok, qt.IsFalse, qt.Commentf("%d", stamp))
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

func TestBootTime(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	began, ok := ntinfo.BootTime(timeOfDay(133801632000000000, 600))
	c.Check(ok, qt.IsTrue)
	c.Check(began, qt.Equals, uint64(133801631999999400))
	for _, info := range [][]byte{timeOfDay(0, 0), timeOfDay(5, 6), timeOfDay(1<<63, 0)} {
		_, ok := ntinfo.BootTime(info)
		c.Check(ok, qt.IsFalse)
	}
	whole := timeOfDay(133801632000000000, 0)
	for n := range whole {
		_, ok := ntinfo.BootTime(whole[:n])
		c.Check(ok, qt.IsFalse)
	}
}

func FuzzTimeOfDay(f *testing.F) {
	f.Add(timeOfDay(133801632000000000, 600))
	f.Fuzz(func(t *testing.T, info []byte) {
		if began, ok := ntinfo.BootTime(info); ok == (began == 0) || began > 1<<63-1 {
			t.Fatalf("%d, %t", began, ok)
		}
	})
}
