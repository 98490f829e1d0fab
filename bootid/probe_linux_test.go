package bootid_test

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"
	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/proctest"
)

const bootIDFile = "/proc/sys/kernel/random/boot_id"

func TestMain(m *testing.M) {
	proctest.Main(m, map[string]func([]string){"awake": awake, "mount": mount})
}

// awake prints the time awake and the clock of this time namespace.
func awake([]string) {
	awake, err := bootid.Awake()
	fmt.Println(awake, err)
	var now unix.Timespec
	err = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	fmt.Println(time.Duration(now.Nano()), err)
}

// mount mounts a procfs of this PID namespace.
func mount(args []string) {
	if err := unix.Mount("proc", args[0], "proc", 0, ""); err != nil {
		fmt.Println(err)
		return
	}
	proctest.Hold()
}

func TestCurrentIsWhatTheKernelSays(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	text, err := os.ReadFile(bootIDFile)
	if err != nil {
		proctest.Skip(t, "no boot ID: %v", err)
	}
	id, err := bootid.Current()
	c.Assert(err, qt.IsNil)
	c.Check(id.Boot, qt.Equals, strings.TrimSpace(string(text)))
	var fs unix.Statfs_t
	c.Assert(unix.Statfs(bootIDFile, &fs), qt.IsNil)
	if fs.Type == unix.PROC_SUPER_MAGIC {
		c.Check(id.Quality, qt.Equals, bootid.Native)
	} else { // as in a container of LXC or systemd-nspawn
		c.Check(id.Quality, qt.Equals, bootid.Given)
	}
	c.Check(id.Machine, qt.Equals, readMachine(c, "/etc/machine-id"))

	again, err := bootid.Current()
	c.Assert(err, qt.IsNil)
	c.Check(again, qt.Equals, id)
	c.Check(again.Compare(id), qt.Equals, bootid.SameBoot)
}

func TestMachineIDDoesNotLeaveThePackage(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	text, err := os.ReadFile("/etc/machine-id")
	if err != nil || len(text) < 32 {
		proctest.Skip(t, "no machine ID here")
	}
	id, err := bootid.Current()
	c.Assert(err, qt.IsNil)
	c.Check(id.String(), qt.Not(qt.Contains), strings.TrimSpace(string(text)))
}

func readMachine(t testing.TB, file string) string {
	t.Helper()
	machine, err := bootid.ReadMachine(file)
	if err != nil {
		t.Fatal(err)
	}
	return machine
}

// A missing machine counts as this one; one that could not be read must not.
func TestWithoutDescriptorsThereIsNoID(t *testing.T) {
	if !proctest.Inside(t, 0) {
		return
	}
	c := qt.New(t)
	var limit unix.Rlimit
	c.Assert(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit), qt.IsNil)
	c.Assert(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: limit.Max}), qt.IsNil)
	id, err := bootid.Current()
	_, awakeErr := bootid.Awake() // in the first time namespace no file is read for it
	c.Assert(unix.Setrlimit(unix.RLIMIT_NOFILE, &limit), qt.IsNil)
	c.Check(err, qt.ErrorIs, unix.EMFILE)
	c.Check(id, qt.Equals, bootid.ID{})
	if awakeErr != nil {
		c.Check(awakeErr, qt.ErrorIs, unix.EMFILE)
	}

	id, err = bootid.Current()
	c.Assert(err, qt.IsNil)
	c.Check(id.Machine, qt.Equals, readMachine(t, "/etc/machine-id"), qt.Commentf("the failure is not remembered"))
	_, err = bootid.Awake()
	c.Check(err, qt.IsNil)
}

func TestMachineOfAFile(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	const raw = "6d4c1e0c5f0e4a439a3c0f6c3a1f9b11"
	for _, test := range []struct {
		name string
		text string
		want string
	}{
		{"with newline", raw + "\n", bootid.HashMachine(uuid.MustParse(raw))},
		{"without newline", raw, bootid.HashMachine(uuid.MustParse(raw))},
		{"empty, as in an image", "", ""},
		{"uninitialized", "uninitialized\n", ""},
		{"nil", strings.Repeat("0", 32) + "\n", ""},
		{"garbled", raw[:31] + "g\n", ""},
		{"too long", raw + raw, ""},
	} {
		c.Run(test.name, func(c *qt.C) {
			file := c.TempDir() + "/machine-id"
			c.Assert(os.WriteFile(file, []byte(test.text), 0o600), qt.IsNil)
			c.Check(readMachine(c, file), qt.Equals, test.want)
		})
	}
	c.Run("missing", func(c *qt.C) { c.Check(readMachine(c, c.TempDir()+"/none"), qt.Equals, "") })
	c.Run("a directory", func(c *qt.C) { c.Check(readMachine(c, c.TempDir()), qt.Equals, "") })
}

