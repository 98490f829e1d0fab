package liveness_test

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"
	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

func TestSelfSaysWhatTheKernelSays(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	id, err := liveness.Self()
	c.Assert(err, qt.IsNil)
	c.Check(id.PID, qt.Equals, os.Getpid())
	c.Check(id.Start, qt.Equals, startField(t, "/proc/self/stat"))
	c.Check(id.Namespace.InitStart, qt.Equals, startField(t, "/proc/1/stat"))
	c.Check(fmt.Sprintf("pid:[%d]", id.Namespace.PID), qt.Equals, readlink(t, "/proc/self/ns/pid"))
	if id.Namespace.Time != 0 {
		c.Check(fmt.Sprintf("time:[%d]", id.Namespace.Time), qt.Equals, readlink(t, "/proc/self/ns/time"))
	}
	boot, err := bootid.Current()
	c.Assert(err, qt.IsNil)
	c.Check(id.Boot, qt.Equals, boot)
	c.Check(id.Marker, qt.Equals, "")
	c.Check(id.NotBefore.IsZero() && id.NotAfter.IsZero(), qt.IsTrue)

	captured, err := liveness.Capture(os.Getpid())
	c.Assert(err, qt.IsNil)
	c.Check(captured, qt.Equals, id)
}

func TestUniqueIsThePidfdsInode(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	child := proctest.Start(t, proctest.Command("hold"))
	fd, err := unix.PidfdOpen(child.PID(), 0)
	if err == nil {
		defer unix.Close(fd)
	}
	var fs unix.Statfs_t
	onPidfs := err == nil && unix.Fstatfs(fd, &fs) == nil && fs.Type == unix.PID_FS_MAGIC
	if os.Getenv(oldKernelVariable) == "" {
		c.Assert(liveness.HasPidfs(), qt.Equals, onPidfs)
	}
	if !liveness.HasPidfs() {
		t.Skip("no pidfs")
	}
	var stat unix.Stat_t
	c.Assert(unix.Fstat(fd, &stat), qt.IsNil)
	c.Check(captured(t, child).Unique, qt.Equals, stat.Ino)

	other := proctest.Start(t, proctest.Command("hold"))
	c.Check(captured(t, other).Unique, qt.Not(qt.Equals), stat.Ino)
}

func TestCaptureTellsWhatAChildTellsOfItself(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	child, err := proctest.TryStart(t, proctest.Command("capture"))
	c.Assert(err, qt.IsNil)
	said, err := liveness.Parse(child.ReadLine(t))
	c.Assert(err, qt.IsNil)
	c.Check(captured(t, child), qt.Equals, said)
	byPID, err := liveness.Capture(child.PID())
	c.Assert(err, qt.IsNil)
	c.Check(byPID, qt.Equals, said)
}

func TestCaptureOfNoProcessFails(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	child := proctest.Start(t, proctest.Command("hold"))
	thread := otherThread(t, child.PID())
	gone := proctest.Start(t, proctest.Command("hold"))
	gone.Kill()
	for _, test := range []struct {
		name    string
		pid     int
		want    error
		message string
	}{
		{"reaped", gone.PID(), liveness.ErrNoProcess, `liveness: capture PID \d+: no such process: no process has its PID`},
		{"thread", thread, liveness.ErrNoProcess, `liveness: capture PID \d+: no such process: its PID is now the number of a thread`},
		{"zero", 0, liveness.ErrInvalid, `liveness: capture PID 0: invalid identity: PID 0`},
		{"negative", -1, liveness.ErrInvalid, `liveness: capture PID -1: invalid identity: PID -1`},
		{"a group", -os.Getpid(), liveness.ErrInvalid, `liveness: capture PID -\d+: .*`},
		{"smallest", math.MinInt, liveness.ErrInvalid, `liveness: capture PID -\d+: .*`},
		{"beyond what Linux gives", 1<<22 + 1, liveness.ErrInvalid, `liveness: capture PID 4194305: .*`},
		{"largest", math.MaxInt, liveness.ErrInvalid, `liveness: capture PID \d+: .*`},
	} {
		c.Run(test.name, func(c *qt.C) {
			id, err := liveness.Capture(test.pid)
			c.Check(err, qt.ErrorIs, test.want)
			c.Check(err, qt.ErrorMatches, test.message)
			c.Check(id.IsZero(), qt.IsTrue)
		})
	}
}

