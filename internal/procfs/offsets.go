package procfs

import (
	"bytes"
	"strconv"
	"time"
)

// MonotonicOffset returns the offset of the monotonic clock from the text of
// /proc/PID/timens_offsets: lines of clock, seconds and nanoseconds
// (time_namespaces(7)).
func MonotonicOffset(text []byte) (time.Duration, bool) {
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) != 3 || string(fields[0]) != "monotonic" {
			continue
		}
		seconds, err1 := strconv.ParseInt(string(fields[1]), 10, 64)
		nanos, err2 := strconv.ParseInt(string(fields[2]), 10, 64)
		const maxSeconds = int64(1<<63-1) / int64(time.Second)
		if err1 != nil || err2 != nil || seconds >= maxSeconds || seconds <= -maxSeconds || nanos < 0 || nanos >= int64(time.Second) {
			return 0, false
		}
		return time.Duration(seconds)*time.Second + time.Duration(nanos), true
	}
	return 0, false
}
