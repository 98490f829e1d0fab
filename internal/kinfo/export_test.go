package kinfo

// BootMicros turns kern.boottime into microseconds.
func BootMicros(s *System, seconds, fraction int64) int64 { return s.bootMicros(seconds, fraction) }
