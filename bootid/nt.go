package bootid

import (
	"fmt"
	"iter"
	"strconv"

	"github.com/rollcall-go/rollcall/internal/ntinfo"
)

// This file names boots of Windows. It makes no system call and has no build tag, so
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
	began, ok := ntinfo.BootTime(info)
	if !ok {
		return ID{}, fmt.Errorf("SYSTEM_TIMEOFDAY_INFORMATION: no boot time: %x", info)
	}
	return ID{Boot: "began-" + strconv.FormatUint(began, 10), Quality: Derived}, nil
}
