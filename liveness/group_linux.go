package liveness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/internal/pinned"
)

func (p *pidfd) SignalGroup(sig os.Signal) error {
	number, ok := sig.(syscall.Signal)
	if !ok {
		return fmt.Errorf("signal %v: %w", sig, errors.ErrUnsupported)
	}
	return p.with(func(fd int) error {
		if p.pid == unix.Getpgrp() {
			return pinned.ErrOwnGroup
		}
		leads, err := p.leads(fd)
		if err != nil {
			return err
		}
		if !leads {
			return ErrNoGroup
		}
		err = unix.PidfdSendSignal(fd, number, nil, unix.PIDFD_SIGNAL_PROCESS_GROUP)
		switch {
		case errors.Is(err, unix.EINVAL): // before Linux 6.9
			return p.killGroup(fd, number)
		case p.doubts(err):
			return p.lostGroup()
		}
		return sent(err)
	})
}

// leads reports whether the process leads a process group. One that has been waited
// for cannot be asked: it leads the group that still has its number, if there is one.
func (p *pidfd) leads(fd int) (bool, error) {
	group, err := unix.Getpgid(p.pid)
	if reaped(fd) {
		return true, nil
	}
	return group == p.pid, os.NewSyscallError("getpgid", err)
}

// killGroup signals the group by its number, which no other group gets while the
// leader has its PID.
func (p *pidfd) killGroup(fd int, sig syscall.Signal) error {
	if reaped(fd) {
		return p.lostGroup()
	}
	return sent(unix.Kill(-p.pid, sig))
}

// lostGroup is the error for a group whose number may be another's now.
func (p *pidfd) lostGroup() error {
	if unix.Kill(-p.pid, 0) == unix.ESRCH {
		return fmt.Errorf("%w: %w", ErrNoProcess, unix.ESRCH)
	}
	return errLostGroup
}

// doubts reports whether the group may exist although the kernel says that it does
// not. gVisor, which has pidfds and no pidfs, says so once the leader was waited for.
func (p *pidfd) doubts(err error) bool { return errors.Is(err, unix.ESRCH) && !p.view.pidfs }

// held returns nil if this group still has its number.
func (p *pidfd) held(fd int) error {
	err := unix.PidfdSendSignal(fd, 0, nil, unix.PIDFD_SIGNAL_PROCESS_GROUP)
	switch {
	case err == unix.EINVAL && reaped(fd), p.doubts(err):
		return p.lostGroup()
	case err == unix.EINVAL, err == unix.EPERM:
		return nil
	default:
		return sent(err)
	}
}

// WaitGroup waits for one member of the group after the other, until /proc shows none.
func (p *pidfd) WaitGroup(ctx context.Context) error {
	for {
		member, err := p.anyMember()
		switch {
		case errors.Is(err, ErrNoProcess):
			return nil
		case err != nil:
			return err
		}
		err = member.Wait(ctx)
		_ = member.Close()
		if err != nil {
			return err
		}
	}
}

// anyMember pins a living process of the group. The error matches ErrNoProcess
// when there is none.
func (p *pidfd) anyMember() (*pidfd, error) {
	if err := p.with(p.held); err != nil {
		return nil, err
	}
	if !p.view.files {
		return nil, fmt.Errorf("%s does not show this PID namespace: %w", p.view.root, errors.ErrUnsupported)
	}
	pids, err := p.view.listNumbers(".")
	if err != nil {
		return nil, err
	}
	for _, pid := range pids {
		if stat, err := p.view.readStat(pid); err == nil && stat.Group == uint64(p.pid) && !stat.Exited() {
			member, err := p.pinMember(pid)
			if member != nil || err != nil {
				return member, err
			}
		}
	}
	return nil, ErrNoProcess
}

// pinMember pins the process that has the PID if it lives in the group. It
// returns nil if it does not.
func (p *pidfd) pinMember(pid int) (*pidfd, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
		return nil, nil
	}
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	// The stat line is that of this process if it still has its PID afterwards.
	stat, err := p.view.readStat(pid)
	if reaped(fd) || err == nil && (stat.Group != uint64(p.pid) || stat.Exited()) {
		unix.Close(fd)
		return nil, nil
	}
	if err == nil {
		err = p.with(p.held) // and its group was this one if this one exists
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return p.view.newPidfd(pid, fd)
}
