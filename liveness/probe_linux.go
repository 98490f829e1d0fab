package liveness

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/exhausted"
	"github.com/rollcall-go/rollcall/internal/procfs"
)

// view is what a System is here.
type view = procView

// procView is one view of the processes of this machine: our own, or that of a
// procfs of another PID namespace.
type procView struct {
	scope
	root string // where procfs is mounted

	// dir is root if it shows another PID namespace, and nil if PIDs mean the same
	// there as in our system calls. System calls say nothing about another namespace,
	// so its files must stay those of one mount.
	dir *os.Root
	// files says that root shows the PIDs of this view.
	files bool
	// pidfs says that pidfds have an inode number that is a Unique.
	pidfs bool
	// pidfdErr is why this process cannot open pidfds; nil if it can.
	pidfdErr error

	// selfPID is kept because os.Getpid is a system call each time.
	selfPID               int
	selfStart, selfUnique uint64
	// namespaceErr is why the namespace is not known. A kernel without PID
	// namespaces is no error.
	namespaceErr error
}

func newView(options Options) (procView, error) {
	view, err := ownView()
	if err != nil {
		return procView{}, err
	}
	view.boot, err = bootid.Current()
	if exhausted.Is(err) {
		return procView{}, err
	} // otherwise it cannot be read at all: nothing is the same boot
	if root := filepath.Clean(options.Root); options.Root != "" && root != "/proc" {
		if view, err = viewOf(root, view); err != nil {
			return procView{}, err
		}
	}
	view.exclusive, view.sameMachine = options.ExclusiveNamespace, options.SameMachine
	view.markerVariable = options.MarkerVariable
	view.highestPID = linuxMaxPID
	view.lastBoot = new(atomic.Pointer[comparedBoot])
	view.starts = &starts
	return view, nil
}

// ownViewCache holds our own view: nothing in it changes while this process
// runs.
var ownViewCache atomic.Pointer[procView]

// ownView describes our own PID namespace, without boot and options. It fails when
// descriptors or memory are exhausted, because the view is kept: one that is made
// then would always lack evidence.
func ownView() (procView, error) {
	if cached := ownViewCache.Load(); cached != nil {
		return *cached, nil
	}
	view, err := makeOwnView()
	if err == nil {
		ownViewCache.Store(&view)
	}
	return view, err
}

func makeOwnView() (procView, error) {
	view := procView{root: "/proc", selfPID: os.Getpid()}
	var err error
	if view.files, err = showsOwnPIDs(view.root); err != nil {
		return procView{}, err
	}
	if view.namespace, view.namespaceErr = readNamespace(); exhausted.Is(view.namespaceErr) {
		return procView{}, view.namespaceErr
	}
	if view.files {
		first, err := view.readStat(1)
		if exhausted.Is(err) {
			return procView{}, err
		}
		self, err := view.readStat(view.selfPID)
		if exhausted.Is(err) {
			return procView{}, err
		}
		view.namespace.InitStart, view.selfStart = first.Start, self.Start
	}
	fd, err := openSelfPidfd()
	if exhausted.Is(err) {
		return procView{}, err
	}
	if view.pidfdErr = err; err == nil {
		defer unix.Close(fd)
		if isPidfs(fd) {
			view.selfUnique, err = uniqueOf(fd)
			view.pidfs = err == nil
		}
	}
	return view, nil
}

// viewOf describes the PID namespace that the procfs at root shows.
func viewOf(root string, own procView) (procView, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(root, &stat); err != nil {
		return procView{}, &os.PathError{Op: "statfs", Path: root, Err: err}
	}
	if stat.Type != unix.PROC_SUPER_MAGIC {
		return procView{}, fmt.Errorf("%w: Root %s is not a procfs", errInvalidOptions, root)
	}
	switch shows, err := showsOwnPIDs(root); {
	case err != nil:
		return procView{}, err
	case shows:
		own.root, own.files = root, true
		return own, nil
	}
	view := procView{root: root, files: true}
	var err error
	if view.dir, err = os.OpenRoot(root); err != nil {
		return procView{}, err
	}
	boot, bootErr := view.bootOf(own.boot)
	namespace, namespaceErr := procfs.NamespaceLink(view.dir.Readlink("1/ns/pid"))
	first, statErr := view.readStat(1)
	for _, err := range []error{bootErr, namespaceErr, statErr} {
		if exhausted.Is(err) {
			_ = view.dir.Close()
			return procView{}, err
		}
	}
	view.boot = boot
	view.namespace.PID, view.namespaceErr = namespace, namespaceErr
	// Start stamps are shifted by the time namespace of the reader.
	view.namespace.Time, view.namespace.TimeUnique = own.namespace.Time, own.namespace.TimeUnique
	view.namespace.InitStart = first.Start
	return view, nil
}

