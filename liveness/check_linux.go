package liveness

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/internal/exhausted"
	"github.com/rollcall-go/rollcall/internal/procfs"
)

// linuxMaxPID is the highest limit that /proc/sys/kernel/pid_max can be set to
// (PID_MAX_LIMIT, include/linux/threads.h): no process has a higher number.
const linuxMaxPID = 1 << 22

// starts are the start stamps that this process has read.
var starts startCache

func (v *procView) check(id *Identity) Verdict {
	var by pins
	if v.pidfs {
		by = v
	}
	return v.judge(id, v, by)
}

// pin opens a pidfd, whose number on pidfs is the Unique.
func (v *procView) pin(pid int) (pidfd int, unique uint64, gone Verdict) {
	fd, errno := rawPidfdOpen(pid)
	switch errno {
	case 0:
	case unix.ESRCH:
		return -1, 0, Verdict{State: Dead, Reason: NoProcess}
	case unix.ENOENT, unix.EINVAL: // the number of a thread: ENOENT since 6.15, EINVAL before
		verdict, _ := absent(pid)
		return -1, 0, verdict
	default:
		return -1, 0, Verdict{}
	}
	unique, err := uniqueOf(fd)
	if err != nil {
		rawClose(fd)
		return -1, 0, Verdict{}
	}
	return fd, unique, Verdict{}
}

func (v *procView) unpin(pidfd int) { rawClose(pidfd) }

func (v *procView) readStart(pid int) uint64 {
	if !v.files {
		return 0
	}
	stat, _ := v.readStat(pid)
	return stat.Start
}

// judgePinned asks the pidfd, and if that says that the process has ended, the stat
// line.
func (v *procView) judgePinned(pidfd, pid int) (Verdict, error) {
	if over, err := exited(pidfd); err != nil || !over {
		return verdictOf(false), err
	}
	// A pidfd says so for an instant of a living process too: while one of its
	// threads executes a program and takes the place of the leading thread, which
	// has ended (de_thread in fs/exec.c). The stat line does not. It is of this
	// process if the process still has its PID afterwards.
	stat, err := v.readStat(pid)
	switch {
	case reaped(pidfd):
		return Verdict{State: Dead, Reason: NoProcess}, nil
	case exhausted.Is(err):
		return Verdict{}, err
	case !v.files || err != nil:
		over, err := exited(pidfd)
		return verdictOf(over), err
	default:
		return verdictOf(stat.Exited()), nil
	}
}

// absent reports whether no process of our PID namespace has the PID. Unlike
// kill(2), tgkill(2) does not take the number of a thread for a process. In gVisor
// it also misses a process while one of its threads executes a program and takes the
// place of the leading thread, so /proc decides if it shows the number.
func absent(pid int) (Verdict, bool) {
	if unix.Tgkill(pid, pid, 0) != unix.ESRCH {
		return Verdict{}, false
	}
	if unix.Kill(pid, 0) == unix.ESRCH {
		return Verdict{State: Dead, Reason: NoProcess}, true
	}
	number := strconv.Itoa(pid)
	status, err := os.ReadFile("/proc/" + number + "/status")
	if leader, ok := procfs.StatusField(status, "Tgid"); err == nil && ok && leader == number {
		return Verdict{}, false
	}
	return Verdict{State: Dead, Reason: NotAProcess}, true
}

// look reads what procfs shows. The system calls only tell whether the PID is in
// use: hidepid leaves processes out of /proc, and /proc has entries for threads.
func (v *procView) look(pid int) (holder, Verdict, bool) {
	if !v.files {
		if verdict, gone := v.gone(pid); gone {
			return holder{}, verdict, false
		}
		return holder{}, unreadable(fmt.Errorf("%s does not show this PID namespace", v.root)), false
	}
	stat, err := v.readStat(pid)
	if err != nil {
		return holder{}, v.unseen(pid, err), false
	}
	if verdict, gone := v.gone(pid); gone {
		return holder{}, verdict, false
	}
	return holder{start: stat.Start, exited: stat.Exited(), borrowed: stat.Borrowed()}, Verdict{}, true
}

// unseen judges a PID whose stat or status could not be read.
func (v *procView) unseen(pid int, err error) Verdict {
	switch {
	case errors.Is(err, unix.ESRCH): // it ended between open and read
		return Verdict{State: Dead, Reason: NoProcess}
	case v.dir != nil:
		if errors.Is(err, unix.ENOENT) && !v.mayHide() {
			return Verdict{State: Dead, Reason: NoProcess}
		}
	default:
		if verdict, gone := absent(pid); gone {
			return verdict
		}
	}
	return unreadable(err)
}

// gone reports whether no process has the number, or only a thread. It asks a system
// call in our own namespace, and /proc/PID/status in another.
func (v *procView) gone(pid int) (Verdict, bool) {
	if v.dir == nil {
		return absent(pid)
	}
	status, err := v.dir.ReadFile(strconv.Itoa(pid) + "/status")
	if err != nil {
		verdict := v.unseen(pid, err)
		return verdict, verdict.State == Dead
	}
	leader, ok := procfs.StatusField(status, "Tgid")
	return Verdict{State: Dead, Reason: NotAProcess}, ok && leader != strconv.Itoa(pid)
}
