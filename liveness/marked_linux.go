package liveness

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

func (v *procView) findMarked(ctx context.Context) (found []MarkedProcess, unread []error, err error) {
	if v.dir != nil || !v.files {
		return nil, nil, fmt.Errorf("%s does not show this PID namespace: %w", v.root, errors.ErrUnsupported)
	}
	_, blank, err := recorder()
	if err != nil {
		return nil, nil, err
	}
	pids, err := v.listNumbers(".")
	if err != nil {
		return nil, nil, err
	}
	for _, pid := range pids {
		if err := ctx.Err(); err != nil {
			return found, unread, err
		}
		if pid == os.Getpid() {
			continue
		}
		process, err := v.lookForMarker(pid, blank)
		switch {
		case isGone(err):
		case err != nil:
			unread = append(unread, err)
		case process.Identity.PID != 0:
			found = append(found, process)
		}
	}
	return found, unread, nil
}

func isGone(err error) bool {
	return errors.Is(err, ErrNoProcess) || errors.Is(err, unix.ESRCH) || errors.Is(err, fs.ErrNotExist)
}

// lookForMarker returns the process that has the PID if it lives and carries a
// marker, and otherwise a zero one. A pidfd, or without pidfds the start stamp, makes
// sure that all that is read is of one process.
func (v *procView) lookForMarker(pid int, id Identity) (MarkedProcess, error) {
	fd := -1
	if v.pidfdErr == nil {
		var err error
		if fd, err = unix.PidfdOpen(pid, 0); err != nil {
			return MarkedProcess{}, os.NewSyscallError("pidfd_open", err)
		}
		defer unix.Close(fd)
	}
	stat, err := v.readStat(pid)
	if err != nil {
		return MarkedProcess{}, err
	}
	environ, err := v.readEnviron(pid)
	if err != nil {
		if stat, statErr := v.readStat(pid); isGone(statErr) || statErr == nil && stat.Exited() {
			return MarkedProcess{}, ErrNoProcess
		}
		return MarkedProcess{}, err
	}
	marker, found := findMarker(environ, v.markerVariable)
	if !found {
		return MarkedProcess{}, nil
	}
	id.PID = pid
	if id, err = captureFrom(fd, id, v); err != nil {
		return MarkedProcess{}, err
	}
	if id.Start != stat.Start {
		return MarkedProcess{}, ErrNoProcess
	}
	id.Marker = marker
	return MarkedProcess{Identity: id, Parent: int(stat.Parent)}, nil
}
