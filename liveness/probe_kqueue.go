//go:build (darwin && !ios) || dragonfly || freebsd || netbsd || openbsd

package liveness

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
)

// runningKqueue is a kqueue of the kernel that this process runs on.
type runningKqueue struct {
	fd int
	// A byte in the pipe is an interruption. OpenBSD has no EVFILT_USER.
	readEnd, writeEnd *os.File
	pipeFD            int
	interrupted       atomic.Bool
	closed            atomic.Bool
	events            [128]syscall.Kevent_t
}

func openKqueue() (kqueue, error) {
	fd, err := syscall.Kqueue()
	if err != nil {
		return nil, os.NewSyscallError("kqueue", err)
	}
	syscall.CloseOnExec(fd) // a child of fork(2) does not inherit it
	k := &runningKqueue{fd: fd}
	if k.readEnd, k.writeEnd, err = os.Pipe(); err != nil {
		_ = syscall.Close(fd)
		return nil, err
	}
	k.pipeFD = int(k.readEnd.Fd())
	if err := k.change(k.pipeFD, syscall.EVFILT_READ, syscall.EV_ADD, 0); err != nil {
		_ = k.close()
		return nil, err
	}
	return k, nil
}

func (k *runningKqueue) change(ident, filter, flags int, notes uint32) error {
	var changes [1]syscall.Kevent_t
	syscall.SetKevent(&changes[0], ident, filter, flags)
	changes[0].Fflags = notes
	for {
		_, err := syscall.Kevent(k.fd, changes[:], nil, nil)
		if !errors.Is(err, syscall.EINTR) {
			return noProcess("kevent", err)
		}
	}
}

// noProcess wraps the error of a system call, ESRCH by ErrNoProcess.
func noProcess(call string, err error) error {
	if errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("%w: %w", ErrNoProcess, err)
	}
	return os.NewSyscallError(call, err)
}

func (k *runningKqueue) register(pid int) error {
	return k.change(pid, syscall.EVFILT_PROC, syscall.EV_ADD|syscall.EV_ONESHOT, syscall.NOTE_EXIT)
}

// unregister fails if the end was told.
func (k *runningKqueue) unregister(pid int) {
	_ = k.change(pid, syscall.EVFILT_PROC, syscall.EV_DELETE, 0)
}

func (k *runningKqueue) ended(wait bool) ([]int, error) {
	var timeout *syscall.Timespec
	if !wait {
		timeout = &syscall.Timespec{}
	}
	n, err := syscall.Kevent(k.fd, nil, k.events[:], timeout)
	switch {
	case k.closed.Load():
		return nil, os.ErrClosed
	case errors.Is(err, syscall.EINTR):
		return nil, nil
	case err != nil:
		return nil, os.NewSyscallError("kevent", err)
	}
	var pids []int
	for _, event := range k.events[:n] {
		if int(event.Filter) == syscall.EVFILT_PROC {
			pids = append(pids, int(event.Ident))
		}
	}
	return pids, nil
}

func (k *runningKqueue) interrupt() {
	if !k.interrupted.Swap(true) {
		_, _ = k.writeEnd.Write([]byte{0})
	}
}

func (k *runningKqueue) reset() {
	if k.interrupted.Load() {
		var one [1]byte
		_, _ = k.readEnd.Read(one[:])
		k.interrupted.Store(false)
	}
}

func (k *runningKqueue) kill(pid int, sig os.Signal) error {
	number, ok := sig.(syscall.Signal)
	if !ok {
		return fmt.Errorf("signal %v: %w", sig, errors.ErrUnsupported)
	}
	return noProcess("kill", syscall.Kill(pid, number))
}

func (k *runningKqueue) exists(pid int) error { return noProcess("kill", syscall.Kill(pid, 0)) }

func (k *runningKqueue) group(pid int) (int, error) {
	group, err := syscall.Getpgid(pid)
	return group, noProcess("getpgid", err)
}

func (k *runningKqueue) close() error {
	k.closed.Store(true)
	_ = k.readEnd.Close()
	_ = k.writeEnd.Close()
	return os.NewSyscallError("close", syscall.Close(k.fd))
}
