package liveness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/windows"

	"github.com/rollcall-go/rollcall/internal/ntinfo"
)

func (v *windowsView) findMarked(ctx context.Context) (found []MarkedProcess, unread []error, err error) {
	processes, err := ntinfo.Processes()
	if err != nil {
		return nil, nil, err
	}
	all := slices.Collect(processes)
	for _, process := range all {
		if err := ctx.Err(); err != nil {
			return found, unread, err
		}
		if process.PID == 0 || process.PID == uint64(os.Getpid()) {
			continue
		}
		id, err := v.lookForMarker(process)
		switch {
		case errors.Is(err, errNobody):
		case err != nil:
			unread = append(unread, fmt.Errorf("PID %d: %w", process.PID, err))
		case id.PID != 0:
			marked := MarkedProcess{Identity: id}
			if slices.ContainsFunc(all, func(p ntinfo.Process) bool { return process.ChildOf(p) }) {
				marked.Parent = int(process.Parent)
			}
			found = append(found, marked)
		}
	}
	return found, unread, nil
}

// lookForMarker returns the identity of the listed process if it lives and
// carries a marker, and otherwise a zero one. A handle keeps the PID meanwhile.
func (v *windowsView) lookForMarker(process ntinfo.Process) (Identity, error) {
	handle, err := openExactly(int(process.PID), queryAccess)
	if err != nil {
		return Identity{}, err
	}
	defer windows.CloseHandle(handle)
	o, err := look(handle)
	if err != nil {
		return Identity{}, err
	}
	if o.exited || o.start != process.Created {
		return Identity{}, errNobody
	}
	environ, err := v.readEnviron(int(process.PID))
	if err != nil {
		if over, waitErr := isOver(handle); waitErr == nil && over {
			return Identity{}, errNobody
		}
		return Identity{}, err
	}
	marker, found := findMarker(environ, v.markerVariable)
	if !found {
		return Identity{}, nil
	}
	id := o.identity(int(process.PID))
	id.Marker = marker
	return id, nil
}
