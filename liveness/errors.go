package liveness

import "errors"

var (
	// ErrInvalid is returned when a text is not an [Identity], or an Identity
	// holds a value that no process can have, such as a negative PID.
	ErrInvalid = errors.New("invalid identity")

	// ErrNewerVersion is returned when the text of an [Identity] was written
	// in a format that this version of the package does not know. Such a text
	// is refused, never guessed at. Errors that match it match [ErrInvalid]
	// too.
	ErrNewerVersion = errors.New("identity of a newer version")

	// ErrInvalidOptions is returned by [New] for a Root that is no procfs and
	// for a MarkerVariable that no environment can have.
	ErrInvalidOptions = errors.New("invalid options")

	// ErrNoProcess is returned by [Capture] and [CaptureProcess] when no
	// process has the PID: nobody has the number, or only a thread has it.
	ErrNoProcess = errors.New("no such process")
)
