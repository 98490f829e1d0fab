package proctest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const insideVariable = "ROLLCALL_TEST_INSIDE"

// Inside runs the calling test once more, alone in a process with new
// namespaces (CLONE_NEW... flags, 0 for none), and reports its result as the
// result of this test. It returns true in that process and false in this one,
// where the test is parallel to others and then done:
//
//	if !proctest.Inside(t, unix.CLONE_NEWNS) {
//		return
//	}
//
// Mounts of a new mount namespace are private, and end with it.
func Inside(t *testing.T, namespaces uintptr) bool {
	t.Helper()
	if os.Getenv(insideVariable) == t.Name() {
		if namespaces&unix.CLONE_NEWNS != 0 {
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				t.Fatal(err)
			}
		}
		return true
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), Binary(), "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(environ(), insideVariable+"="+t.Name())
	NewNamespaces(cmd, namespaces)
	output, err := cmd.CombinedOutput()
	switch {
	case forbidden(err):
		Skip(t, "no new namespaces: %v", err)
	case err != nil:
		t.Errorf("in a process of its own: %v\n%s", err, output)
	case strings.Contains(string(output), "--- SKIP: "+t.Name()):
		Skip(t, "in a process of its own:\n%s", output)
	case !strings.Contains(string(output), "--- PASS: "+t.Name()):
		t.Errorf("in a process of its own it did not run:\n%s", output)
	case testing.Verbose():
		t.Logf("in a process of its own:\n%s", output)
	}
	return false
}

// NewNamespaces makes cmd start in new namespaces. An ordinary user gets a
// user namespace with them, of which it is root.
func NewNamespaces(cmd *exec.Cmd, namespaces uintptr) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	attr := cmd.SysProcAttr
	attr.Cloneflags |= namespaces
	if namespaces != 0 && os.Geteuid() != 0 {
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
}

// StartPermitted is [Start] of a role that does what a sandbox may forbid, such as to
// mount a procfs, and says the error in place of "ready". The test is skipped then.
func StartPermitted(t testing.TB, cmd *exec.Cmd) *Child {
	t.Helper()
	child, err := TryStart(t, cmd)
	if err != nil {
		t.Fatal(err)
	}
	switch line := child.ReadLine(t); line {
	case "ready":
	case unix.EPERM.Error():
		Skip(t, "the child was told: %s", line)
	default:
		t.Fatalf("child said %q, not ready", line)
	}
	return child
}

// forbidden reports whether err is a kernel's or sandbox's no to namespaces.
func forbidden(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL)
}

// Nobody is the number of a user and group without rights.
const Nobody = 65534

// AsNobody makes cmd, of [Command], start as that user. It needs root.
func AsNobody(t testing.TB, cmd *exec.Cmd) {
	t.Helper()
	if os.Geteuid() != 0 || os.Getenv(insideVariable) != "" && !mapped(Nobody) {
		Skip(t, "another user needs root")
	}
	// The directory of the test binary is closed to others, the file is not.
	cmd.Path = "/proc/self/exe"
	cmd.Dir = "/"
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: Nobody, Gid: Nobody}
}

// mapped reports whether this user namespace has the user.
func mapped(uid uint64) bool {
	text, err := os.ReadFile("/proc/self/uid_map")
	var first, outside, size uint64
	_, scanErr := fmt.Sscan(string(text), &first, &outside, &size)
	return err == nil && scanErr == nil && first <= uid && uid-first < size
}

// StartInTimeNamespace starts cmd in a new time namespace whose monotonic and
// boottime clocks are ahead by offset. It needs root.
func StartInTimeNamespace(t testing.TB, cmd *exec.Cmd, offset time.Duration) *Child {
	t.Helper()
	type result struct {
		child *Child
		err   error
	}
	done := make(chan result)
	go onThreadToEnd(func() {
		child, err := (*Child)(nil), unix.Unshare(unix.CLONE_NEWTIME)
		if err == nil {
			seconds := int64(offset / time.Second)
			text := fmt.Sprintf("monotonic %d 0\nboottime %d 0\n", seconds, seconds)
			err = os.WriteFile(fmt.Sprintf("/proc/%d/timens_offsets", unix.Gettid()), []byte(text), 0)
		}
		if err == nil {
			child, err = TryStart(t, cmd)
		}
		done <- result{child, err}
	})
	r := <-done
	if forbidden(r.err) {
		Skip(t, "no new time namespace: %v", r.err)
	}
	if r.err != nil {
		t.Fatal(r.err)
	}
	return r.child
}

// onThreadToEnd runs f on a thread that ends with it. That is never the leading
// thread, whose state is that of the process to many who ask.
func onThreadToEnd(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f()
		return // locked: the thread ends
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		onThreadToEnd(f)
	}()
	<-done
	runtime.UnlockOSThread()
}

// Mount mounts and, at the end of the test, unmounts. It is for tests that are
// [Inside] a mount namespace. It skips the test where the kernel takes an option of
// procfs and does nothing about it, as gVisor does.
func Mount(t testing.TB, source, target, fstype string, flags uintptr, data string) {
	t.Helper()
	mounted(t, fstype, target, unix.Mount(source, target, fstype, flags, data))
	if fstype == "proc" && data != "" {
		HasOption(t, target, data)
	}
}

// HasOption skips the test if the newest mount on target is one without an option
// of that name.
func HasOption(t testing.TB, target, option string) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	name, _, _ := strings.Cut(option, "=")
	options := ""
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if fields[4] == target {
			options = fields[len(fields)-1]
		}
	}
	if !strings.Contains(","+options, ","+name+"=") {
		Skip(t, "the mount on %s has no option %s: %s", target, name, options)
	}
}

func mounted(t testing.TB, what, target string, err error) {
	t.Helper()
	if err != nil {
		if forbidden(err) {
			Skip(t, "mount %s on %s: %v", what, target, err)
		}
		t.Fatalf("mount %s on %s: %v", what, target, err)
	}
	t.Cleanup(func() { unix.Unmount(target, unix.MNT_DETACH) })
}

// MountFile puts a file with the given text over the file target.
func MountFile(t testing.TB, text, target string) {
	t.Helper()
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	mount := func() error { return unix.Mount(file, target, "", unix.MS_BIND, "") }
	err := mount()
	// systemd-nspawn mounts a file and removes it: nothing can be mounted on that.
	for errors.Is(err, unix.ENOENT) && unix.Unmount(target, unix.MNT_DETACH) == nil {
		err = mount()
	}
	mounted(t, "a file", target, err)
}

// KillUnreaped kills the child and waits until it has exited, but leaves it a
// zombie.
func (c *Child) KillUnreaped(t testing.TB) {
	t.Helper()
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.WaitExited(t)
}

// WaitExited waits until the child has exited, and leaves it a zombie.
func (c *Child) WaitExited(t testing.TB) {
	t.Helper()
	for {
		err := unix.Waitid(unix.P_PID, c.PID(), nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			return
		}
		if err != unix.EINTR {
			t.Fatal(err)
		}
	}
}
