package liveness_test

import (
	"testing"
	"unsafe"

	qt "github.com/frankban/quicktest"
	"golang.org/x/sys/windows"

	"github.com/rollcall-go/rollcall/liveness"
)

// The decoder's offsets are those of x/sys.
func TestLayoutOfTheListOfProcesses(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	var info windows.SYSTEM_PROCESS_INFORMATION
	info.CreateTime, info.UniqueProcessID = 1234567, 4712
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info))
	created, found := liveness.FindCreateTime(bytes, 4712, int(unsafe.Sizeof(uintptr(0))))
	c.Check(found, qt.IsTrue)
	c.Check(created, qt.Equals, uint64(1234567))
}
