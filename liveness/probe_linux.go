package liveness

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"github.com/google/uuid"
	"github.com/rollcall-go/rollcall/bootid"
	"github.com/tklauser/go-sysconf"
	"golang.org/x/sys/unix"
)

// procView is one view of the processes of this machine: our own, or that of a
// procfs of another PID namespace.
type procView struct {
	scope
	root           string // where procfs is mounted
	markerVariable string

	// ours says that PIDs mean the same in this view as in our system calls.
	ours bool
	// files says that root shows the PIDs of this view.
	files bool
	// hides says that root may lack processes that exist. Only asked when a
	// system call cannot tell.
	hides bool
	// pidfs says that pidfds have an inode number that is a Unique.
	pidfs bool

	selfStart, selfUnique uint64
}

// linuxMaxPID is the highest limit that /proc/sys/kernel/pid_max can be set to
// (PID_MAX_LIMIT, include/linux/threads.h).
const linuxMaxPID = 1 << 22

func newLiveness(options Options) (Liveness, error) {
	view := ownView()
	view.boot, _ = bootid.Current() // unreadable: nothing is the same boot
	if root := options.Root; root != "" && filepath.Clean(root) != "/proc" {
		var err error
		if view, err = viewOf(root, view); err != nil {
			return nil, err
		}
	}
	view.exclusive = options.ExclusiveNamespace
	view.markerVariable = options.MarkerVariable
	return &Proc{view}, nil
}

// ownViewCache holds a view that is complete: nothing in it changes while this
// process runs.
var ownViewCache atomic.Pointer[procView]

// ownView describes our own PID namespace, without boot and options.
func ownView() procView {
	if cached := ownViewCache.Load(); cached != nil {
		return *cached
	}
	view := procView{root: "/proc", ours: true, files: showsOwnPIDs("/proc")}
	view.namespace = readNamespace("/proc/self/ns")
	if view.files {
		if stat, err := view.readStat(1); err == nil {
			view.namespace.InitStart = stat.start
		}
		if stat, err := view.readStat(os.Getpid()); err == nil {
			view.selfStart = stat.start
		}
	}
	if fd, err := openSelfPidfd(); err == nil {
		view.pidfs = isPidfs(fd)
		if view.pidfs {
			view.selfUnique, err = uniqueOf(fd)
			view.pidfs = err == nil
		}
		unix.Close(fd)
	}
	if view.namespace.PID != 0 {
		ownViewCache.Store(&view)
	}
	return view
}

// viewOf describes the PID namespace that the procfs at root shows.
func viewOf(root string, own procView) (procView, error) {
	root = filepath.Clean(root)
	var fs unix.Statfs_t
	if err := unix.Statfs(root, &fs); err != nil {
		return procView{}, &os.PathError{Op: "statfs", Path: root, Err: err}
	}
	if fs.Type != unix.PROC_SUPER_MAGIC {
		return procView{}, fmt.Errorf("%w: Root %s is not a procfs", ErrInvalidOptions, root)
	}
	if showsOwnPIDs(root) {
		own.root, own.files = root, true
		return own, nil
	}
	view := procView{root: root, files: true}
	view.boot = bootOf(root)
	view.namespace = readNamespace(root + "/1/ns")
	view.namespace.Time = own.namespace.Time // stamps are shifted by the reader's
	if stat, err := view.readStat(1); err == nil {
		view.namespace.InitStart = stat.start
	}
	view.hides = mayHide(root)
	return view, nil
}

// bootOf reads the boot ID that the procfs at root shows. Which machine ID goes
// with it is not known there. A subset=pid mount has no boot ID.
func bootOf(root string) bootid.ID {
	text, err := os.ReadFile(root + "/sys/kernel/random/boot_id")
	if err != nil {
		return bootid.ID{}
	}
	boot, err := uuid.Parse(strings.TrimSuffix(string(text), "\n"))
	if err != nil {
		return bootid.ID{}
	}
	return bootid.ID{Boot: boot.String(), Quality: bootid.Native}
}

// showsOwnPIDs reports whether the procfs at root counts PIDs as our system
// calls do. NSpid has one number for each namespace from the mount's down to
// ours; kernels before 4.1 do not have it (proc_pid_status(5)).
func showsOwnPIDs(root string) bool {
	self, err := os.Readlink(root + "/self")
	if err != nil || self != strconv.Itoa(os.Getpid()) {
		return false
	}
	status, err := os.ReadFile(root + "/self/status")
	if err != nil {
		return false
	}
	numbers, ok := statusField(status, "NSpid")
	return !ok || len(strings.Fields(numbers)) == 1
}

