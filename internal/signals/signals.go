// Package signals has the signals that not every system knows.
package signals

import "os"

// Continue continues a stopped process; it is nil where processes are not
// stopped by signals.
var Continue os.Signal = continueSignal()
