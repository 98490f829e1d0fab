package liveness_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"
	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

// groupRole starts a child in the role of its second argument, and takes that
// of its first itself. Both write to standard output.
func groupRole(args []string) {
	cmd := proctest.Command(args[1])
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	must(cmd.Start())
	switch args[0] {
	case "count":
		countRole(nil)
	case "stubborn":
		stubbornRole(nil)
	default:
		proctest.Hold()
	}
}

// ownGroupRole tries to signal the group of which it is the leader.
func ownGroupRole([]string) {
	signal.Ignore(unix.SIGTERM)
	must(unix.Setpgid(0, 0))
	id, err := liveness.Self()
	must(err)
	process, err := liveness.Open(id)
	must(err)
	fmt.Println(errors.Is(process.SignalGroup(unix.SIGTERM), liveness.ErrOwnGroup),
		errors.Is(process.TerminateGroup(waitForever(), time.Minute), liveness.ErrOwnGroup))
	proctest.Hold()
}

// A group is a leader in one role and its child in another.
type group struct {
	leader  *proctest.Child
	process *liveness.Process
	// alive is held open by every process of the group.
	alive *os.File
}

func startGroup(t testing.TB, leader, child string) group {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { read.Close() })
	cmd := proctest.Command("group", leader, child)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stderr = write
	g := group{alive: read}
	g.leader = proctest.Start(t, cmd)
	write.Close()
	g.leader.WaitReady(t) // leader and child are ready
	g.process = opened(t, g.leader)
	return g
}

// waitEmpty waits until no process of the group runs.
func (g group) waitEmpty(t testing.TB) {
	t.Helper()
	if text, err := io.ReadAll(g.alive); err != nil || len(text) > 0 {
		t.Fatalf("%s, %v", text, err)
	}
}

func TestSignalGroupReachesTheGroupAndNobodyElse(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	stranger := proctest.Start(t, proctest.Command("count"))
	strangers := startGroup(t, "count", "count")
	g := startGroup(t, "count", "count")
	c.Assert(g.process.SignalGroup(unix.SIGUSR1), qt.IsNil)
	for range 2 {
		c.Check(g.leader.ReadLine(t), qt.Equals, unix.SIGUSR1.String())
	}
	c.Assert(stranger.Process.Signal(unix.SIGWINCH), qt.IsNil)
	c.Check(stranger.ReadLine(t), qt.Equals, unix.SIGWINCH.String())
	c.Assert(strangers.leader.Process.Signal(unix.SIGWINCH), qt.IsNil)
	c.Check(strangers.leader.ReadLine(t), qt.Equals, unix.SIGWINCH.String())
}

func TestTerminateGroupEndsAllOfIt(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct{ name, leader, child string }{
		{"that asks", "hold", "hold"},
		{"whose leader goes first", "hold", "stubborn"},
		{"whose leader goes last", "stubborn", "hold"},
		{"that goes unwillingly", "stubborn", "stubborn"},
	} {
		c.Run(test.name, func(c *qt.C) {
			stranger := startGroup(c, "count", "count")
			g := startGroup(c, test.leader, test.child)
			grace := time.Minute
			if test.leader == "stubborn" || test.child == "stubborn" {
				grace = 50 * time.Millisecond
			}
			c.Check(g.process.TerminateGroup(c.Context(), grace), qt.IsNil)
			c.Check(g.process.Wait(cancelled()), qt.IsNil)
			g.waitEmpty(c)
			c.Check(g.process.TerminateGroup(c.Context(), grace), qt.IsNil, qt.Commentf("it is gone already"))
			c.Check(g.process.TerminateGroup(c.Context(), 0), qt.IsNil)
			c.Assert(stranger.leader.Process.Signal(unix.SIGWINCH), qt.IsNil)
			c.Check(stranger.leader.ReadLine(c), qt.Equals, unix.SIGWINCH.String())
		})
	}
}

func TestTerminateGroupObeysTheContext(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	g := startGroup(t, "stubborn", "stubborn")
	ctx, cancel := withCancel()
	terminated := make(chan error)
	go func() { terminated <- g.process.TerminateGroup(ctx, time.Hour) }()
	cancel()
	c.Check(<-terminated, qt.ErrorIs, ctx.Err())
	c.Check(g.process.Wait(cancelled()), qt.ErrorIs, ctx.Err())
	c.Check(g.process.TerminateGroup(t.Context(), 0), qt.IsNil)
	g.waitEmpty(t)
}

