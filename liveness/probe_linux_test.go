package liveness_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"
	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

// The tests of this file look at processes from elsewhere: as another user,
// through a procfs that shows less, from other namespaces.

const (
	saysAlive      = "alive: the recorded process runs"
	saysNoProcess  = "dead: no process has its PID"
	saysReused     = "dead: its PID belongs to another process now"
	saysNoEvidence = "unknown: nothing recorded tells whose PID it is now"
	saysOtherNS    = "unknown: it was recorded in another PID namespace"
)

func TestAnotherUsersProcessIsJudgedAsOnesOwn(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	child := proctest.Start(t, proctest.Command("hold"))
	id := captured(t, child)
	other := id
	other.Unique, other.Start = other.Unique^1, other.Start+1
	ask := func(id liveness.Identity) string { return checkBy(t, liveness.Options{}, id, asNobody(t)) }
	c.Check(ask(id), qt.Equals, saysAlive)
	c.Check(ask(withoutUnique(id)), qt.Equals, saysAlive)
	c.Check(ask(other), qt.Equals, saysReused)
	c.Check(ask(pidOnly(id)), qt.Equals, saysNoEvidence)
	child.Kill()
	c.Check(ask(id), qt.Equals, saysNoProcess)
	c.Check(ask(withoutUnique(id)), qt.Equals, saysNoProcess)
}

// Entries of others are missing or closed, which is not to say that their
// processes are gone.
func TestHiddenProcessIsNotDead(t *testing.T) {
	for _, option := range []string{"hidepid=1", "hidepid=2", "hidepid=4"} {
		t.Run(option, func(t *testing.T) {
			if !proctest.Inside(t, unix.CLONE_NEWNS) {
				return
			}
			c := qt.New(t)
			proctest.Mount(t, "proc", "/proc", "proc", 0, option)
			child := proctest.Start(t, proctest.Command("hold"))
			id := captured(t, child)
			thread := id
			thread.PID = otherThread(t, child.PID())
			ask := func(id liveness.Identity) string { return checkBy(t, liveness.Options{}, id, asNobody(t)) }
			if liveness.HasPidfs() {
				c.Check(ask(id), qt.Equals, saysAlive)
			}
			c.Check(ask(withoutUnique(id)), qt.Matches, `unknown: the evidence could not be read \(read /proc/\d+/stat: .*\)`)
			c.Check(ask(withMarker(id, "planted")), qt.Matches, `unknown: the evidence could not be read .*`)
			c.Check(ask(thread), qt.Equals, "dead: its PID is now the number of a thread")
			child.KillUnreaped(t)
			if liveness.HasPidfs() {
				c.Check(ask(id), qt.Equals, "dead: it has exited and waits to be reaped")
			}
			child.Kill()
			c.Check(ask(id), qt.Equals, saysNoProcess)
			c.Check(ask(withoutUnique(id)), qt.Equals, saysNoProcess)
		})
	}
}

// Such a procfs has no boot ID: nothing that counts within a boot decides.
func TestProcfsWithoutBootIDLeavesMarkersAndAbsence(t *testing.T) {
	if !proctest.Inside(t, unix.CLONE_NEWNS) {
		return
	}
	c := qt.New(t)
	cmd := proctest.Command("hold")
	marker := liveness.Plant(cmd)
	child := proctest.Start(t, cmd)
	id := captured(t, child)
	proctest.Mount(t, "proc", "/proc", "proc", 0, "subset=pid")
	wantVerdict(c, id, liveness.Unknown, liveness.NoEvidence)
	wantVerdict(c, withMarker(id, marker), liveness.Alive, liveness.SameProcess)
	wantVerdict(c, withMarker(id, "another"), liveness.Dead, liveness.PIDReused)
	here := captured(t, child)
	c.Check(here.Boot.Boot, qt.Equals, "")
	wantVerdict(c, here, liveness.Unknown, liveness.NoEvidence)
	child.Kill()
	wantVerdict(c, id, liveness.Dead, liveness.NoProcess)
	wantVerdict(c, here, liveness.Dead, liveness.NoProcess)
}

