package ntinfo

import (
	"errors"
	"fmt"
	"iter"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Processes reads the list of all processes.
func Processes() (iter.Seq[Process], error) {
	list := make([]byte, 1<<18)
	for {
		var n uint32
		err := windows.NtQuerySystemInformation(windows.SystemProcessInformation, unsafe.Pointer(&list[0]), uint32(len(list)), &n)
		if errors.Is(err, windows.STATUS_INFO_LENGTH_MISMATCH) && len(list) < 1<<28 {
			list = make([]byte, max(2*len(list), int(n)))
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("NtQuerySystemInformation(SystemProcessInformation): %w", err)
		}
		return Decode(list[:n], int(unsafe.Sizeof(uintptr(0)))), nil
	}
}
