package liveness_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"
	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

// The tests of this file play what people have reported of machines on which
// boots, machines and namespaces are not what they seem.

const bootIDFile = "/proc/sys/kernel/random/boot_id"

// captureOtherRole prints the identity of a process that is not this one.
func captureOtherRole(args []string) {
	pid, err := strconv.Atoi(args[0])
	must(err)
	id, err := liveness.Capture(pid)
	must(err)
	fmt.Println(id)
	proctest.Hold()
}

// The number of a time namespace that is gone is given to the next one. A stamp
// that was read in the former counts from another zero.
func TestTimeNamespaceThatHasTheNumberOfAnotherIsNotTakenForIt(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	target := proctest.Start(t, proctest.Command("hold"))
	asRecorded := func(id liveness.Identity) liveness.Identity { return id }
	older := func(id liveness.Identity) liveness.Identity { // by a kernel before 6.18
		id.Namespace.PIDUnique, id.Namespace.TimeUnique = 0, 0
		return id
	}
	for _, test := range []struct {
		name string
		edit func(liveness.Identity) liveness.Identity
		want string
	}{
		{"by all", asRecorded, saysAlive},
		{"by start", withoutUnique, saysNoEvidence},
		{"by all that an older kernel has", older, saysAlive},
		{"by start on an older kernel", func(id liveness.Identity) liveness.Identity { return withoutUnique(older(id)) }, saysNoEvidence},
	} {
		if !liveness.HasPidfs() {
			test.want = saysNoEvidence
		}
		// Namespaces of other tests may be given the number: then with another one.
		met := false
		for tries := 0; !met && tries < 50; tries++ {
			recorder := proctest.StartInTimeNamespace(t, proctest.Command("capture-other", strconv.Itoa(target.PID())), 100_000*time.Second)
			id := test.edit(mustParse(t, recorder.ReadLine(t)))
			recorder.Kill()
			link := fmt.Sprintf("time:[%d]", id.Namespace.Time)
			for again := 0; !met && again < 10; again++ {
				child := proctest.StartInTimeNamespace(t, askCommand(t, liveness.Options{}, id), 500_000*time.Second)
				c.Check(child.ReadLine(t), qt.Equals, test.want, qt.Commentf("%s", test.name))
				met = readlink(t, fmt.Sprintf("/proc/%d/ns/time", child.PID())) == link
				child.Kill()
			}
		}
		if !met {
			proctest.Skip(t, "%s: no number of a time namespace was given again", test.name)
		}
	}
}

