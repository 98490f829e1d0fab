package kinfo_test

import (
	"testing"
	"unsafe"

	qt "github.com/frankban/quicktest"
	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/internal/kinfo"
)

// The offsets that the decoder of macOS reads at. They are compared when this
// file is type-checked, on whatever system that is done.
var (
	_ [648]struct{} = [unix.SizeofKinfoProc]struct{}{}
	_ [0]struct{}   = [unsafe.Offsetof(unix.KinfoProc{}.Proc) + unsafe.Offsetof(unix.ExternProc{}.P_starttime)]struct{}{}
	_ [8]struct{}   = [unsafe.Offsetof(unix.Timeval{}.Usec)]struct{}{}
	_ [36]struct{}  = [unsafe.Offsetof(unix.KinfoProc{}.Proc) + unsafe.Offsetof(unix.ExternProc{}.P_stat)]struct{}{}
	_ [560]struct{} = [unsafe.Offsetof(unix.KinfoProc{}.Eproc) + unsafe.Offsetof(unix.Eproc{}.Ppid)]struct{}{}
	_ [40]struct{}  = [unsafe.Offsetof(unix.KinfoProc{}.Proc) + unsafe.Offsetof(unix.ExternProc{}.P_pid)]struct{}{}
)

func TestLayoutIsThatOfXSys(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	var info unix.KinfoProc
	info.Proc.P_pid, info.Proc.P_stat, info.Eproc.Ppid = 4711, 5, 4242
	info.Proc.P_starttime = unix.NsecToTimeval(started * 1000)
	system, _ := kinfo.Of("darwin", "arm64")
	process, err := system.Decode(unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info)))
	c.Assert(err, qt.IsNil)
	c.Check(process, qt.Equals, zombie)
}
