package liveness

import "sync/atomic"

// The start stamp of the process that has a number on pidfs does not change, and
// while this process runs no other process gets the number. So a stamp that was
// read once is known: to read it costs twice what the rest of a check does.
var knownStarts [256]atomic.Pointer[knownStart]

type knownStart struct{ unique, start uint64 }

func startSlot(unique uint64) *atomic.Pointer[knownStart] {
	return &knownStarts[unique%uint64(len(knownStarts))]
}

// startKnown reports whether the process of that number is known to have the
// stamp.
func startKnown(unique, start uint64) bool {
	known := startSlot(unique).Load()
	return known != nil && known.unique == unique && known.start == start
}

func rememberStart(unique, start uint64) { startSlot(unique).Store(&knownStart{unique, start}) }
