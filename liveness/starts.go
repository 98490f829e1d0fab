package liveness

import "sync/atomic"

// startCache holds start stamps that were read. The stamp of the process that has a
// Unique does not change, and while this process runs no other process gets the
// number. To read the stamp costs twice what the rest of a check does.
type startCache [256]atomic.Pointer[knownStart]

type knownStart struct{ unique, start uint64 }

func (c *startCache) slot(unique uint64) *atomic.Pointer[knownStart] {
	return &c[unique%uint64(len(c))]
}

// known reports whether the process of that Unique is known to have the stamp.
func (c *startCache) known(unique, start uint64) bool {
	if c == nil {
		return false
	}
	known := c.slot(unique).Load()
	return known != nil && known.unique == unique && known.start == start
}

func (c *startCache) remember(unique, start uint64) {
	if c != nil {
		c.slot(unique).Store(&knownStart{unique, start})
	}
}
