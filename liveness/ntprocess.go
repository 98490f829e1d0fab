package liveness

import (
	"encoding/binary"
	"iter"
	"slices"
	"time"
	"unicode/utf16"

	"github.com/rollcall-go/rollcall/internal/ntinfo"
)

// This file decodes what Windows tells about processes. It has no build tag, so
// that its tests run everywhere.

// fileTimeEpoch is 1601-01-01 in Unix time, in the units of a FILETIME: 100 ns
// (https://learn.microsoft.com/windows/win32/api/minwinbase/ns-minwinbase-filetime).
const fileTimeEpoch = -116444736000000000

// fileTime converts a FILETIME, such as a start stamp of Windows, to wall time.
func fileTime(stamp uint64) (t time.Time, ok bool) {
	if stamp == 0 || stamp > 1<<63-1 {
		return time.Time{}, false
	}
	n := int64(stamp) + fileTimeEpoch
	const perSecond = int64(time.Second / 100)
	return time.Unix(n/perSecond, n%perSecond*100).UTC(), true
}

// childOf reports whether a process was started by another that has its PID
// now: the PID of a parent that has exited is given to others, who started
// later than the child.
func childOf(child, parent ntinfo.Process) bool {
	return child.Parent == parent.PID && child.PID != parent.PID && child.Created >= parent.Created
}

// descendants returns the children of the ancestors, theirs, and so on, without
// the ancestors.
func descendants(all iter.Seq[ntinfo.Process], ancestors []ntinfo.Process) []ntinfo.Process {
	children := map[uint64][]ntinfo.Process{}
	for process := range all {
		children[process.Parent] = append(children[process.Parent], process)
	}
	known := make(map[uint64]bool, len(ancestors))
	for _, ancestor := range ancestors {
		known[ancestor.PID] = true
	}
	tree := slices.Clone(ancestors)
	for i := 0; i < len(tree); i++ {
		for _, child := range children[tree[i].PID] {
			if !known[child.PID] && childOf(child, tree[i]) {
				known[child.PID] = true
				tree = append(tree, child)
			}
		}
	}
	return tree[len(ancestors):]
}

// startKeySize is as much of a PROCESS_TELEMETRY_ID_INFORMATION as ends with
// ProcessStartKey (https://ntdoc.m417z.com/process_telemetry_id_information).
const startKeySize = 16

// parseStartKey reads ProcessStartKey: the number of the process in its boot,
// with the boot's own number in its upper bits.
func parseStartKey(info []byte) uint64 {
	if len(info) < startKeySize || binary.LittleEndian.Uint32(info) < startKeySize {
		return 0
	}
	return binary.LittleEndian.Uint64(info[8:])
}

// parseEnvironment turns an environment block of Windows, UTF-16 in entries that
// a NUL ends and an empty one closes, into that of judgeMarker. Entries that
// start with an equals sign are the shell's notes of current directories
// (https://devblogs.microsoft.com/oldnewthing/20100506-00/?p=14133), and left
// out.
func parseEnvironment(block []byte) (environ []byte, ok bool) {
	units := make([]uint16, len(block)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(block[2*i:])
	}
	for {
		end := 0
		for end < len(units) && units[end] != 0 {
			end++
		}
		if end == len(units) {
			return nil, false // the block is cut
		}
		if end == 0 {
			return environ, true
		}
		if units[0] != '=' {
			environ = append(environ, string(utf16.Decode(units[:end]))...)
			environ = append(environ, 0)
		}
		units = units[end+1:]
	}
}