func TestUnreadableBootIsAnErrorAndKeepsTheMachine(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		name string
		text string
	}{
		{"nil UUID", uuid.Nil.String() + "\n"},
		{"no UUID", "42\n"},
		{"empty", ""},
		{"cut", boot1[:20]},
	} {
		c.Run(test.name, func(c *qt.C) {
			file := c.TempDir() + "/boot_id"
			c.Assert(os.WriteFile(file, []byte(test.text), 0o600), qt.IsNil)
			id, err := bootid.ReadBoot(file, machineA)
			c.Check(err, qt.ErrorMatches, ".*/boot_id: no UUID: .*")
			c.Check(id, qt.Equals, bootid.ID{Machine: machineA})
		})
	}
	c.Run("missing", func(c *qt.C) {
		id, err := bootid.ReadBoot(c.TempDir()+"/boot_id", machineA)
		c.Check(err, qt.ErrorIs, fs.ErrNotExist)
		c.Check(id, qt.Equals, bootid.ID{Machine: machineA})
	})
}

// LXC and systemd-nspawn bind a file over the kernel's. What a program sees that
// has a procfs without it is the kernel's, in the same boot.
func TestBootIDThatIsBoundOverTheKernelsIsGiven(t *testing.T) {
	if !proctest.Inside(t, unix.CLONE_NEWNS) {
		return
	}
	c := qt.New(t)
	before, err := bootid.Current()
	c.Assert(err, qt.IsNil)
	for _, boot := range []string{boot1, boot2} {
		proctest.MountFile(t, boot+"\n", bootIDFile)
		given, err := bootid.Current()
		c.Assert(err, qt.IsNil)
		c.Check(given, qt.Equals, bootid.ID{Machine: before.Machine, Boot: boot, Quality: bootid.Given})
		if before.Quality == bootid.Native {
			c.Check(given.Compare(before), qt.Equals, bootid.Incomparable)
		}
	}
}

func TestProcfsWithoutBootIDIsAnError(t *testing.T) {
	if !proctest.Inside(t, unix.CLONE_NEWNS|unix.CLONE_NEWPID) {
		return
	}
	c := qt.New(t)
	machine := readMachine(t, "/etc/machine-id")
	proctest.Mount(t, "proc", "/proc", "proc", 0, "subset=pid")
	id, err := bootid.Current()
	c.Check(err, qt.ErrorIs, fs.ErrNotExist)
	c.Check(err, qt.ErrorMatches, "bootid: open /proc/sys/kernel/random/boot_id: .*")
	c.Check(id, qt.Equals, bootid.ID{Machine: machine})
	_, err = bootid.Awake()
	c.Check(err, qt.IsNil)
}

func TestWithoutProcfsNothingIsMadeUp(t *testing.T) {
	if !proctest.Inside(t, unix.CLONE_NEWNS) {
		return
	}
	c := qt.New(t)
	proctest.Mount(t, "none", "/proc", "tmpfs", 0, "")
	id, err := bootid.Current()
	c.Check(err, qt.ErrorIs, fs.ErrNotExist)
	c.Check(id.Boot, qt.Equals, "")
	_, err = bootid.Awake()
	c.Check(err, qt.ErrorIs, fs.ErrNotExist)
	c.Check(err, qt.ErrorMatches, "bootid: read awake time: .*")
}

// In the /proc of a PID namespace in which the reader has no number,
// /proc/self leads nowhere, and the clock's offset cannot be read.
func TestProcfsOfAnInnerNamespaceDoesNotHideTheClockOffset(t *testing.T) {
	if !proctest.Inside(t, unix.CLONE_NEWNS) {
		return
	}
	c := qt.New(t)
	dir := t.TempDir()
	cmd := proctest.Command("mount", dir)
	proctest.NewNamespaces(cmd, unix.CLONE_NEWPID)
	proctest.StartPermitted(t, cmd)
	defer unix.Unmount(dir, unix.MNT_DETACH)
	proctest.Mount(t, dir, "/proc", "", unix.MS_BIND, "")

	_, err := bootid.Awake()
	c.Check(err, qt.ErrorIs, fs.ErrNotExist)
}

func TestKernelWithoutTimeNamespacesHasNoOffset(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	offset, err := bootid.MonotonicOffset(t.TempDir())
	c.Assert(err, qt.IsNil)
	c.Check(offset, qt.Equals, time.Duration(0))
}