// A PID must not be recorded without its namespace: it would be looked up in
// any other.
func TestWithoutProcfsNothingIsRecordedAndNothingLivingIsDead(t *testing.T) {
	if !proctest.Inside(t, unix.CLONE_NEWNS) {
		return
	}
	c := qt.New(t)
	cmd := proctest.Command("hold")
	marker := liveness.Plant(cmd)
	child := proctest.Start(t, cmd)
	proctest.Mount(t, "tmpfs", "/proc", "tmpfs", 0, "")
	_, err := liveness.CaptureProcess(child.Process)
	c.Check(err, qt.ErrorIs, os.ErrNotExist)
	c.Check(err, qt.ErrorMatches, `liveness: capture PID \d+: PID namespace: readlink /proc/self/ns/pid: .*`)
	_, err = liveness.Self()
	c.Check(err, qt.ErrorIs, os.ErrNotExist)

	bare := liveness.Identity{PID: child.PID()}
	for _, id := range []liveness.Identity{bare, withMarker(bare, marker)} {
		verdict := newLiveness(t, liveness.Options{}).Check(id)
		c.Check(verdict.State, qt.Equals, liveness.Unknown)
		c.Check(verdict.Reason, qt.Equals, liveness.Unreadable)
		c.Check(verdict.Err, qt.ErrorMatches, "/proc does not show this PID namespace")
	}
	elsewhere := bare
	elsewhere.Namespace.PID = 4026531836
	child.Kill()
	wantVerdict(c, bare, liveness.Dead, liveness.NoProcess)
	c.Check(newLiveness(t, liveness.Options{}).Check(elsewhere).Reason, qt.Equals, liveness.Unreadable)
}

// A process that has used up its descriptors can open neither a pidfd nor a
// file; what a system call tells is left.
func TestWithoutDescriptorsNothingLivingIsDead(t *testing.T) {
	if !proctest.Inside(t, 0) {
		return
	}
	c := qt.New(t)
	child := proctest.Start(t, proctest.Command("hold"))
	gone := proctest.Start(t, proctest.Command("hold"))
	id, goneID := captured(t, child), captured(t, gone)
	gone.Kill()
	system := newLiveness(t, liveness.Options{})

	var limit unix.Rlimit
	c.Assert(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit), qt.IsNil)
	c.Assert(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: limit.Max}), qt.IsNil)
	verdict, goneVerdict := system.Check(id), system.Check(goneID)
	_, captureErr := liveness.Capture(child.PID())
	_, selfErr := liveness.Self() // all but the boot ID is known by now
	_, newErr := liveness.New(liveness.Options{})
	c.Assert(unix.Setrlimit(unix.RLIMIT_NOFILE, &limit), qt.IsNil)

	c.Check(verdict.State, qt.Equals, liveness.Unknown)
	c.Check(verdict.Err, qt.ErrorIs, unix.EMFILE)
	c.Check(goneVerdict, qt.Equals, liveness.Verdict{State: liveness.Dead, Reason: liveness.NoProcess})
	c.Check(captureErr, qt.ErrorIs, unix.EMFILE)
	c.Check(selfErr, qt.ErrorIs, unix.EMFILE)
	c.Check(newErr, qt.ErrorIs, unix.EMFILE)
	c.Check(system.Check(id).State, qt.Equals, liveness.Alive)
}

// What could not be found out for want of descriptors is not remembered as
// missing.
func TestFirstLookWithoutDescriptorsIsAnErrorAndNotRemembered(t *testing.T) {
	if !proctest.Inside(t, 0) {
		return
	}
	c := qt.New(t)
	var limit unix.Rlimit
	c.Assert(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit), qt.IsNil)
	for enough := range uint64(16) {
		c.Assert(unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: enough, Max: limit.Max}), qt.IsNil)
		_, newErr := liveness.New(liveness.Options{})
		id, err := liveness.Self()
		c.Assert(unix.Setrlimit(unix.RLIMIT_NOFILE, &limit), qt.IsNil)
		if err == nil && newErr == nil {
			full, err := liveness.Self()
			c.Assert(err, qt.IsNil)
			c.Check(id, qt.Equals, full)
			c.Check(id.Start, qt.Not(qt.Equals), uint64(0))
			c.Check(id.Unique != 0, qt.Equals, liveness.HasPidfs())
			c.Check(newLiveness(t, liveness.Options{}).Check(id).State, qt.Equals, liveness.Alive)
			return
		}
		for _, err := range []error{err, newErr} {
			if err != nil {
				c.Check(err, qt.ErrorIs, unix.EMFILE)
			}
		}
	}
	t.Error("16 descriptors are not enough")
}

