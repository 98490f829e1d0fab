package liveness

import (
	"encoding/binary"
	"time"
	"unicode/utf16"
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

// findCreateTime looks for a process in the list of SYSTEM_PROCESS_INFORMATION
// that SystemProcessInformation returns, and tells when it was created. It
// needs no right to open the process
// (https://learn.microsoft.com/windows/win32/api/winternl/nf-winternl-ntquerysysteminformation).
func findCreateTime(list []byte, pid uint64, pointerSize int) (created uint64, found bool) {
	// ImageName is a UNICODE_STRING, two words in the size of a pointer;
	// BasePriority follows, and UniqueProcessId at a pointer's alignment.
	const createTime, imageName = 32, 56
	uniqueProcessID := imageName + 2*pointerSize + pointerSize
	for len(list) >= uniqueProcessID+pointerSize {
		id := binary.LittleEndian.Uint64(append(list[uniqueProcessID:uniqueProcessID+pointerSize:uniqueProcessID+pointerSize], make([]byte, 8-pointerSize)...))
		if id == pid {
			return binary.LittleEndian.Uint64(list[createTime:]), true
		}
		next := binary.LittleEndian.Uint32(list)
		if next == 0 || uint64(next) > uint64(len(list)) {
			break
		}
		list = list[next:]
	}
	return 0, false
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