// mayHide reports whether the procfs at root is mounted with hidepid, or its
// options cannot be learned.
func mayHide(root string) bool {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return true
	}
	options, ok := procMountOptions(string(mounts), root)
	return !ok || strings.Contains(options, "hidepid=") && !strings.Contains(options, "hidepid=off") && !strings.Contains(options, "hidepid=0")
}

// readNamespace reads the namespaces that a /proc/PID/ns directory links to
// (namespaces(7)). What cannot be read is 0.
func readNamespace(dir string) Namespace {
	var n Namespace
	n.PID = namespaceInode(dir + "/pid")
	n.Time = namespaceInode(dir + "/time")
	if n.PID == 0 {
		return n
	}
	fd, err := unix.Open(dir+"/pid", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return n
	}
	defer unix.Close(fd)
	var id uint64
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.NS_GET_ID, uintptr(unsafe.Pointer(&id))); errno == 0 {
		n.PIDUnique = id
	}
	return n
}

// namespaceInode reads a link such as "pid:[4026531836]".
func namespaceInode(link string) uint64 {
	target, err := os.Readlink(link)
	if err != nil {
		return 0
	}
	_, number, _ := strings.Cut(strings.TrimSuffix(target, "]"), ":[")
	inode, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return 0
	}
	return inode
}

// openSelfPidfd opens a pidfd of this process. On Android before 12 the system
// call kills its caller with SIGSYS, which package os knows how to avoid.
func openSelfPidfd() (int, error) {
	if runtime.GOOS != "android" {
		return unix.PidfdOpen(os.Getpid(), 0)
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return -1, err
	}
	defer self.Release()
	fd := -1
	if handleErr := self.WithHandle(func(handle uintptr) { fd, err = unix.FcntlInt(handle, unix.F_DUPFD_CLOEXEC, 0) }); handleErr != nil {
		return -1, handleErr
	}
	return fd, err
}

func isPidfs(fd int) bool {
	var fs unix.Statfs_t
	return unix.Fstatfs(fd, &fs) == nil && fs.Type == unix.PID_FS_MAGIC
}

// uniqueOf reads the number of the process behind a pidfd on pidfs. A 32-bit
// kernel cuts inode numbers to 32 bits; the file handle has all of it (Linux
// 6.14, pidfs_encode_fh in fs/pidfs.c).
func uniqueOf(fd int) (uint64, error) {
	if strconv.IntSize == 32 {
		handle, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH)
		if err != nil {
			return 0, err
		}
		if handle.Size() != 8 {
			return 0, unix.EOPNOTSUPP
		}
		return binary.NativeEndian.Uint64(handle.Bytes()), nil
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return 0, err
	}
	return stat.Ino, nil
}

// exited reports whether a pidfd says that its process has ended, reaped or not.
func exited(pidfd int) bool {
	fds := [1]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	n, err := unix.Poll(fds[:], 0)
	return err == nil && n == 1
}

func (v *procView) check(id *Identity) Verdict {
	if id.PID > linuxMaxPID {
		return unreadable(invalidPID(id.PID))
	}
	verdict, sameBoot, decided := v.judge(id)
	if decided {
		return verdict
	}
	if v.ours && v.pidfs && sameBoot && id.Unique != 0 {
		if verdict, decided := v.checkUnique(id); decided {
			return verdict
		}
	}
	if !v.files {
		if verdict, gone := absent(id.PID); gone {
			return verdict
		}
		return unreadable(fmt.Errorf("%s does not show this PID namespace", v.root))
	}
	return v.checkFiles(id, sameBoot)
}

// checkUnique compares the number on pidfs. It does not decide when there is
// no pidfd to be had, for want of descriptors or of permission.
func (v *procView) checkUnique(id *Identity) (Verdict, bool) {
	fd, err := unix.PidfdOpen(id.PID, 0)
	switch err {
	case nil:
	case unix.ESRCH:
		return Verdict{State: Dead, Reason: NoProcess}, true
	case unix.ENOENT, unix.EINVAL: // the number of a thread: ENOENT since 6.15, EINVAL before
		return absent(id.PID)
	default:
		return Verdict{}, false
	}
	defer unix.Close(fd)
	unique, err := uniqueOf(fd)
	if err != nil {
		return Verdict{}, false
	}
	if unique != id.Unique || !exited(fd) {
		return verdictOf(unique == id.Unique, false), true
	}
	// For an instant a pidfd says so of a living process too: while one of its
	// threads executes a program and takes the place of the leading one, which
	// has ended (de_thread in fs/exec.c). The stat line knows better, and is
	// of this process if the process has its PID afterwards.
	stat, err := v.readStat(id.PID)
	if unix.PidfdSendSignal(fd, 0, nil, 0) == unix.ESRCH { // reaped meanwhile
		return Verdict{State: Dead, Reason: NoProcess}, true
	}
	if !v.files || err != nil {
		return verdictOf(true, exited(fd)), true
	}
	return verdictOf(true, stat.exited()), true
}