// secondView makes this process one without rights that sees a procfs of its
// own, in which others are hidden and the boot ID is the kernel's: a unit with
// ProtectProc=invisible.
func secondView() {
	must(unix.Unshare(unix.CLONE_NEWNS))
	must(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	must(unix.Mount("proc", "/proc", "proc", 0, "hidepid=2"))
	must(syscall.Setgroups(nil))
	must(syscall.Setgid(proctest.Nobody))
	must(syscall.Setuid(proctest.Nobody))
}

// secondCheckRole answers a question as checkRole does, from there.
func secondCheckRole(args []string) {
	secondView()
	checkRole(args)
}

// secondCaptureRole captures a process from there.
func secondCaptureRole(args []string) {
	secondView()
	captureOtherRole(args)
}

// A container of LXC or systemd-nspawn has a boot ID of its own, which a unit in
// it that has another procfs does not see.
func TestTwoViewsOfOneContainerAreNoReboot(t *testing.T) {
	if !proctest.Inside(t, unix.CLONE_NEWNS|unix.CLONE_NEWPID) {
		return
	}
	c := qt.New(t)
	if os.Getuid() != 0 {
		proctest.Skip(t, "a second user needs root")
	}
	proctest.Mount(t, "proc", "/proc", "proc", 0, "")
	kernels, err := bootid.Current()
	c.Assert(err, qt.IsNil)
	if kernels.Quality != bootid.Native {
		proctest.Skip(t, "the boot ID here is %v", kernels.Quality)
	}
	proctest.MountFile(t, boot2+"\n", bootIDFile)
	child := proctest.Start(t, proctest.Command("hold"))
	recorded := captured(t, child)
	c.Assert(recorded.Boot.Quality, qt.Equals, bootid.Given)

	second := proctest.Command("second-capture", strconv.Itoa(child.PID()))
	recordedThere := mustParse(t, startRole(t, second))
	c.Assert(recordedThere.Boot.Compare(recorded.Boot), qt.Equals, bootid.Incomparable)
	if recordedThere.Namespace.InitStart != 0 {
		proctest.Skip(t, "a user without rights sees PID 1 in spite of hidepid")
	}

	for what, edit := range map[string]func(*liveness.Identity){
		"as recorded":                func(*liveness.Identity) {},
		"without the namespace's ID": func(id *liveness.Identity) { id.Namespace.PIDUnique = 0 },
		"without its PID 1":          func(id *liveness.Identity) { id.Namespace.InitStart = 0 },
		"without either":             func(id *liveness.Identity) { id.Namespace.PIDUnique, id.Namespace.InitStart = 0, 0 },
		"without unique":             func(id *liveness.Identity) { id.Unique = 0 },
		"without start":              func(id *liveness.Identity) { id.Start = 0 },
	} {
		there, here := recorded, recordedThere
		edit(&there)
		edit(&here)
		for _, exclusive := range []bool{false, true} {
			options := liveness.Options{ExclusiveNamespace: exclusive}
			said := startRole(t, proctest.Command("second-check", ask(t, options, there)))
			c.Check(said, qt.Matches, "unknown: .*", qt.Commentf("%s, judged by the second view", what))
			c.Check(newLiveness(t, options).Check(here).State, qt.Equals, liveness.Unknown, qt.Commentf("%s, recorded by the second view", what))
		}
	}
	child.Kill()
	said := startRole(t, proctest.Command("second-check", ask(t, liveness.Options{}, recorded)))
	c.Check(said, qt.Equals, saysNoProcess)
	c.Check(newLiveness(t, liveness.Options{}).Check(recordedThere).String(), qt.Equals, saysNoProcess)
}

// startRole returns the line that a role prints.
func startRole(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	child, err := proctest.TryStart(t, cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer child.Kill()
	return child.ReadLine(t)
}

func mustParse(t testing.TB, text string) liveness.Identity {
	t.Helper()
	id, err := liveness.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// A machine ID is made anew while the machine runs, or is that of an image: the
// boot ID tells that the boot is the same one.
func TestMachineIDThatChangedIsTheSameBoot(t *testing.T) {
	if !proctest.Inside(t, unix.CLONE_NEWNS) {
		return
	}
	c := qt.New(t)
	if _, err := os.Stat("/etc/machine-id"); err != nil {
		proctest.Skip(t, "no machine ID to put another over: %v", err)
	}
	id := captured(t, proctest.Start(t, proctest.Command("hold")))
	if id.Boot.Quality != bootid.Native {
		proctest.Skip(t, "the boot ID here is %v", id.Boot.Quality)
	}
	proctest.MountFile(t, "6d4c1e0c5f0e4a439a3c0f6c3a1f9b11\n", "/etc/machine-id")
	ours := mustParse(t, startRole(t, proctest.Command("capture")))
	c.Assert(ours.Boot.Machine, qt.Not(qt.Equals), id.Boot.Machine)
	c.Check(startRole(t, askCommand(t, liveness.Options{}, id)), qt.Equals, saysAlive)
	stranger := withoutUnique(id)
	stranger.Start++
	c.Check(startRole(t, askCommand(t, liveness.Options{}, stranger)), qt.Equals, saysReused)

	// Of another boot the machine decides, unless the host knows better.
	earlier := id
	earlier.Boot.Boot = boot2
	if id.Boot.Machine != "" {
		c.Check(startRole(t, askCommand(t, liveness.Options{}, earlier)), qt.Equals, "unknown: it was recorded on another machine")
	}
	c.Check(startRole(t, askCommand(t, liveness.Options{SameMachine: true}, earlier)), qt.Equals, "dead: the machine has rebooted since")
}

// A sandbox such as gVisor's has the same numbers of namespaces each time, and a
// boot ID of its own kernel.
func TestEachSandboxSeesItsOwnReboot(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	id := captured(t, proctest.Start(t, proctest.Command("hold")))
	if id.Boot.Quality != bootid.Native {
		proctest.Skip(t, "the boot ID here is not that of a kernel: %q", id.Boot)
	}
	for _, number := range []uint64{id.Namespace.PID, 5} {
		earlier := id
		earlier.Boot.Boot = boot2
		earlier.Namespace = liveness.Namespace{PID: number, InitStart: 1}
		wantVerdict(c, earlier, liveness.Dead, liveness.Rebooted)
	}
}

// A sandbox may deny pidfds for another reason than that the kernel has none.
func TestOpenSaysWhyThereAreNoPidfds(t *testing.T) {
	if !proctest.Inside(t, 0) {
		return
	}
	c := qt.New(t)
	child := proctest.Start(t, proctest.Command("hold"))
	c.Assert(refuseWith(unix.EPERM, unix.BPF_JGE, 0, unix.SYS_PIDFD_OPEN), qt.IsNil)
	system := newLiveness(t, liveness.Options{})
	id, err := liveness.Capture(child.PID())
	c.Assert(err, qt.IsNil)
	c.Check(id.Unique, qt.Equals, uint64(0))
	c.Check(system.Check(id).State, qt.Equals, liveness.Alive)
	_, err = system.Open(id)
	c.Check(err, qt.ErrorIs, os.ErrPermission)
	c.Check(err, qt.ErrorMatches, `liveness: open PID \d+: pidfd_open: operation not permitted`)
	_, err = system.NewWatch()
	c.Check(err, qt.ErrorIs, os.ErrPermission)
}

func ask(t testing.TB, options liveness.Options, id liveness.Identity) string {
	t.Helper()
	text, err := json.Marshal(question{options, id})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
