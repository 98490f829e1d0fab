package ntinfo

import "encoding/binary"

// The sizes of a PROCESS_TELEMETRY_ID_INFORMATION up to and with ProcessStartKey and
// BootId (https://ntdoc.m417z.com/process_telemetry_id_information).
const (
	startKeySize = 16
	bootIDSize   = 56 + 8
)

// StartKey returns ProcessStartKey of a PROCESS_TELEMETRY_ID_INFORMATION: the number
// of the process in its boot, with the boot's own number in its upper bits. It is 0
// if the record does not have it.
func StartKey(info []byte) uint64 {
	if len(info) < startKeySize || binary.LittleEndian.Uint32(info) < startKeySize {
		return 0
	}
	return binary.LittleEndian.Uint64(info[8:])
}

// BootCounter returns BootId of a PROCESS_TELEMETRY_ID_INFORMATION, which the loader
// of Windows counts up at each boot.
func BootCounter(info []byte) (uint32, bool) {
	if len(info) < bootIDSize || binary.LittleEndian.Uint32(info) < bootIDSize {
		return 0, false
	}
	return binary.LittleEndian.Uint32(info[60:]), true
}
