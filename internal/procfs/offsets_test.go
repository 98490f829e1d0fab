package procfs_test

import (
	"math"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/procfs"
)

func TestMonotonicOffset(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		name string
		text string
		want time.Duration
		ok   bool
	}{
		{"as Linux 6.18 writes it", "monotonic           0         0\nboottime            0         0\n", 0, true},
		{"ahead", "monotonic      172800         5\nboottime            0         0\n", 48*time.Hour + 5, true},
		{"behind: the nanoseconds count up", "monotonic         -10 500000000\nboottime 0 0\n", -9500 * time.Millisecond, true},
		{"other order", "boottime 7 7\nmonotonic 1 2\n", time.Second + 2, true},
		{"no final newline", "monotonic 1 2", time.Second + 2, true},
		{"largest", "monotonic 9223372035 999999999\n", 9223372035*time.Second + 999999999, true},
		{"empty", "", 0, false},
		{"boottime alone", "boottime 1 2\n", 0, false},
		{"cut after the seconds", "monotonic 1", 0, false},
		{"a field too many", "monotonic 1 2 3\n", 0, false},
		{"no number", "monotonic one 2\n", 0, false},
		{"no nanoseconds", "monotonic 1 two\n", 0, false},
		{"negative nanoseconds", "monotonic 1 -2\n", 0, false},
		{"too many nanoseconds", "monotonic 1 1000000000\n", 0, false},
		{"overflow", "monotonic 9223372036 999999999\n", 0, false},
		{"overflow below", "monotonic -9223372036 0\n", 0, false},
		{"overflow of int64", "monotonic 9223372036854775808 0\n", 0, false},
	} {
		c.Run(test.name, func(c *qt.C) {
			got, ok := procfs.MonotonicOffset([]byte(test.text))
			c.Check(ok, qt.Equals, test.ok)
			c.Check(got, qt.Equals, test.want)
		})
	}
}

func FuzzMonotonicOffset(f *testing.F) {
	f.Add([]byte("monotonic           0         0\nboottime            0         0\n"))
	f.Add([]byte("monotonic -10 500000000\n"))
	f.Add([]byte("monotonic 9223372036 999999999\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		offset, ok := procfs.MonotonicOffset(text)
		if !ok && offset != 0 {
			t.Fatalf("%q: %v, but not ok", text, offset)
		}
		if offset == math.MinInt64 || offset == math.MaxInt64 {
			t.Fatalf("%q: %v is at the edge", text, offset)
		}
	})
}
