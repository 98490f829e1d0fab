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
	// process has the PID: nobody has the number, or only a thread has it. It
	// is returned by [Open] when the recorded process is dead, and by the
	// methods of [Process] that send something when nobody is left to get it.
	ErrNoProcess = errors.New("no such process")

	// ErrUndecided is returned by [Open] when the verdict about the recorded
	// process is Unknown: it may be the one that has the PID, or not.
	ErrUndecided = errors.New("not known to be the recorded process")

	// ErrNotLeader is returned by [Process.SignalGroup] and
	// [Process.TerminateGroup] when the process does not lead a process group:
	// the group that it is in is somebody else's.
	ErrNotLeader = errors.New("not the leader of a process group")

	// ErrOwnGroup is returned by [Process.SignalGroup] and
	// [Process.TerminateGroup] when the calling process belongs to the group.
	ErrOwnGroup = errors.New("the calling process is in the group")
)