// A PID beyond what Linux gives never gets to a system call, which would cut
// it to 32 bits and find another process.
func TestHugePIDIsNotCutToAnotherOne(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	system := newLiveness(t, liveness.Options{})
	id, err := liveness.Self()
	c.Assert(err, qt.IsNil)
	for _, pid := range []int{1<<22 + 1, math.MaxInt32} {
		id.PID = pid
		c.Check(system.Check(id), qt.Equals, liveness.Verdict{State: liveness.Dead, Reason: liveness.NoProcess})
		_, err = liveness.Capture(pid)
		c.Check(err, qt.ErrorIs, liveness.ErrInvalid)
	}
	if strconv.IntSize == 32 {
		return
	}
	self := int64(os.Getpid())
	for _, pid := range []int64{self + 1<<32, self + 1<<33, self + math.MinInt64} {
		id.PID = int(pid)
		verdict := system.Check(id)
		c.Check(verdict.State, qt.Equals, liveness.Unknown)
		c.Check(verdict.Reason, qt.Equals, liveness.Unreadable)
		c.Check(verdict.Err, qt.ErrorIs, liveness.ErrInvalid)
		_, err = liveness.Capture(id.PID)
		c.Check(err, qt.ErrorIs, liveness.ErrInvalid)
	}
}

func TestCaptureOfAZombieIsItsIdentity(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	child := proctest.Start(t, proctest.Command("hold"))
	alive := captured(t, child)
	child.KillUnreaped(t)
	c.Check(captured(t, child), qt.Equals, alive)
}

func TestCaptureAfterWaitFails(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	child := proctest.Start(t, proctest.Command("hold"))
	child.Kill()
	id, err := liveness.CaptureProcess(child.Process)
	c.Check(err, qt.ErrorIs, liveness.ErrNoProcess)
	c.Check(err, qt.ErrorIs, os.ErrProcessDone)
	c.Check(id.IsZero(), qt.IsTrue)
}

func TestCaptureOfAProcessReapedBehindTheHandleFails(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	child := proctest.Start(t, proctest.Command("hold"))
	c.Assert(child.Process.Kill(), qt.IsNil)
	_, err := unix.Wait4(child.PID(), nil, 0, nil)
	c.Assert(err, qt.IsNil)
	id, err := liveness.CaptureProcess(child.Process)
	c.Check(err, qt.ErrorIs, liveness.ErrNoProcess)
	c.Check(id.IsZero(), qt.IsTrue)
}

func TestCaptureOfNoHandleFails(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	_, err := liveness.CaptureProcess(nil)
	c.Check(err, qt.ErrorIs, liveness.ErrInvalid)
	c.Check(err, qt.ErrorMatches, "liveness: capture process: invalid identity: nil process")

	found, err := os.FindProcess(os.Getpid())
	c.Assert(err, qt.IsNil)
	id, err := liveness.CaptureProcess(found)
	c.Assert(err, qt.IsNil)
	c.Check(id.PID, qt.Equals, os.Getpid())
	c.Assert(found.Release(), qt.IsNil)
	id, err = liveness.CaptureProcess(found)
	c.Check(err, qt.IsNotNil)
	c.Check(id.IsZero(), qt.IsTrue)
}

// ps is the oracle, where there is one; lstart has whole seconds.
func TestStartInWallTimeIsWhenTheChildStarted(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	before := time.Now()
	child := proctest.Start(t, proctest.Command("hold"))
	after := time.Now()
	boot, start, err := liveness.WallStart(captured(t, child).Start)
	c.Assert(err, qt.IsNil)
	const tick = 20 * time.Millisecond
	c.Check(start.After(before.Add(-tick)) && start.Before(after.Add(tick)), qt.IsTrue, qt.Commentf("%v, %v, %v", before, start, after))
	c.Check(boot.Before(start), qt.IsTrue)

	output, err := exec.Command("ps", "-o", "lstart=", "-p", strconv.Itoa(child.PID())).Output()
	if err != nil {
		t.Logf("no ps: %v", err)
		return
	}
	said, err := time.ParseInLocation(time.ANSIC, strings.TrimSpace(string(output)), time.Local)
	c.Assert(err, qt.IsNil)
	c.Check(start.Sub(said).Abs() < 2*time.Second, qt.IsTrue, qt.Commentf("ps says %v, not %v", said, start))
}

// startField reads field 22 another way than the package does.
func startField(t testing.TB, file string) uint64 {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text)[strings.LastIndex(string(text), ") ")+2:])
	start, err := strconv.ParseUint(fields[22-3], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return start
}

func readlink(t testing.TB, link string) string {
	t.Helper()
	target, err := os.Readlink(link)
	if err != nil {
		t.Fatal(err)
	}
	return target
}
