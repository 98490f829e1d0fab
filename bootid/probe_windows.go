package bootid

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

func current() (ID, error) {
	machine := readMachine()
	id, ok := bootCounter(sharedBoot(), telemetryBoot())
	if !ok {
		var info [timeOfDaySize]byte
		err := windows.NtQuerySystemInformation(windows.SystemTimeOfDayInformation, unsafe.Pointer(&info[0]), timeOfDaySize, nil)
		if err != nil {
			return ID{Machine: machine}, fmt.Errorf("NtQuerySystemInformation(SystemTimeOfDayInformation): %w", err)
		}
		if id, ok = parseTimeOfDay(info[:]); !ok {
			return ID{Machine: machine}, fmt.Errorf("SYSTEM_TIMEOFDAY_INFORMATION: no boot time: %x", info)
		}
	}
	id.Machine = machine
	return id, nil
}

// sharedBoot reads BootId of KUSER_SHARED_DATA, which Windows maps at the same
// address into each process
// (https://learn.microsoft.com/windows-hardware/drivers/ddi/ntddk/ns-ntddk-kuser_shared_data).
func sharedBoot() uint32 {
	const address = 0x7FFE0000 + 0x2C4
	var counter uint32
	err := windows.ReadProcessMemory(windows.CurrentProcess(), address, (*byte)(unsafe.Pointer(&counter)), unsafe.Sizeof(counter), nil)
	if err != nil {
		return 0
	}
	return counter
}

func telemetryBoot() uint32 {
	var info [256]byte
	var n uint32
	err := windows.NtQueryInformationProcess(windows.CurrentProcess(), windows.ProcessTelemetryIdInformation, unsafe.Pointer(&info[0]), uint32(len(info)), &n)
	if err != nil || int(n) > len(info) {
		return 0
	}
	counter, _ := parseTelemetryBoot(info[:n])
	return counter
}

// readMachine returns "" where Windows was set up without a MachineGuid.
func readMachine() string {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, `SOFTWARE\Microsoft\Cryptography`, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if err != nil {
		return ""
	}
	defer key.Close()
	text, _, err := key.GetStringValue("MachineGuid")
	if err != nil {
		return ""
	}
	id, ok := parseUUID([]byte(text), 36)
	if !ok {
		return ""
	}
	return hashMachine(id)
}

var unbiasedInterruptTime = windows.NewLazySystemDLL("kernel32.dll").NewProc("QueryUnbiasedInterruptTime")

func awake() (time.Duration, error) {
	var time100ns uint64
	ok, _, err := unbiasedInterruptTime.Call(uintptr(unsafe.Pointer(&time100ns)))
	if ok == 0 {
		return 0, fmt.Errorf("QueryUnbiasedInterruptTime: %w", err)
	}
	return time.Duration(time100ns) * 100, nil
}