// bootOf reads the boot ID that the procfs shows. The machine is known to be
// ours if the boot is; a container may have been given other IDs. A subset=pid
// mount has no boot ID.
func (v *procView) bootOf(own bootid.ID) (bootid.ID, error) {
	unknown := bootid.ID{Machine: unknownMachine}
	file, err := v.dir.Open("sys/kernel/random/boot_id")
	if err != nil {
		return unknown, err
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		return unknown, err
	}
	boot, err := bootid.New(string(text))
	if err != nil {
		return unknown, err
	}
	var stat unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &stat); err != nil {
		return unknown, os.NewSyscallError("fstatfs", err)
	}
	if stat.Type != unix.PROC_SUPER_MAGIC {
		boot.Quality = bootid.Given
	}
	if boot.Boot == own.Boot && boot.Quality == own.Quality {
		return own, nil
	}
	boot.Machine = unknownMachine
	return boot, nil
}

// showsOwnPIDs reports whether the procfs at root counts PIDs as our system
// calls do. NSpid has one number for each namespace from the mount's down to
// ours; kernels before 4.1 do not have it (proc_pid_status(5)).
func showsOwnPIDs(root string) (bool, error) {
	self, err := os.Readlink(root + "/self")
	if exhausted.Is(err) {
		return false, err
	}
	if err != nil || self != strconv.Itoa(os.Getpid()) {
		return false, nil
	}
	status, err := os.ReadFile(root + "/self/status")
	if exhausted.Is(err) {
		return false, err
	}
	if err != nil {
		return false, nil
	}
	numbers, ok := procfs.StatusField(status, "NSpid")
	return !ok || len(strings.Fields(numbers)) == 1, nil
}

// mayHide reports whether the procfs of a foreign view is mounted with hidepid,
// or its options cannot be learned. They may have changed since it was opened.
func (v *procView) mayHide() bool {
	dir, err := v.dir.Open(".")
	if err != nil {
		return true
	}
	defer dir.Close()
	info, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(int(dir.Fd())))
	if err != nil {
		return true
	}
	mount, ok := procfs.StatusField(info, "mnt_id")
	if !ok {
		return true
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return true
	}
	options, ok := procfs.MountOptions(string(mounts), mount)
	return !ok || strings.Contains(options, "hidepid=") && !strings.Contains(options, "hidepid=off") && !strings.Contains(options, "hidepid=0")
}

// readNamespace reads our own namespaces (namespaces(7)). A kernel without them
// has no link to them.
func readNamespace() (Namespace, error) {
	const dir = "/proc/self/ns"
	var n Namespace
	var err error
	if n.PID, err = procfs.NamespaceLink(os.Readlink(dir + "/pid")); err != nil {
		if _, dirErr := os.Stat(dir); errors.Is(err, fs.ErrNotExist) && dirErr == nil {
			return Namespace{}, nil
		}
		return Namespace{}, err
	}
	if n.Time, err = procfs.NamespaceLink(os.Readlink(dir + "/time")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Namespace{}, err
	}
	if n.PIDUnique, err = namespaceID(dir + "/pid"); err != nil {
		return Namespace{}, err
	}
	if n.Time != 0 && n.Time != procfs.InitialTimeNamespace {
		if n.TimeUnique, err = namespaceID(dir + "/time"); err != nil {
			return Namespace{}, err
		}
	}
	return n, nil
}

// namespaceID returns the ID that the kernel never gives twice in a boot, 0 if it has
// none (NS_GET_ID, ioctl_nsfs(2)).
func namespaceID(link string) (uint64, error) {
	fd, err := unix.Open(link, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, &os.PathError{Op: "open", Path: link, Err: err}
	}
	defer unix.Close(fd)
	var id uint64
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.NS_GET_ID, uintptr(unsafe.Pointer(&id))); errno != 0 {
		return 0, nil //nolint:nilerr // ENOTTY before Linux 6.18
	}
	return id, nil
}
