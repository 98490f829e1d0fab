package bootid

// The internals that tests look at on Linux.
var (
	ReadBoot        = readBoot
	ReadMachine     = readMachine
	MonotonicOffset = monotonicOffset
)
