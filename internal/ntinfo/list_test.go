package ntinfo_test

import (
	"encoding/binary"
	"slices"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/ntinfo"
)

// encode builds a list of SYSTEM_PROCESS_INFORMATION from what its documentation
// says; it proves the decoder, not Windows.
func encode(pointerSize int, processes ...ntinfo.Process) []byte {
	const size = 184
	var list []byte
	for i, p := range processes {
		entry := make([]byte, size)
		if i < len(processes)-1 {
			binary.LittleEndian.PutUint32(entry, size)
		}
		binary.LittleEndian.PutUint64(entry[32:], p.Created)
		at := 56 + 3*pointerSize
		binary.LittleEndian.PutUint32(entry[at:], uint32(p.PID))
		binary.LittleEndian.PutUint32(entry[at+pointerSize:], uint32(p.Parent))
		list = append(list, entry...)
	}
	return list
}

func TestListOfProcesses(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	processes := []ntinfo.Process{{}, {PID: 4, Created: 111}, {PID: 4321, Parent: 4, Created: 222}, {PID: 8, Parent: 4321, Created: 333}}
	for _, pointerSize := range []int{4, 8} {
		list := encode(pointerSize, processes...)
		c.Check(slices.Collect(ntinfo.Decode(list, pointerSize)), qt.DeepEquals, processes)
		for _, want := range processes {
			process, found := ntinfo.Find(ntinfo.Decode(list, pointerSize), want.PID)
			c.Check(found, qt.IsTrue)
			c.Check(process, qt.Equals, want)
		}
		_, found := ntinfo.Find(ntinfo.Decode(list, pointerSize), 12)
		c.Check(found, qt.IsFalse)
		for n := range list { // cut anywhere, nothing else is found
			some := slices.Collect(ntinfo.Decode(list[:n], pointerSize))
			c.Check(slices.Equal(some, processes[:len(some)]), qt.IsTrue, qt.Commentf("cut at %d: %v", n, some))
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(8, ntinfo.Process{PID: 4, Created: 5}, ntinfo.Process{PID: 8, Parent: 4, Created: 9}))
	f.Add(encode(4, ntinfo.Process{PID: 4, Created: 5}, ntinfo.Process{PID: 8, Parent: 4, Created: 9}))
	f.Fuzz(func(t *testing.T, list []byte) {
		for _, pointerSize := range []int{4, 8} {
			count := 0
			for range ntinfo.Decode(list, pointerSize) {
				count++
			}
			if most := len(list)/4 + 1; count > most {
				t.Fatalf("%d processes in %d bytes", count, len(list))
			}
		}
	})
}