// absent reports whether no process of our PID namespace has the PID. Unlike
// kill(2), tgkill(2) does not take the number of a thread for a process.
func absent(pid int) (Verdict, bool) {
	if unix.Tgkill(pid, pid, 0) != unix.ESRCH {
		return Verdict{}, false
	}
	if unix.Kill(pid, 0) == unix.ESRCH {
		return Verdict{State: Dead, Reason: NoProcess}, true
	}
	return Verdict{State: Dead, Reason: NotAProcess}, true
}

// checkFiles compares what procfs shows. The system calls only tell whether
// somebody has the PID: hidepid leaves processes out of /proc, and /proc has
// entries for threads.
func (v *procView) checkFiles(id *Identity, sameBoot bool) Verdict {
	stat, err := v.readStat(id.PID)
	if err != nil {
		return v.unseen(id.PID, err)
	}
	if verdict, gone := v.absent(id.PID); gone {
		return verdict
	}
	if sameBoot {
		if same, decided := judgeStart(id, v.namespace, stat.start); decided {
			return verdictOf(same, stat.exited())
		}
	}
	if stat.exited() {
		// The recorded process is this one or has lost its PID: dead anyhow.
		return Verdict{State: Dead, Reason: Zombie}
	}
	var cause error
	if id.Marker != "" {
		environ, err := v.readEnviron(id.PID)
		if err == nil {
			if same, decided := judgeMarker(environ, v.markerVariable, id.Marker); decided {
				return verdictOf(same, false)
			}
		} else if verdict := v.unseen(id.PID, err); verdict.State == Dead {
			return verdict
		}
		cause = err
	}
	if !id.NotBefore.IsZero() || !id.NotAfter.IsZero() {
		boot, start, err := wallStart(stat.start)
		if err == nil {
			if verdict, decided := judgeWindow(id, boot, start); decided {
				return verdict
			}
		}
		cause = errors.Join(cause, err)
	}
	if cause != nil {
		return unreadable(cause)
	}
	return Verdict{Reason: NoEvidence}
}

// unseen judges a PID of which a file could not be read.
func (v *procView) unseen(pid int, err error) Verdict {
	switch {
	case errors.Is(err, unix.ESRCH): // it ended between open and read
		return Verdict{State: Dead, Reason: NoProcess}
	case !v.ours:
		if errors.Is(err, unix.ENOENT) && !v.hides {
			return Verdict{State: Dead, Reason: NoProcess}
		}
	default:
		if verdict, gone := absent(pid); gone {
			return verdict
		}
	}
	return unreadable(err)
}

// absent reports whether the number is a thread's or nobody's, by a system
// call in our own namespace and by /proc/PID/status in another.
func (v *procView) absent(pid int) (Verdict, bool) {
	if v.ours {
		return absent(pid)
	}
	status, err := os.ReadFile(v.root + "/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		verdict := v.unseen(pid, err)
		return verdict, verdict.State == Dead
	}
	leader, ok := statusField(status, "Tgid")
	return Verdict{State: Dead, Reason: NotAProcess}, ok && leader != strconv.Itoa(pid)
}

// statTries is how often a stat line may be that of a replaced thread. A
// process would have to execute a program at each of them.
const statTries = 100

var errReplaced = errors.New("its leading thread is replaced again and again")

// readStat reads and parses /proc/PID/stat without allocating.
func (v *procView) readStat(pid int) (procStat, error) {
	var buf [512]byte // field 22 ends within 400 bytes
	for range statTries {
		n, err := v.read(pid, "/stat", buf[:])
		if err != nil {
			return procStat{}, v.pathError(pid, "/stat", err)
		}
		stat, err := parseProcStat(buf[:n])
		if err != nil {
			return procStat{}, v.pathError(pid, "/stat", err)
		}
		if !stat.replaced() {
			return stat, nil
		}
	}
	return procStat{}, v.pathError(pid, "/stat", errReplaced)
}

