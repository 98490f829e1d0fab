// Package signals has the signals that not every system knows. They are nil where
// processes are not stopped by signals.
package signals

import "os"

var system = ofSystem()

type signals struct{ cont, stop, null os.Signal }

var (
	// Continue continues a stopped process.
	Continue = system.cont
	// Stop stops a process.
	Stop = system.stop
	// Null does nothing, and tells whether a signal could be sent.
	Null = system.null
)