// recordedElsewhere returns what the first process of a new PID namespace
// records of itself, and that process.
func recordedElsewhere(t testing.TB) (liveness.Identity, *proctest.Child) {
	t.Helper()
	cmd := proctest.Command("capture")
	proctest.NewNamespaces(cmd, unix.CLONE_NEWPID)
	child, err := proctest.TryStart(t, cmd)
	if err != nil {
		proctest.Skip(t, "no new PID namespace: %v", err)
	}
	id, err := liveness.Parse(child.ReadLine(t))
	if err != nil {
		t.Fatal(err)
	}
	return id, child
}

// Its number means something else here, whether it runs or not.
func TestProcessOfAnotherPIDNamespaceIsUnknown(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	id, child := recordedElsewhere(t)
	c.Check(id.PID, qt.Equals, 1)
	wantVerdict(c, id, liveness.Unknown, liveness.OtherNamespace)
	child.Kill()
	wantVerdict(c, id, liveness.Unknown, liveness.OtherNamespace)

	ours := captured(t, proctest.Start(t, proctest.Command("hold")))
	inside := inNamespaces(unix.CLONE_NEWPID)
	c.Check(checkBy(t, liveness.Options{}, ours, inside), qt.Equals, saysOtherNS)
	c.Check(checkBy(t, liveness.Options{}, withoutUnique(ours), inside), qt.Equals, saysOtherNS)
}

// A store on the volume of a container: the boot and the PIDs are the same
// after it was restarted.
func TestProcessOfAnEarlierContainerIsDead(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	id, child := recordedElsewhere(t)
	// An older kernel has no ID of a namespace, and gives the number to the next one.
	held, err := os.Open(fmt.Sprintf("/proc/%d/ns/pid", child.PID()))
	c.Assert(err, qt.IsNil)
	defer held.Close()
	child.Kill()
	restarted := inNamespaces(unix.CLONE_NEWPID)
	c.Check(checkBy(t, liveness.Options{}, id, restarted), qt.Equals, saysOtherNS)
	c.Check(checkBy(t, liveness.Options{ExclusiveNamespace: true}, id, restarted), qt.Equals,
		"dead: it was recorded in another PID namespace")
}

// The kernel gives the number of a PID namespace that is gone to a new one
// soon. A record of the former is not taken for one of the latter.
func TestNamespaceThatHasTheNumberOfAnotherIsNotTakenForIt(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	seen := map[uint64]liveness.Identity{}
	for range 200 {
		id, child := recordedElsewhere(t)
		earlier, again := seen[id.Namespace.PID]
		if again {
			if id.Namespace.PIDUnique == 0 {
				proctest.Skip(t, "this kernel has no NS_GET_ID")
			}
			c.Check(id.Namespace.PIDUnique, qt.Not(qt.Equals), earlier.Namespace.PIDUnique)
			// As the new namespace judges the record of the earlier one.
			scope := liveness.NewScope(id, liveness.Options{})
			verdict, _, decided := scope.Judge(earlier)
			c.Check(decided, qt.IsTrue)
			c.Check(verdict, qt.Equals, liveness.Verdict{State: liveness.Dead, Reason: liveness.OtherNamespace})
			return
		}
		seen[id.Namespace.PID] = id
		child.Kill()
	}
	proctest.Skip(t, "no number of a namespace was given twice")
}

// In a new PID namespace without a procfs of its own, /proc shows the PIDs of
// others.
func TestProcfsOfAnotherNamespaceIsNotLookedAt(t *testing.T) {
	if !proctest.Inside(t, unix.CLONE_NEWPID) {
		return
	}
	c := qt.New(t)
	c.Assert(os.Getpid(), qt.Equals, 1)
	cmd := proctest.Command("hold")
	marker := liveness.Plant(cmd)
	child := proctest.Start(t, cmd)
	id := captured(t, child)
	c.Check(id.Start, qt.Equals, uint64(0))
	system := newLiveness(t, liveness.Options{})
	if liveness.HasPidfs() {
		c.Check(system.Check(id), qt.Equals, liveness.Verdict{State: liveness.Alive, Reason: liveness.SameProcess})
	}
	for _, id := range []liveness.Identity{pidOnly(id), withMarker(id, marker), withMarker(id, "another")} {
		verdict := system.Check(id)
		c.Check(verdict.State, qt.Equals, liveness.Unknown)
		c.Check(verdict.Err, qt.ErrorMatches, "/proc does not show this PID namespace")
	}
	child.Kill()
	wantVerdict(c, id, liveness.Dead, liveness.NoProcess)
	wantVerdict(c, withMarker(id, marker), liveness.Dead, liveness.NoProcess)
}