// A process in the time namespace of the boot needs no look at the file, which
// is about the namespace of its children.
func TestInitialTimeNamespaceHasNoOffset(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	dir := t.TempDir()
	c.Assert(os.WriteFile(dir+"/timens_offsets", []byte("monotonic 1000 0\nboottime 1000 0\n"), 0o600), qt.IsNil)
	c.Assert(os.Mkdir(dir+"/ns", 0o700), qt.IsNil)
	c.Assert(os.Symlink("time:[4026531834]", dir+"/ns/time"), qt.IsNil)
	c.Assert(os.Symlink("time:[2]", dir+"/ns/time_for_children"), qt.IsNil)
	offset, err := bootid.MonotonicOffset(dir)
	c.Assert(err, qt.IsNil)
	c.Check(offset, qt.Equals, time.Duration(0))
}

func TestGarbledOffsetIsAnError(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	dir := t.TempDir()
	c.Assert(os.WriteFile(dir+"/timens_offsets", []byte("monotonic soon\n"), 0o600), qt.IsNil)
	_, err := bootid.MonotonicOffset(dir)
	c.Check(err, qt.ErrorMatches, ".*/timens_offsets: no monotonic offset: .*")
}

// The kernel's file is about the time namespace of children, which need not be
// the one that this process's clock shows.
func TestOffsetOfChildrenIsNotTakenForOnesOwn(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	dir := t.TempDir()
	c.Assert(os.WriteFile(dir+"/timens_offsets", []byte("monotonic 1000 0\nboottime 1000 0\n"), 0o600), qt.IsNil)
	c.Assert(os.Mkdir(dir+"/ns", 0o700), qt.IsNil)
	c.Assert(os.Symlink("time:[1]", dir+"/ns/time"), qt.IsNil)
	c.Assert(os.Symlink("time:[2]", dir+"/ns/time_for_children"), qt.IsNil)
	_, err := bootid.MonotonicOffset(dir)
	c.Check(err, qt.ErrorMatches, `.*/timens_offsets is about time:\[2\], which is to be that of children, not about time:\[1\]`)

	c.Assert(os.Remove(dir+"/ns/time_for_children"), qt.IsNil)
	c.Assert(os.Symlink("time:[1]", dir+"/ns/time_for_children"), qt.IsNil)
	offset, err := bootid.MonotonicOffset(dir)
	c.Check(err, qt.IsNil)
	c.Check(offset, qt.Equals, 1000*time.Second)
}

func TestAwakeIsMonotonicTimeAndNeverGoesBack(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	var last time.Duration
	for range 1000 {
		before := monotonic(c)
		awake, err := bootid.Awake()
		c.Assert(err, qt.IsNil)
		after := monotonic(c)
		c.Assert(awake >= last, qt.IsTrue)
		c.Assert(before <= awake && awake <= after, qt.IsTrue, qt.Commentf("%v, %v, %v", before, awake, after))
		last = awake
	}
}

// monotonic is CLOCK_MONOTONIC less the offset of this time namespace.
func monotonic(c *qt.C) time.Duration {
	var now unix.Timespec
	c.Assert(unix.ClockGettime(unix.CLOCK_MONOTONIC, &now), qt.IsNil)
	text, err := os.ReadFile("/proc/self/timens_offsets")
	if os.IsNotExist(err) {
		return time.Duration(now.Nano())
	}
	c.Assert(err, qt.IsNil)
	var clock string
	var seconds, nanos int64
	_, err = fmt.Sscan(string(text), &clock, &seconds, &nanos)
	c.Assert(err, qt.IsNil)
	c.Assert(clock, qt.Equals, "monotonic")
	return time.Duration(now.Nano() - seconds*1e9 - nanos)
}

func TestAwakeAgreesBetweenTimeNamespaces(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	const offset = 1000 * time.Hour
	before, err := bootid.Awake()
	c.Assert(err, qt.IsNil)
	child := proctest.StartInTimeNamespace(t, proctest.Command("awake"), offset)
	var inside, shifted time.Duration
	for _, d := range []*time.Duration{&inside, &shifted} {
		text, ok := strings.CutSuffix(child.ReadLine(t), " <nil>")
		c.Assert(ok, qt.IsTrue)
		*d, err = time.ParseDuration(text)
		c.Assert(err, qt.IsNil)
	}
	after, err := bootid.Awake()
	c.Assert(err, qt.IsNil)
	c.Check(before <= inside && inside <= after, qt.IsTrue, qt.Commentf("%v, %v, %v", before, inside, after))
	c.Check(shifted > offset, qt.IsTrue, qt.Commentf("the clock of the namespace is at %v", shifted))
}

func BenchmarkCurrent(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bootid.Current(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAwake(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bootid.Awake(); err != nil {
			b.Fatal(err)
		}
	}
}
