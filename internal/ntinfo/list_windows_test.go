package ntinfo_test

import (
	"testing"
	"unsafe"

	qt "github.com/frankban/quicktest"
	"golang.org/x/sys/windows"

	"github.com/rollcall-go/rollcall/internal/ntinfo"
)

// The decoder's offsets are those of x/sys.
func TestLayoutOfTheListOfProcesses(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	var info windows.SYSTEM_PROCESS_INFORMATION
	info.CreateTime, info.UniqueProcessID, info.InheritedFromUniqueProcessID = 1234567, 4712, 4708
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info))
	process, found := ntinfo.Find(ntinfo.Decode(bytes, int(unsafe.Sizeof(uintptr(0)))), 4712)
	c.Check(found, qt.IsTrue)
	c.Check(process, qt.Equals, ntinfo.Process{PID: 4712, Parent: 4708, Created: 1234567})
}
