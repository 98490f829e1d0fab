//go:build race

package proctest

// Race says that the race detector is on; it allocates.
const Race = true
