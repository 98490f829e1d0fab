package bootid

import (
	"encoding/binary"
	"strconv"
)

// This file decodes what Windows tells about its boot. It has no build tag, so
// that its tests run everywhere.

// bootCounter names a boot by the counter that the loader of Windows raises at
// each. The same number from two places (KUSER_SHARED_DATA.BootId, which is not
// documented for all versions, and PROCESS_TELEMETRY_ID_INFORMATION.BootId) is
// believed; the counter lies on the disk, so a disk that was restored or cloned
// repeats it.
func bootCounter(shared, telemetry uint32) (ID, bool) {
	if shared == 0 || shared != telemetry {
		return ID{}, false
	}
	return ID{Boot: "counter-" + strconv.FormatUint(uint64(shared), 10), Quality: Native}, true
}

const (
	timeOfDaySize = 48
	telemetrySize = 56 + 8 // up to and with BootId
)

// parseTimeOfDay names a boot by the time at which it began, out of a
// SYSTEM_TIMEOFDAY_INFORMATION: BootTime less SleepTimeBias, in units of 100 ns.
// A step of the clock moves it, so it is Derived.
// (https://www.geoffchappell.com/studies/windows/km/ntoskrnl/api/ex/sysinfo/timeofday.htm)
func parseTimeOfDay(info []byte) (ID, bool) {
	if len(info) < timeOfDaySize {
		return ID{}, false
	}
	began := binary.LittleEndian.Uint64(info[0:]) - binary.LittleEndian.Uint64(info[40:])
	if int64(began) <= 0 {
		return ID{}, false
	}
	return ID{Boot: "began-" + strconv.FormatUint(began, 10), Quality: Derived}, true
}

// parseTelemetryBoot reads BootId out of a PROCESS_TELEMETRY_ID_INFORMATION
// (https://ntdoc.m417z.com/process_telemetry_id_information).
func parseTelemetryBoot(info []byte) (uint32, bool) {
	if len(info) < telemetrySize || binary.LittleEndian.Uint32(info) < telemetrySize {
		return 0, false
	}
	return binary.LittleEndian.Uint32(info[60:]), true
}
