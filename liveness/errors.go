package liveness

import (
	"errors"

	"github.com/rollcall-go/rollcall/internal/pinned"
)

var (
	// ErrInvalid is returned when a text is not an [Identity], was cut short or
	// changed, or has the format of a newer version of this package; when an
	// Identity holds a value that no process can have, such as a negative PID; and by
	// [New] for a Root that is no procfs and for a MarkerVariable that no environment
	// can have.
	ErrInvalid = errors.New("invalid identity")

	// ErrNoProcess is returned by [Capture] and [CaptureProcess] when no
	// process has the PID, or only a thread has the number. It is returned by [Open]
	// when the recorded process is dead, and by the methods of [Process] that send a
	// signal when the process or group is gone.
	ErrNoProcess = errors.New("no such process")

	// ErrUndecided is returned by [Open] when the verdict about the recorded
	// process is Unknown: it may be the one that has the PID, or not.
	ErrUndecided = errors.New("not known to be the recorded process")

	// ErrNoGroup is returned by [Process.SignalGroup] and
	// [Process.TerminateGroup] when the process does not lead a process group, and
	// when the calling process is in the group.
	ErrNoGroup = pinned.ErrNoGroup
)

// textError has a text of its own and matches another error.
type textError struct {
	text    string
	matches error
}

func (e *textError) Error() string { return e.text }
func (e *textError) Unwrap() error { return e.matches }

var (
	errInvalidOptions error = &textError{"invalid options", ErrInvalid}
	errNewerVersion         = errors.New("identity of a newer version")
)
