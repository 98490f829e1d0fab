// Package reboot is what a machine that is cut off from its power, and the test
// that does so, say to each other.
package reboot

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// Prefix starts each line that the machine writes to its console on purpose.
const Prefix = "@@ "

// HoldArgument makes the machine's program be a process that does nothing.
const HoldArgument = "hold"

// Line is one line of the console.
type Line struct {
	// Kind says which of the other fields are set.
	Kind Kind
	// Boot is the boot ID, Wall the wall clock, Kernel the kernel's release.
	Boot   string    `json:",omitempty"`
	Wall   time.Time `json:",omitzero"`
	Kernel string    `json:",omitempty"`
	// Record is one that was registered, stopped or found.
	Record *lifecycle.Record `json:",omitempty"`
	// PID is one that a stranger has.
	PID    int               `json:",omitempty"`
	Report *lifecycle.Report `json:",omitempty"`
	Event  *lifecycle.Event  `json:",omitempty"`
	Error  string            `json:",omitempty"`
}

// Kind is what a line is about.
type Kind string

// The lines of a boot come in this order.
const (
	Booted     Kind = "booted"     // Boot, Wall, Kernel
	Left       Kind = "left"       // Record, as the last boot left it
	Stranger   Kind = "stranger"   // PID of a recorded process, now of another
	Cleaning   Kind = "cleaning"   // the pass begins
	Cleaned    Kind = "cleaned"    // Report
	Again      Kind = "again"      // Report of the second call
	Logged     Kind = "logged"     // Event
	Kept       Kind = "kept"       // Record
	Working    Kind = "working"    // from here on the power may go at any time
	Registered Kind = "registered" // Record, with its process: acknowledged by the store
	Stopped    Kind = "stopped"    // Record: acknowledged by the store
	Failed     Kind = "failed"     // Error; nothing follows
)

// Reason is the reason for which the machine stops records itself.
const Reason = "asked"

// Data is what the machine gives a record to carry.
func Data(name, incarnation string) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"argv":["run",%q],"of":%q}`, name, incarnation))
}

// Key is what the machine binds to a record.
func Key(incarnation string) string { return "session of " + incarnation }
