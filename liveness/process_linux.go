package liveness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/internal/pinned"
)

func (v *procView) open(id *Identity) (pinned.Process, error) {
	fd, err := v.openPidfd(id)
	if err != nil {
		return nil, err
	}
	return v.newPidfd(id.PID, fd)
}

// openPidfd opens a pidfd of the recorded process. The PID is judged after the pidfd
// was opened: if the pidfd's process still has it afterwards, that one was judged.
func (v *procView) openPidfd(id *Identity) (int, error) {
	fd, err := v.openAnyPidfd(id.PID)
	verdict := v.check(id)
	if verdict.State != Alive {
		if err == nil {
			unix.Close(fd)
		}
		return -1, &verdictError{verdict}
	}
	if err != nil {
		return -1, err
	}
	if err := sendable(unix.PidfdSendSignal(fd, 0, nil, 0)); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// openAnyPidfd opens a pidfd of the process that has the PID now.
func (v *procView) openAnyPidfd(pid int) (int, error) {
	switch {
	case v.dir != nil:
		return -1, fmt.Errorf("%s shows another PID namespace: %w", v.root, errors.ErrUnsupported)
	case v.pidfdErr != nil: // on Android before 12 another attempt would end this process
		return -1, fmt.Errorf("pidfd_open: %w", v.pidfdErr)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	return fd, os.NewSyscallError("pidfd_open", err)
}

// sendable takes the error of signal 0, and returns nil if there is a process.
func sendable(err error) error {
	switch err {
	case unix.EPERM, nil:
		return nil
	case unix.ESRCH:
		return &verdictError{Verdict{State: Dead, Reason: NoProcess}}
	default:
		return os.NewSyscallError("pidfd_send_signal", err)
	}
}

// pidfd is a process held by its pidfd, which package os polls.
type pidfd struct {
	view *procView
	pid  int
	file *os.File
	conn syscall.RawConn
	// turn is held while polling, because a file has one deadline for all.
	turn chan struct{}
}

func (v *procView) newPidfd(pid, fd int) (*pidfd, error) {
	if err := unix.SetNonblock(fd, true); err != nil { // so that package os polls it
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	conn, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return &pidfd{v, pid, file, conn, make(chan struct{}, 1)}, nil
}

// with calls f with the descriptor, which cannot be closed meanwhile.
func (p *pidfd) with(f func(fd int) error) error {
	var err error
	if p.conn.Control(func(fd uintptr) { err = f(int(fd)) }) != nil {
		return os.ErrClosed
	}
	return err
}

func (p *pidfd) Signal(sig os.Signal) error {
	number, ok := sig.(syscall.Signal)
	if !ok {
		return fmt.Errorf("signal %v: %w", sig, errors.ErrUnsupported)
	}
	return p.with(func(fd int) error { return sent(unix.PidfdSendSignal(fd, number, nil, 0)) })
}

func sent(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("%w: %w", ErrNoProcess, err)
	}
	return os.NewSyscallError("pidfd_send_signal", err)
}

func (p *pidfd) Close() error { return p.file.Close() }

// Wait waits in the poller of the Go runtime, which needs no thread for it.
func (p *pidfd) Wait(ctx context.Context) error {
	for {
		var verdict Verdict
		err := p.with(func(fd int) (err error) {
			verdict, err = p.view.judgePinned(fd, p.pid)
			return err
		})
		switch {
		case errors.Is(err, os.ErrClosed) || verdict.State == Dead:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			err = p.poll(ctx)
		}
		switch {
		case err == nil, errors.Is(err, os.ErrDeadlineExceeded):
		case errors.Is(err, os.ErrClosed):
			return err
		default: // it could not be polled or looked at
			select {
			case <-ctx.Done():
			case <-time.After(recheck):
			}
		}
	}
}

// poll returns when the pidfd may have become ready or ctx is done.
func (p *pidfd) poll(ctx context.Context) error {
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil
	}
	if err := p.file.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	defer interruptOnDone(ctx, func() { _ = p.file.SetReadDeadline(time.Unix(1, 0)) })()
	err := p.conn.Read(func(fd uintptr) bool {
		verdict, err := p.view.judgePinned(int(fd), p.pid)
		return verdict.State == Dead || err != nil
	})
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, os.ErrNoDeadline) {
		return os.ErrClosed // the only other error
	}
	return err
}
