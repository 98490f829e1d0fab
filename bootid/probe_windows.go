package bootid

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"github.com/rollcall-go/rollcall/internal/ntinfo"
)

func current() (ID, error) {
	machine, err := machine.get(readMachine)
	if err != nil {
		return ID{}, err
	}
	id, ok := bootCounter(sharedBoot(), telemetryBoot())
	if !ok {
		processes, err := ntinfo.Processes()
		if err == nil {
			id, err = deriveBoot(processes, readTimeOfDay)
		}
		if err != nil {
			return ID{Machine: machine}, err
		}
	}
	if machine == "" {
		id.Quality = Derived // many machines have the same small counter
	}
	id.Machine = machine
	return id, nil
}

func readTimeOfDay() ([]byte, error) {
	var space [ntinfo.TimeOfDaySize / 8]uint64 // aligned as the record is
	info := unsafe.Slice((*byte)(unsafe.Pointer(&space[0])), ntinfo.TimeOfDaySize)
	err := windows.NtQuerySystemInformation(windows.SystemTimeOfDayInformation, unsafe.Pointer(&info[0]), ntinfo.TimeOfDaySize, nil)
	if err != nil {
		return nil, fmt.Errorf("NtQuerySystemInformation(SystemTimeOfDayInformation): %w", err)
	}
	return info, nil
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

// telemetryBoot reads the record's beginning: it goes on with paths and the
// command line, which need not fit.
func telemetryBoot() uint32 {
	var space [64]uint64 // aligned as the record is
	info := unsafe.Slice((*byte)(unsafe.Pointer(&space[0])), unsafe.Sizeof(space))
	var n uint32
	err := windows.NtQueryInformationProcess(windows.CurrentProcess(), windows.ProcessTelemetryIdInformation, unsafe.Pointer(&info[0]), uint32(len(info)), &n)
	if err != nil && !errors.Is(err, windows.STATUS_BUFFER_OVERFLOW) {
		return 0
	}
	counter, _ := ntinfo.BootCounter(info[:min(int(n), len(info))])
	return counter
}

// readMachine returns "" only where Windows was set up without a MachineGuid: a
// machine without an ID counts as this one.
func readMachine() (string, error) {
	const path = `SOFTWARE\Microsoft\Cryptography`
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, path, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if errors.Is(err, registry.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("open %s: %w", path, err)
	}
	defer key.Close()
	text, _, err := key.GetStringValue("MachineGuid")
	if errors.Is(err, registry.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read MachineGuid: %w", err)
	}
	id, ok := parseUUID([]byte(text), 36)
	if !ok {
		return "", fmt.Errorf("MachineGuid: no UUID: %q", text)
	}
	return hashMachine(id), nil
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
