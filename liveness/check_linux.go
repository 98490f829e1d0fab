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

func (v *procView) check(id *Identity) Verdict {
	verdict, sameBoot, decided := v.judge(id)
	if decided {
		return verdict
	}
	var unique uint64
	if v.pidfs && id.Unique != 0 {
		if verdict, unique, decided = v.checkUnique(id, sameBoot); decided {
			return verdict
		}
	}
	if !v.files {
		if verdict, gone := v.gone(id.PID); gone {
			return verdict
		}
		return unreadable(fmt.Errorf("%s does not show this PID namespace", v.root))
	}
	return v.checkFiles(id, sameBoot, unique)
}

// checkUnique compares the number on pidfs, and the start stamp. It does not
// decide when no pidfd can be opened, as with no descriptors left or no
// permission, nor when the two agree and the boots cannot be compared.
func (v *procView) checkUnique(id *Identity, sameBoot bool) (verdict Verdict, unique uint64, decided bool) {
	fd, errno := rawPidfdOpen(id.PID)
	switch errno {
	case 0:
	case unix.ESRCH:
		return Verdict{State: Dead, Reason: NoProcess}, 0, true
	case unix.ENOENT, unix.EINVAL: // the number of a thread: ENOENT since 6.15, EINVAL before
		verdict, decided = absent(id.PID)
		return verdict, 0, decided
	default:
		return Verdict{}, 0, false
	}
	defer rawClose(fd)
	unique, err := uniqueOf(fd)
	if err != nil {
		return Verdict{}, 0, false
	}
	if unique != id.Unique {
		return Verdict{State: Dead, Reason: PIDReused}, unique, true
	}
	if !sameBoot {
		return Verdict{}, unique, false
	}
	numbers, start := agrees, uint64(0)
	if id.Start != 0 && !startKnown(unique, id.Start) && v.files {
		stat, _ := v.readStat(id.PID) // of the pidfd's process if that has its PID below
		start = stat.Start
		numbers = v.compare(id, holder{start: start, unique: unique})
	}
	verdict, err = v.judgePinned(fd, id.PID)
	switch {
	case err != nil:
		return Verdict{}, 0, false
	case numbers == differs && verdict.Reason != NoProcess:
		verdict = Verdict{State: Dead, Reason: PIDReused}
	case verdict.State == Alive && start != 0 && start == id.Start:
		rememberStart(unique, start)
	}
	return verdict, unique, true
}

// judgePinned says whether the process of a pidfd, which has or had the PID,
// still lives. The error says that this could not be read: no descriptors or memory
// are left.
func (v *procView) judgePinned(pidfd, pid int) (Verdict, error) {
	if over, err := exited(pidfd); err != nil || !over {
		return verdictOf(false), err
	}
	// For an instant a pidfd says so of a living process too: while one of its
	// threads executes a program and takes the place of the leading one, which
	// has ended (de_thread in fs/exec.c). The stat line knows better, and is
	// of this process if the process has its PID afterwards.
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
// it does not find a process either while one of its threads executes a program and
// takes the place of the leading one, so /proc, where it shows the number, has the
// last word.
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

// checkFiles compares what procfs shows. The system calls only tell whether
// somebody has the PID: hidepid leaves processes out of /proc, and /proc has
// entries for threads.
func (v *procView) checkFiles(id *Identity, sameBoot bool, unique uint64) Verdict {
	stat, err := v.readStat(id.PID)
	if err != nil {
		return v.unseen(id.PID, err)
	}
	if verdict, gone := v.gone(id.PID); gone {
		return verdict
	}
	return v.judgeHolder(id, sameBoot, holder{start: stat.Start, unique: unique, exited: stat.Exited(), borrowed: stat.Borrowed()}, v)
}

// unseen judges a PID of which stat or status could not be read.
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

// gone reports whether the number is a thread's or nobody's, by a system call
// in our own namespace and by /proc/PID/status in another.
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
