package liveness

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/rollcall-go/rollcall/internal/pinned"
)

// This file has what the view of macOS and the BSDs does beyond verdicts.

func (v *sysctlView) open(id *Identity) (pinned.Process, error) {
	k, err := v.kernel.kqueue()
	if err != nil {
		return nil, err
	}
	return newKqueuePin(k, v.check, id)
}

func (v *sysctlView) newMultiplexer() (multiplexer, error) {
	k, err := v.kernel.kqueue()
	if err != nil {
		return nil, err
	}
	return newKqueueMultiplexer(k, v.check), nil
}

func (v *sysctlView) findMarked(ctx context.Context) (found []MarkedProcess, unread []error, err error) {
	records, err := v.kernel.records()
	if err != nil {
		return nil, nil, err
	}
	for _, record := range records {
		if err := ctx.Err(); err != nil {
			return found, unread, err
		}
		listed, err := v.system.Decode(record)
		if err != nil {
			unread = append(unread, err)
			continue
		}
		if listed.PID < 1 || listed.PID == os.Getpid() || listed.Exited {
			continue
		}
		process, err := v.lookForMarker(listed.PID)
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			return nil, nil, err // nor is that of any other
		case errors.Is(err, ErrNoProcess):
		case err != nil:
			unread = append(unread, err)
		case process.Identity.PID != 0:
			process.Parent = listed.Parent
			found = append(found, process)
		}
	}
	return found, unread, nil
}

// lookForMarker returns the process that has the PID if it lives and carries a
// marker, and otherwise a zero one. The environment is that of a process that had
// the PID and the start stamp before and after.
func (v *sysctlView) lookForMarker(pid int) (MarkedProcess, error) {
	before, err := v.capture(pid)
	if err != nil {
		return MarkedProcess{}, err
	}
	environ, environErr := v.readEnviron(pid)
	after, err := v.capture(pid)
	switch {
	case err != nil:
		return MarkedProcess{}, err
	case after.Start != before.Start:
		return MarkedProcess{}, ErrNoProcess
	case environErr != nil:
		return MarkedProcess{}, fmt.Errorf("PID %d: %w", pid, environErr)
	}
	marker, found := findMarker(environ, v.markerVariable)
	if !found {
		return MarkedProcess{}, nil
	}
	before.Marker = marker
	return MarkedProcess{Identity: before}, nil
}
