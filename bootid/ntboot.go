package bootid

import (
	"encoding/binary"
	"fmt"
	"iter"
	"strconv"

	"github.com/rollcall-go/rollcall/internal/ntinfo"
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
	return ID{Boot: counterPrefix + strconv.FormatUint(uint64(shared), 10), Quality: Native}, true
}

const (
	timeOfDaySize = 48
	telemetrySize = 56 + 8 // up to and with BootId
)

// deriveBoot names a boot by the creation time of the System process, which has
// PID 4 and lives as long as the boot. The clock told that time, and a step of the
// clock does not change it
// (https://learn.microsoft.com/windows-hardware/drivers/ddi/ntddk/nf-ntddk-psgetprocesscreatetimequadpart).
// Wine has no such process. There it is the boot time, which is that of the start of
// its server and stays (dlls/ntdll/unix/system.c of Wine).
func deriveBoot(processes iter.Seq[ntinfo.Process], timeOfDay func() ([]byte, error)) (ID, error) {
	const systemPID = 4
	if system, _ := ntinfo.Find(processes, systemPID); system.Created != 0 {
		return ID{Boot: "system-" + strconv.FormatUint(system.Created, 10), Quality: Derived}, nil
	}
	info, err := timeOfDay()
	if err != nil {
		return ID{}, err
	}
	id, ok := parseTimeOfDay(info)
	if !ok {
		return ID{}, fmt.Errorf("SYSTEM_TIMEOFDAY_INFORMATION: no boot time: %x", info)
	}
	return id, nil
}

// parseTimeOfDay names a boot by the time at which it began, out of a
// SYSTEM_TIMEOFDAY_INFORMATION: BootTime less SleepTimeBias, in units of 100 ns.
// On Windows a step of the clock moves it.
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
