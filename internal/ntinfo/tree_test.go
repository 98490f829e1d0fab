package ntinfo_test

import (
	"slices"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/ntinfo"
)

// A parent's PID may be another's by now: only those who were created after
// the one that has it are its children.
func TestTreeHasNoStrangers(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	root := ntinfo.Process{PID: 100, Parent: 4, Created: 1000}
	for _, test := range []struct {
		name string
		all  []ntinfo.Process
		want []uint64
	}{
		{"nobody", nil, nil},
		{"the root alone", []ntinfo.Process{root}, nil},
		{"children and theirs, in any order", []ntinfo.Process{
			ntinfo.Process{PID: 108, Parent: 104, Created: 1200}, ntinfo.Process{PID: 104, Parent: 100, Created: 1100}, root, ntinfo.Process{PID: 112, Parent: 100, Created: 1000}, ntinfo.Process{PID: 200, Parent: 4, Created: 1100},
		}, []uint64{104, 108, 112}},
		{"the orphan of one who had the PID before", []ntinfo.Process{root, ntinfo.Process{PID: 104, Parent: 100, Created: 999}}, nil},
		{"an orphan of one who had the PID of a child before", []ntinfo.Process{
			root, ntinfo.Process{PID: 104, Parent: 100, Created: 1100}, ntinfo.Process{PID: 108, Parent: 104, Created: 1050},
		}, []uint64{104}},
		{"parents of each other", []ntinfo.Process{
			root, ntinfo.Process{PID: 104, Parent: 108, Created: 1100}, ntinfo.Process{PID: 108, Parent: 104, Created: 1100}, ntinfo.Process{PID: 112, Parent: 112, Created: 1100},
		}, nil},
		{"a ring with the root", []ntinfo.Process{ntinfo.Process{PID: 100, Parent: 104, Created: 1000}, ntinfo.Process{PID: 104, Parent: 100, Created: 1000}}, []uint64{104}},
	} {
		c.Run(test.name, func(c *qt.C) {
			var got []uint64
			for _, process := range ntinfo.Descendants(slices.Values(test.all), []ntinfo.Process{root}) {
				got = append(got, process.PID)
			}
			slices.Sort(got)
			c.Check(got, qt.DeepEquals, test.want)
		})
	}
}