// Start stamps count from another zero there.
func TestTimeNamespaceMakesNoStranger(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	child := proctest.Start(t, proctest.Command("hold"))
	id := captured(t, child)
	const ahead = 1000 * time.Second
	inside := func(id liveness.Identity) string {
		child := proctest.StartInTimeNamespace(t, askCommand(t, liveness.Options{}, id), ahead)
		defer child.Kill()
		return child.ReadLine(t)
	}
	if liveness.HasPidfs() {
		c.Check(inside(id), qt.Equals, saysAlive)
	}
	c.Check(inside(withoutUnique(id)), qt.Equals, saysNoEvidence)

	// And the other way round.
	recorder := proctest.StartInTimeNamespace(t, proctest.Command("capture"), ahead)
	said, err := liveness.Parse(recorder.ReadLine(t))
	c.Assert(err, qt.IsNil)
	here := captured(t, recorder)
	c.Check(said.Namespace.Time, qt.Not(qt.Equals), here.Namespace.Time)
	c.Check(said.Start-here.Start, qt.Equals, uint64(ahead/(10*time.Millisecond)))
	c.Check(said.Boot, qt.Equals, here.Boot)
	c.Check(said.Unique, qt.Equals, here.Unique)
	system := newLiveness(t, liveness.Options{})
	if liveness.HasPidfs() {
		c.Check(system.Check(said).State, qt.Equals, liveness.Alive)
	}
	c.Check(system.Check(withoutUnique(said)), qt.Equals, liveness.Verdict{Reason: liveness.NoEvidence})
}

// mountElsewhere mounts on dir the procfs of a new PID namespace, and returns
// that namespace's first process.
func mountElsewhere(t testing.TB, dir string, options ...string) *proctest.Child {
	t.Helper()
	cmd := proctest.Command("mount-proc", append([]string{dir}, options...)...)
	proctest.NewNamespaces(cmd, unix.CLONE_NEWPID)
	child := proctest.StartPermitted(t, cmd)
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return child
}

