// Package ntinfo decodes what Windows tells about processes and about its boot, and
// reads the list of processes. The decoders make no system call and have no build
// tag, so that their tests run on every system.
package ntinfo

import (
	"encoding/binary"
	"iter"
)

// Process is a process in the list.
type Process struct {
	PID, Parent uint64
	Created     uint64 // a FILETIME
}

// Decode walks through the list of SYSTEM_PROCESS_INFORMATION that
// SystemProcessInformation returns. It needs no right to open the processes
// (https://learn.microsoft.com/windows/win32/api/winternl/nf-winternl-ntquerysysteminformation).
func Decode(list []byte, pointerSize int) iter.Seq[Process] {
	// ImageName is a UNICODE_STRING, two words in the size of a pointer;
	// BasePriority follows, and UniqueProcessId at a pointer's alignment, then
	// InheritedFromUniqueProcessId.
	const createTime, imageName = 32, 56
	id := imageName + 2*pointerSize + pointerSize
	word := func(b []byte) uint64 {
		var wide [8]byte
		copy(wide[:], b[:pointerSize])
		return binary.LittleEndian.Uint64(wide[:])
	}
	return func(yield func(Process) bool) {
		for len(list) >= id+2*pointerSize {
			p := Process{word(list[id:]), word(list[id+pointerSize:]), binary.LittleEndian.Uint64(list[createTime:])}
			next := binary.LittleEndian.Uint32(list)
			if !yield(p) || next == 0 || uint64(next) > uint64(len(list)) {
				return
			}
			list = list[next:]
		}
	}
}

// Find returns the process that has the PID.
func Find(processes iter.Seq[Process], pid uint64) (Process, bool) {
	for p := range processes {
		if p.PID == pid {
			return p, true
		}
	}
	return Process{}, false
}
