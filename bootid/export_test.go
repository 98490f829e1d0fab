package bootid

// The internals that tests look at.
var (
	ParseMonotonicOffset = parseMonotonicOffset
	ParseUUID            = parseUUID
	HashMachine          = hashMachine
	BootCounter          = bootCounter
	ParseTimeOfDay       = parseTimeOfDay
	ParseTelemetryBoot   = parseTelemetryBoot
)