func (v *procView) pathError(pid int, file string, err error) error {
	return &os.PathError{Op: "read", Path: v.root + "/" + strconv.Itoa(pid) + file, Err: err}
}

// read makes the path on the stack and calls openat(2) itself, because
// unix.Open would copy the path to the heap.
func (v *procView) read(pid int, file string, buf []byte) (int, error) {
	var space [128]byte
	path := append(space[:0], v.root...)
	path = strconv.AppendInt(append(path, '/'), int64(pid), 10)
	path = append(append(path, file...), 0)
	const atFdcwd = unix.AT_FDCWD
	dir := atFdcwd // a variable, because the negative constant has no uintptr
	fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(dir), uintptr(unsafe.Pointer(&path[0])), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	n, err := unix.Read(int(fd), buf)
	unix.Close(int(fd))
	if err != nil {
		return 0, err
	}
	return n, nil
}

// maxEnviron bounds what is read of an environment, which a process may have
// pointed at any part of its memory (PR_SET_MM_ENV_START, prctl(2)). The
// kernel starts no program with more than 6 MiB (execve(2)).
const maxEnviron = 8 << 20

func (v *procView) readEnviron(pid int) ([]byte, error) {
	file, err := os.Open(v.root + "/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	environ, err := io.ReadAll(io.LimitReader(file, maxEnviron))
	if err == nil && len(environ) == maxEnviron {
		return nil, fmt.Errorf("%s: longer than any environment", file.Name())
	}
	return environ, err
}

// wallStart converts a start stamp to wall time by the clocks of now, and
// tells when this boot began. A step of the wall clock since the start moves
// both.
func wallStart(ticks uint64) (boot, start time.Time, err error) {
	perSecond, err := sysconf.Sysconf(sysconf.SC_CLK_TCK)
	if err != nil {
		return time.Time{}, time.Time{}, fmt.Errorf("clock tick: %w", err)
	}
	var uptime unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &uptime); err != nil {
		return time.Time{}, time.Time{}, os.NewSyscallError("clock_gettime", err)
	}
	boot = time.Now().Add(-time.Duration(uptime.Nano()))
	hz := uint64(perSecond)
	sinceBoot := time.Duration(ticks/hz)*time.Second + time.Duration(ticks%hz)*time.Second/time.Duration(hz)
	return boot, boot.Add(sinceBoot), nil
}

func self() (Identity, error) {
	view := ownView()
	id := Identity{PID: os.Getpid(), Namespace: view.namespace, Start: view.selfStart, Unique: view.selfUnique}
	id.Boot, _ = bootid.Current()
	return id, nil
}

func capture(pid int) (Identity, error) {
	if pid < 1 || pid > linuxMaxPID {
		return Identity{}, invalidPID(pid)
	}
	view := ownView()
	if view.pidfs {
		fd, err := unix.PidfdOpen(pid, 0)
		if err == nil {
			defer unix.Close(fd)
			return captureFrom(fd, pid, view)
		}
	}
	if verdict, gone := absent(pid); gone {
		return Identity{}, fmt.Errorf("%w: %s", ErrNoProcess, name(reasonSentences[:], int(verdict.Reason)))
	}
	return captureFrom(-1, pid, view)
}

// captureFrom reads the evidence of the process that pidfd pins, or that has
// the PID where there is no pidfd (-1).
func captureFrom(pidfd, pid int, view procView) (Identity, error) {
	id := Identity{PID: pid, Namespace: view.namespace}
	id.Boot, _ = bootid.Current()
	if view.files {
		stat, err := view.readStat(pid)
		switch {
		case err == nil:
			id.Start = stat.start
		case errors.Is(err, unix.ESRCH):
			return Identity{}, fmt.Errorf("%w: %w", ErrNoProcess, err)
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
	// Only while the process is not reaped does the PID stay its own: the
	// stamp above is its own if that still holds.
	if err := unix.PidfdSendSignal(pidfd, 0, nil, 0); err == unix.ESRCH {
		return Identity{}, fmt.Errorf("%w: %w", ErrNoProcess, err)
	}
	return id, nil
}

func captureProcess(process *os.Process) (id Identity, err error) {
	view := ownView()
	handleErr := process.WithHandle(func(handle uintptr) { id, err = captureFrom(int(handle), process.Pid, view) })
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
