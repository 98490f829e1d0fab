package liveness

import (
	"bytes"
	"context"
	"fmt"
	"iter"
)

// MarkedProcess is a process that [Marked] has found.
type MarkedProcess struct {
	// Identity is that of [Capture], and the Marker that the process carries.
	Identity Identity
	// Parent is the PID of its parent when it was looked at, 0 when that is
	// outside of the PID namespace or, on Windows, has exited. Nothing keeps
	// that number from passing to another process.
	Parent int
	// Inherited says that the parent is a living process with the same marker.
	// Of the processes with one marker, the one that the marker was planted in
	// is not Inherited as long as it lives. Those of its children that outlive
	// it are not either then: there can be several, or one that is a child.
	Inherited bool
}

// Marked lists the living processes that carry a marker in the variable
// ROLLCALL_MARKER: those that were planted, see [Plant], and whatever they have started
// since, because children inherit the marker. For another variable call
// [System.Marked]. A caller who leaves out the markers on record has the orphans: what
// was started, and then lost before or after it was recorded. The caller's own process
// is left out; an ancestor that carries a marker is not.
//
// A process whose environment could not be read may carry a marker. It is reported as
// an error with its PID, and the listing goes on: unless you are root, the processes of
// other users are among them. A process that has removed or overwritten its marker is
// not found; on Linux removing it from the environment that the program sees does
// not remove it from the one that is read. Processes that start while the list is
// made may be missing. A process that
// was forked and has executed no program yet has the environment of its parent: it is
// listed with the marker of that, if any.
//
// An error matches [errors.ErrUnsupported] and is the only one where processes cannot
// be listed: on systems that [Open] does not know, without a /proc of this PID
// namespace, and with a Root that shows another. When ctx is done, the last error wraps
// ctx.Err().
//
// Linux: every /proc/PID/environ is read. Windows: that of every process that may
// be opened, of the same word size, out of its memory. macOS and the BSDs: what
// sysctl(3) gives of each; DragonFly gives no environment, which is an error that
// matches errors.ErrUnsupported.
func Marked(ctx context.Context) iter.Seq2[MarkedProcess, error] {
	return func(yield func(MarkedProcess, error) bool) {
		system, err := New(Options{})
		if err != nil {
			yield(MarkedProcess{}, fmt.Errorf("liveness: list marked processes: %w", err))
			return
		}
		system.Marked(ctx)(yield)
	}
}

func markedBy(ctx context.Context, system processes) iter.Seq2[MarkedProcess, error] {
	return func(yield func(MarkedProcess, error) bool) {
		failed := func(err error) bool {
			return yield(MarkedProcess{}, fmt.Errorf("liveness: list marked processes: %w", err))
		}
		found, unread, err := system.findMarked(ctx)
		setInherited(found)
		for _, process := range found {
			if !yield(process, nil) {
				return
			}
		}
		for _, err := range unread {
			if !failed(err) {
				return
			}
		}
		if err != nil {
			failed(err)
		}
	}
}

// setInherited finds out whose parents carry the same marker. A parent was not
// started after its child.
func setInherited(found []MarkedProcess) {
	byPID := make(map[int]*MarkedProcess, len(found))
	for i := range found {
		byPID[found[i].Identity.PID] = &found[i]
	}
	for i := range found {
		process := &found[i]
		parent := byPID[process.Parent]
		process.Inherited = parent != nil && parent != process &&
			parent.Identity.Marker == process.Identity.Marker && parent.Identity.Start <= process.Identity.Start
	}
}

// findMarker returns the value of the variable in an environment block, as
// getenv(3) would, whatever else stands there.
func findMarker(environ []byte, variable string) (marker string, found bool) {
	for entry := range terminated(environ) {
		if name, value, ok := bytes.Cut(entry, []byte("=")); ok && string(name) == variable {
			return string(value), len(value) > 0
		}
	}
	return "", false
}