func readText(t testing.TB, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A host's procfs in a container, or that of a container on its host.
func TestRootShowsTheProcessesOfAnotherNamespace(t *testing.T) {
	if !proctest.Inside(t, unix.CLONE_NEWNS) {
		return
	}
	c := qt.New(t)
	dir := t.TempDir()
	child := mountElsewhere(t, dir)

	self, err := liveness.Self()
	c.Assert(err, qt.IsNil)
	id := liveness.Identity{PID: 1, Boot: self.Boot, Start: startField(t, dir+"/1/stat")}
	boot, err := bootid.New(readText(t, dir+"/sys/kernel/random/boot_id"))
	c.Assert(err, qt.IsNil)
	if boot.Boot != self.Boot.Boot { // a container was given another, and gVisor makes one for each procfs
		id.Boot = boot
	}
	_, err = fmt.Sscanf(readlink(t, dir+"/1/ns/pid"), "pid:[%d]", &id.Namespace.PID)
	c.Assert(err, qt.IsNil)
	id.Namespace.Time = self.Namespace.Time
	system := newLiveness(t, liveness.Options{Root: dir})
	check := func(edit func(*liveness.Identity)) liveness.Verdict {
		edited := id
		edit(&edited)
		return system.Check(edited)
	}
	dead := func(reason liveness.Reason) liveness.Verdict {
		return liveness.Verdict{State: liveness.Dead, Reason: reason}
	}
	c.Check(check(func(*liveness.Identity) {}), qt.Equals, liveness.Verdict{State: liveness.Alive, Reason: liveness.SameProcess})
	c.Check(check(func(id *liveness.Identity) { id.Start++ }), qt.Equals, dead(liveness.PIDReused))
	c.Check(check(func(id *liveness.Identity) { id.Start = 0 }), qt.Equals, liveness.Verdict{Reason: liveness.NoEvidence})
	c.Check(check(func(id *liveness.Identity) { id.PID = 4321 }), qt.Equals, dead(liveness.NoProcess))
	c.Check(check(func(id *liveness.Identity) { id.PID = innerThread(t, dir) }), qt.Equals, dead(liveness.NotAProcess))
	c.Check(check(func(id *liveness.Identity) { id.Boot.Boot = boot2 }), qt.Equals, dead(liveness.Rebooted))
	// Its own PIDs are those of another namespace to this view.
	verdict := system.Check(self)
	c.Check(verdict.State, qt.Equals, liveness.Unknown)
	if boot.Boot == self.Boot.Boot { // otherwise the machine is not known
		c.Check(verdict.Reason, qt.Equals, liveness.OtherNamespace)
	}
	// And to the view of this process, those of that namespace are. In gVisor they look
	// like those of another boot, see docs/containers.md.
	if boot.Compare(self.Boot) != bootid.OtherBoot {
		c.Check(newLiveness(t, liveness.Options{}).Check(id), qt.Equals, liveness.Verdict{Reason: liveness.OtherNamespace})
	}

	// A mount that is gone, or another one in its place, is not an empty one.
	c.Assert(unix.Unmount(dir, unix.MNT_DETACH), qt.IsNil)
	c.Check(check(func(*liveness.Identity) {}), qt.Equals, liveness.Verdict{State: liveness.Alive, Reason: liveness.SameProcess})
	verdict = check(func(id *liveness.Identity) { id.PID = 4321 })
	c.Check(verdict.State, qt.Equals, liveness.Unknown)
	c.Check(verdict.Err, qt.ErrorIs, os.ErrNotExist)
	child.Kill()
	c.Check(system.Check(id).State, qt.Not(qt.Equals), liveness.Alive)
}

// The machine of a procfs of another namespace is not known, so another boot
// ID is no proof of a reboot of this one.
func TestRootProvesNoRebootOfAnotherMachine(t *testing.T) {
	if !proctest.Inside(t, unix.CLONE_NEWNS) {
		return
	}
	c := qt.New(t)
	dir := t.TempDir()
	child := mountElsewhere(t, dir)
	proctest.MountFile(t, boot2+"\n", "/proc/sys/kernel/random/boot_id") // as in a container
	id := liveness.Identity{PID: 1}
	id.Boot.Machine, id.Boot.Boot, id.Boot.Quality = machineB, boot1, bootid.Native
	system := newLiveness(t, liveness.Options{Root: dir})
	verdict := system.Check(id)
	c.Check(verdict.State, qt.Equals, liveness.Unknown)
	c.Check(verdict.Err, qt.ErrorMatches, "the procfs may be that of another machine")
	id.PID = 4321 // nobody's there
	c.Check(system.Check(id).State, qt.Equals, liveness.Unknown)
	system = newLiveness(t, liveness.Options{Root: dir, SameMachine: true})
	c.Check(system.Check(id), qt.Equals, liveness.Verdict{State: liveness.Dead, Reason: liveness.Rebooted})
	child.Kill()
}

// A container that was given a boot ID of its own, and a program in it that
// sees that of the kernel: both boot IDs are of one boot.
func TestTwoBootIDsInOneContainerAreNoReboot(t *testing.T) {
	if !proctest.Inside(t, unix.CLONE_NEWNS|unix.CLONE_NEWPID) {
		return
	}
	c := qt.New(t)
	proctest.Mount(t, "proc", "/proc", "proc", 0, "")
	child := proctest.Start(t, proctest.Command("hold"))
	id := captured(t, child)
	proctest.MountFile(t, boot2+"\n", "/proc/sys/kernel/random/boot_id")
	wantVerdict(c, id, liveness.Unknown, liveness.NoEvidence)
	child.Kill()
	wantVerdict(c, id, liveness.Dead, liveness.NoProcess)
}

// innerThread is the number, in the procfs at dir, of a thread of its PID 1.
func innerThread(t testing.TB, dir string) int {
	t.Helper()
	tasks, err := os.ReadDir(dir + "/1/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		var tid int
		if _, err := fmt.Sscan(task.Name(), &tid); err == nil && tid != 1 {
			return tid
		}
	}
	t.Fatal("PID 1 there has one thread")
	return 0
}

func TestHiddenProcessOfAnotherNamespaceIsNotDead(t *testing.T) {
	if !proctest.Inside(t, unix.CLONE_NEWNS) {
		return
	}
	c := qt.New(t)
	proctest.AsNobody(t, exec.Command("true")) // skips where nobody can be had
	dir := t.TempDir()
	c.Assert(os.Chmod(dir, 0o755), qt.IsNil)
	for parent := dir; parent != "/tmp" && parent != "/"; parent = parent[:max(1, strings.LastIndexByte(parent, '/'))] {
		c.Assert(os.Chmod(parent, 0o755), qt.IsNil)
	}
	child := mountElsewhere(t, dir, "hidepid=2")
	proctest.HasOption(t, dir, "hidepid=2")
	id := liveness.Identity{PID: 1, Start: startField(t, dir+"/1/stat")}
	c.Check(checkBy(t, liveness.Options{Root: dir}, id, asNobody(t)), qt.Matches, `unknown: the evidence could not be read .*`)
	child.Kill()
}

func TestRootMustBeAProcfs(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	_, err := liveness.New(liveness.Options{Root: t.TempDir()})
	c.Check(err, qt.ErrorIs, liveness.ErrInvalidOptions)
	c.Check(err, qt.ErrorMatches, "liveness: invalid options: Root /.* is not a procfs")
	_, err = liveness.New(liveness.Options{Root: "/nowhere"})
	c.Check(err, qt.ErrorIs, os.ErrNotExist)
	c.Check(err, qt.ErrorMatches, "liveness: statfs /nowhere: .*")
}

func TestVariableThatNoEnvironmentHasIsRefused(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, variable := range []string{"=", "A=B", "A\x00"} {
		_, err := liveness.New(liveness.Options{MarkerVariable: variable})
		c.Check(err, qt.ErrorIs, liveness.ErrInvalidOptions)
		c.Check(err, qt.ErrorMatches, "liveness: invalid options: MarkerVariable .*")
	}
}

// A process that ends while it is looked at is alive before and dead after. A
// marker may be lost in between: it goes with the memory of the process, before
// the process itself.
func TestProcessThatVanishesIsAliveAndThenDead(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	system := newLiveness(t, liveness.Options{})
	verdicts := map[liveness.Reason]int{}
	for range 40 {
		cmd := exec.Command("sleep", "1000")
		marker := liveness.Plant(cmd)
		c.Assert(cmd.Start(), qt.IsNil)
		id, err := liveness.CaptureProcess(cmd.Process)
		c.Assert(err, qt.IsNil)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}()
		ids := []liveness.Identity{id, withoutUnique(id), {PID: id.PID, NotAfter: time.Now()}, withMarker(id, marker)}
		marked := len(ids) - 1
		gone := make([]bool, len(ids))
		for after := false; ; {
			for i, id := range ids {
				verdict := system.Check(id)
				verdicts[verdict.Reason]++
				if gone[i] {
					c.Assert(verdict.State, qt.Equals, liveness.Dead, qt.Commentf("%v: %v, dead before", id, verdict))
				}
				if i != marked {
					c.Assert(verdict.State, qt.Not(qt.Equals), liveness.Unknown, qt.Commentf("%v: %v", id, verdict))
				}
				gone[i] = verdict.State == liveness.Dead
			}
			if after {
				break
			}
			select {
			case <-ended:
				after = true
			default:
			}
		}
		c.Assert(gone, qt.DeepEquals, []bool{true, true, true, true})
	}
	t.Log(verdicts)
}

// Sanity of the tests above: a PID that is no one's.
func TestLargestPIDThatNobodyHasIsDead(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	const pid = 1 << 22 // one above the largest that is given
	if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Fatalf("somebody has PID %d: %v", pid, err)
	}
	wantVerdict(c, liveness.Identity{PID: pid}, liveness.Dead, liveness.NoProcess)
	for _, pid := range []int{pid + 1, 99999999, math.MaxInt32} {
		wantVerdict(c, liveness.Identity{PID: pid}, liveness.Dead, liveness.NoProcess)
		id := liveness.Identity{PID: pid, Boot: bootid.ID{Machine: machineB, Boot: boot2, Quality: bootid.Native}}
		wantVerdict(c, id, liveness.Unknown, liveness.OtherMachine)
	}
}
