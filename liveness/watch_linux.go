package liveness

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// epoll is a multiplexer of pidfds. Package os polls the epoll itself.
type epoll struct {
	view   *procView
	file   *os.File
	conn   syscall.RawConn
	events [128]unix.EpollEvent
}

func (v *procView) newMultiplexer() (multiplexer, error) {
	fd, err := v.openAnyPidfd(os.Getpid()) // to see whether pidfds can be opened
	if err != nil {
		return nil, err
	}
	unix.Close(fd)
	if fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(fd), "epoll")
	conn, err := file.SyscallConn()
	if err == nil {
		err = file.SetReadDeadline(time.Time{}) // it is polled
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return &epoll{view: v, file: file, conn: conn}, nil
}

// epollPidfd is a pidfd in an epoll.
type epollPidfd struct {
	epoll   *epoll
	pid, fd int
}

// add registers the pidfd edge-triggered: it is reported once per event, and only
// confirmed ends count.
func (e *epoll) add(id *Identity, key uint64) (watchedPin, error) {
	fd, err := e.view.openPidfd(id)
	if err != nil {
		return nil, err
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(key), Pad: int32(key >> 32)}
	if err := e.control(unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &epollPidfd{e, id.PID, fd}, nil
}

func (e *epoll) control(operation, fd int, event *unix.EpollEvent) error {
	var err error
	if e.conn.Control(func(epfd uintptr) { err = unix.EpollCtl(int(epfd), operation, fd, event) }) != nil {
		return os.ErrClosed
	}
	return os.NewSyscallError("epoll_ctl", err)
}

func (e *epoll) wait() (keys []uint64, err error) {
	readErr := e.conn.Read(func(epfd uintptr) bool {
		var n int
		n, err = unix.EpollWait(int(epfd), e.events[:], 0)
		for _, event := range e.events[:max(n, 0)] {
			keys = append(keys, uint64(uint32(event.Fd))|uint64(uint32(event.Pad))<<32)
		}
		return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
	})
	switch {
	case readErr == nil && !errors.Is(err, unix.EINTR):
		return keys, os.NewSyscallError("epoll_wait", err)
	case readErr == nil, errors.Is(readErr, os.ErrDeadlineExceeded):
		return nil, nil
	default:
		return nil, os.ErrClosed // the only other error
	}
}

func (e *epoll) interrupt()   { _ = e.file.SetReadDeadline(time.Unix(1, 0)) }
func (e *epoll) reset()       { _ = e.file.SetReadDeadline(time.Time{}) }
func (e *epoll) close() error { return e.file.Close() }

func (p *epollPidfd) judge() (Verdict, error) { return p.epoll.view.judgePinned(p.fd, p.pid) }

// close removes the pidfd from the epoll first, because a child of this process may
// hold a copy of it until it executes a program.
func (p *epollPidfd) close() {
	_ = p.epoll.control(unix.EPOLL_CTL_DEL, p.fd, nil)
	unix.Close(p.fd)
}