// Once it waits for the members, too.
func TestTerminateGroupThatWaitsObeysTheContext(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	g := startGroup(t, "count", "count")
	ctx, cancel := withCancel()
	terminated := make(chan error)
	go func() { terminated <- g.process.TerminateGroup(ctx, time.Hour) }()
	for range 4 { // SIGTERM and SIGCONT to each
		g.leader.ReadLine(t)
	}
	cancel()
	c.Check(<-terminated, qt.ErrorIs, ctx.Err())
	c.Check(g.process.TerminateGroup(t.Context(), 0), qt.IsNil)
	g.waitEmpty(t)
}

// Since Linux 6.9 the group is known also when its leader was waited for.
func TestGroupThatOutlivesItsLeader(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	g := startGroup(t, "hold", "count")
	c.Assert(g.process.Signal(unix.SIGKILL), qt.IsNil)
	g.leader.Process.Wait()
	err := g.process.SignalGroup(unix.SIGUSR1)
	if os.Getenv(oldKernelVariable) == "no pidfd groups" || errors.Is(err, errors.ErrUnsupported) {
		c.Check(err, qt.ErrorIs, errors.ErrUnsupported)
		c.Check(err, qt.ErrorMatches, `liveness: signal the group of PID \d+: its leader is gone: whose group has the number is not known: unsupported operation`)
		c.Check(g.process.TerminateGroup(t.Context(), time.Minute), qt.ErrorIs, errors.ErrUnsupported)
		c.Check(g.process.TerminateGroup(t.Context(), 0), qt.ErrorIs, errors.ErrUnsupported)
		c.Assert(unix.Kill(-g.leader.PID(), unix.SIGKILL), qt.IsNil) // ours, as only this test knows
		g.waitEmpty(t)
		return
	}
	c.Assert(err, qt.IsNil)
	c.Check(g.leader.ReadLine(t), qt.Equals, unix.SIGUSR1.String())
	c.Check(g.process.TerminateGroup(t.Context(), time.Millisecond), qt.IsNil)
	g.waitEmpty(t)
}

func TestGroupThatIsGone(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	cmd := proctest.Command("hold")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	child := proctest.Start(t, cmd)
	process := opened(t, child)
	child.Kill()
	c.Check(process.SignalGroup(unix.SIGTERM), qt.ErrorIs, liveness.ErrNoProcess)
	c.Check(process.TerminateGroup(t.Context(), time.Minute), qt.IsNil)
	c.Check(process.TerminateGroup(t.Context(), 0), qt.IsNil)
}

// Such a process is in a group that is another's, here that of this test.
func TestGroupOfWhichTheProcessIsNotTheLeader(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	process := opened(t, proctest.Start(t, proctest.Command("hold")))
	c.Check(process.SignalGroup(unix.SIGTERM), qt.ErrorIs, liveness.ErrNoGroup)
	c.Check(process.TerminateGroup(t.Context(), time.Minute), qt.ErrorIs, liveness.ErrNoGroup)
	c.Check(process.TerminateGroup(t.Context(), 0), qt.ErrorIs, liveness.ErrNoGroup)
	c.Check(process.Wait(cancelled()), qt.Not(qt.IsNil))

	parent, err := proctest.TryStart(t, func() *exec.Cmd {
		cmd := proctest.Command("spawn")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		return cmd
	}())
	c.Assert(err, qt.IsNil)
	pid, err := strconv.Atoi(parent.ReadLine(t))
	c.Assert(err, qt.IsNil)
	id, err := liveness.Capture(pid)
	c.Assert(err, qt.IsNil)
	c.Check(openedID(t, id).SignalGroup(unix.SIGTERM), qt.ErrorIs, liveness.ErrNoGroup)
}

func TestOwnGroupIsNotSignalled(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	opened(t, proctest.Start(t, proctest.Command("hold"))) // skips where nothing can be opened
	child, err := proctest.TryStart(t, proctest.Command("own-group"))
	c.Assert(err, qt.IsNil)
	c.Check(child.ReadLine(t), qt.Equals, "true true")
}
