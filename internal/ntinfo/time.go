package ntinfo

import (
	"encoding/binary"
	"time"
)

// fileTimeEpoch is 1601-01-01 in Unix time, in the units of a FILETIME: 100 ns
// (https://learn.microsoft.com/windows/win32/api/minwinbase/ns-minwinbase-filetime).
const fileTimeEpoch = -116444736000000000

// FileTime converts a FILETIME, such as a start stamp of Windows, to wall time. It
// is false for 0 and for what exceeds an int64.
func FileTime(stamp uint64) (t time.Time, ok bool) {
	if stamp == 0 || stamp > 1<<63-1 {
		return time.Time{}, false
	}
	n := int64(stamp) + fileTimeEpoch
	const perSecond = int64(time.Second / 100)
	return time.Unix(n/perSecond, n%perSecond*100).UTC(), true
}

// TimeOfDaySize is the size of a SYSTEM_TIMEOFDAY_INFORMATION.
const TimeOfDaySize = 48

// BootTime returns the time at which a boot began, from a
// SYSTEM_TIMEOFDAY_INFORMATION: BootTime less SleepTimeBias, a FILETIME. On Windows a
// step of the clock moves it.
// (https://www.geoffchappell.com/studies/windows/km/ntoskrnl/api/ex/sysinfo/timeofday.htm)
func BootTime(timeOfDay []byte) (fileTime uint64, ok bool) {
	if len(timeOfDay) < TimeOfDaySize {
		return 0, false
	}
	began := binary.LittleEndian.Uint64(timeOfDay[0:]) - binary.LittleEndian.Uint64(timeOfDay[40:])
	if int64(began) <= 0 {
		return 0, false
	}
	return began, true
}
