package liveness

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/exhausted"
)

// recorder returns our own view, and an identity with what all processes that it
// shows have in common. It fails if that cannot be read: a PID without its namespace
// would count as one of any namespace, and evidence that exists must be on record.
func recorder() (procView, Identity, error) {
	view, err := ownView()
	if err != nil {
		return procView{}, Identity{}, err
	}
	if view.namespaceErr != nil {
		return procView{}, Identity{}, fmt.Errorf("PID namespace: %w", view.namespaceErr)
	}
	id := Identity{Namespace: view.namespace}
	if id.Boot, err = bootid.Current(); exhausted.Is(err) {
		return procView{}, Identity{}, err
	}
	return view, id, nil
}

func self() (Identity, error) {
	view, id, err := recorder()
	if err != nil {
		return Identity{}, err
	}
	id.PID, id.Start, id.Unique = view.selfPID, view.selfStart, view.selfUnique
	return id, nil
}

func capture(pid int) (Identity, error) {
	if pid < 1 || pid > linuxMaxPID {
		return Identity{}, invalidPID(pid)
	}
	view, id, err := recorder()
	if err != nil {
		return Identity{}, err
	}
	id.PID = pid
	if view.pidfs {
		fd, err := unix.PidfdOpen(pid, 0)
		if err == nil {
			defer unix.Close(fd)
			return captureFrom(fd, id, &view)
		}
		if exhausted.Is(err) {
			return Identity{}, os.NewSyscallError("pidfd_open", err)
		}
	}
	if verdict, gone := absent(pid); gone {
		return Identity{}, fmt.Errorf("%w: %s", ErrNoProcess, name(reasonSentences[:], int(verdict.Reason)))
	}
	return captureFrom(-1, id, &view)
}

// captureFrom reads the evidence of the process that pidfd pins, or that has
// the PID where there is no pidfd (-1).
func captureFrom(pidfd int, id Identity, view *procView) (Identity, error) {
	if view.files {
		stat, err := view.readStat(id.PID)
		switch {
		case err == nil:
			id.Start = stat.Start
		case errors.Is(err, unix.ESRCH):
			return Identity{}, fmt.Errorf("%w: %w", ErrNoProcess, err)
		case exhausted.Is(err):
			return Identity{}, err
		}
	}
	if pidfd < 0 {
		return id, nil
	}
	if view.pidfs {
		unique, err := uniqueOf(pidfd)
		if err != nil {
			return Identity{}, fmt.Errorf("stat of pidfd: %w", err)
		}
		id.Unique = unique
	}
	// The stamp above is that of the process if it still has its PID.
	if reaped(pidfd) {
		return Identity{}, fmt.Errorf("%w: %w", ErrNoProcess, unix.ESRCH)
	}
	return id, nil
}

func captureProcess(process *os.Process) (Identity, error) {
	view, id, err := recorder()
	if err != nil {
		return Identity{}, err
	}
	id.PID = process.Pid
	handleErr := process.WithHandle(func(handle uintptr) { id, err = captureFrom(int(handle), id, &view) })
	switch {
	case handleErr == nil:
		return id, err
	case errors.Is(handleErr, os.ErrNoHandle):
		// Until a child is waited for, its PID is not given away.
		id, err = capture(process.Pid)
		switch signalErr := process.Signal(syscall.Signal(0)); {
		case errors.Is(signalErr, os.ErrProcessDone):
			return Identity{}, fmt.Errorf("%w: %w", ErrNoProcess, signalErr)
		case err == nil && !errors.Is(signalErr, unix.EPERM):
			err = signalErr
		}
		if err != nil {
			return Identity{}, err
		}
		return id, nil
	case errors.Is(handleErr, os.ErrProcessDone):
		return Identity{}, fmt.Errorf("%w: %w", ErrNoProcess, handleErr)
	default:
		return Identity{}, handleErr
	}
}
