package bootid

// The internals that tests look at.
var (
	ParseMonotonicOffset = parseMonotonicOffset
	ParseUUID            = parseUUID
	HashMachine          = hashMachine
)
