package liveness_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"
	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

// countRole prints the signals that it gets. The last of those that are sent
// one after the other is printed last if it has the highest number.
func countRole([]string) {
	signals := make(chan os.Signal, 100)
	signal.Notify(signals, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTERM, unix.SIGCONT, unix.SIGWINCH)
	go func() {
		for sig := range signals {
			fmt.Println(sig)
		}
	}()
	proctest.Hold()
}

// stubbornRole ignores SIGTERM.
func stubbornRole([]string) {
	signal.Ignore(unix.SIGTERM)
	proctest.Hold()
}

func TestRefusedRecordSendsNothing(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	canary := proctest.Start(t, proctest.Command("count"))
	id := captured(t, canary)
	stranger, bare, earlier := withoutUnique(id), pidOnly(id), id
	stranger.Start++
	earlier.Boot.Boot = boot2
	thread := id
	thread.PID = otherThread(t, id.PID)
	for _, id := range []liveness.Identity{stranger, bare, earlier, thread, withMarker(id, "another's"), {PID: id.PID, NotBefore: time.Now().Add(time.Hour)}} {
		_, err := liveness.Open(id)
		var verdict *liveness.VerdictError
		c.Check(err, qt.ErrorAs, &verdict, qt.Commentf("%v", id))
	}
	c.Assert(canary.Process.Signal(unix.SIGWINCH), qt.IsNil)
	c.Check(canary.ReadLine(t), qt.Equals, unix.SIGWINCH.String())
}

func TestSignalReachesTheProcess(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	child := proctest.Start(t, proctest.Command("count"))
	process := opened(t, child)
	c.Assert(process.Signal(syscall.Signal(0)), qt.IsNil)
	for _, sig := range []syscall.Signal{unix.SIGUSR1, unix.SIGTERM, unix.SIGWINCH} {
		c.Assert(process.Signal(sig), qt.IsNil)
		c.Check(child.ReadLine(t), qt.Equals, sig.String())
	}
	c.Check(process.Signal(syscall.Signal(1000)), qt.ErrorIs, unix.EINVAL)
}

func TestOpenByAnyEvidence(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	cmd := proctest.Command("count")
	marker := liveness.Plant(cmd)
	child := proctest.Start(t, cmd)
	id := captured(t, child)
	for _, id := range []liveness.Identity{id, withoutUnique(id), withMarker(id, marker), {PID: id.PID, NotAfter: time.Now()}} {
		c.Assert(openedID(t, id).Signal(unix.SIGUSR1), qt.IsNil)
		c.Check(child.ReadLine(t), qt.Equals, unix.SIGUSR1.String())
	}
}

func TestProcessesOfAnotherUserAreNotSignalled(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	id := opened(t, proctest.Start(t, proctest.Command("hold"))).Identity()
	cmd := proctest.Command("terminate", id.String())
	proctest.AsNobody(t, cmd)
	child, err := proctest.TryStart(t, cmd)
	c.Assert(err, qt.IsNil)
	c.Check(child.ReadLine(t), qt.Matches, `liveness: terminate PID \d+: pidfd_send_signal: operation not permitted`)
	wantVerdict(c, id, liveness.Alive, liveness.SameProcess)
}

// terminateRole opens a process, terminates it, and prints the error.
func terminateRole(args []string) {
	id, err := liveness.Parse(args[0])
	must(err)
	process, err := liveness.Open(id)
	must(err)
	fmt.Println(process.Terminate(context.Background(), time.Minute))
}

func TestTerminateEscalates(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	child := proctest.Start(t, proctest.Command("stubborn"))
	process := opened(t, child)
	c.Check(process.Terminate(t.Context(), time.Millisecond), qt.IsNil)
	c.Check(process.Wait(cancelled()), qt.IsNil)
	child.Kill()
	c.Check(child.ProcessState.Sys().(syscall.WaitStatus).Signal(), qt.Equals, unix.SIGKILL)
}

func TestTerminateAsksFirst(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	child := proctest.Start(t, proctest.Command("hold"))
	c.Check(opened(t, child).Terminate(t.Context(), time.Minute), qt.IsNil)
	child.Kill()
	c.Check(child.ProcessState.Sys().(syscall.WaitStatus).Signal(), qt.Equals, unix.SIGTERM)
}

// readSignals reads what the role "count" says of signals that it got in any order.
func readSignals(t testing.TB, child *proctest.Child, want ...syscall.Signal) {
	t.Helper()
	missing := map[string]bool{}
	for _, sig := range want {
		missing[sig.String()] = true
	}
	for range want {
		line := child.ReadLine(t)
		if !missing[line] {
			t.Errorf("signal %q", line)
		}
		delete(missing, line)
	}
}

// graceRole ends when it is asked to, by a handler.
func graceRole([]string) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, unix.SIGTERM)
	fmt.Println("ready")
	<-asked
	os.Exit(42)
}

// A stopped process does not come to handle a request before it is continued.
func TestTerminateContinuesAStoppedProcessSoThatItCanEnd(t *testing.T) {
	t.Parallel()
	for _, group := range []bool{false, true} {
		t.Run(fmt.Sprintf("group=%t", group), func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			cmd := proctest.Command("grace")
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: group}
			child := proctest.Start(t, cmd)
			process := opened(t, child)
			c.Assert(process.Signal(unix.SIGSTOP), qt.IsNil)
			waitState(t, child.PID(), "T")
			terminate := process.Terminate
			if group {
				terminate = process.TerminateGroup
			}
			c.Check(terminate(t.Context(), time.Hour), qt.IsNil)
			child.Kill()
			c.Check(child.ProcessState.ExitCode(), qt.Equals, 42)
		})
	}
}

// waitState waits until the leading thread of a process is in the state.
func waitState(t testing.TB, pid int, state string) {
	t.Helper()
	for {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(line, []byte(") "+state+" ")) {
			return
		}
		runtime.Gosched()
	}
}

func TestTerminateThatIsCancelledWithinTheGraceKillsNobody(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	child := proctest.Start(t, proctest.Command("count"))
	process := opened(t, child)
	ctx, cancel := context.WithCancel(t.Context())
	terminated := make(chan error)
	go func() { terminated <- process.Terminate(ctx, time.Hour) }()
	readSignals(t, child, unix.SIGTERM, unix.SIGCONT)
	cancel()
	c.Check(<-terminated, qt.ErrorIs, context.Canceled)
	c.Check(process.Wait(cancelled()), qt.ErrorIs, context.Canceled)
}

func TestTerminateWhoseTimeIsUpWithinTheGraceKillsNobody(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	child := proctest.Start(t, proctest.Command("count"))
	process := opened(t, child)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	c.Check(process.Terminate(ctx, time.Hour), qt.ErrorIs, context.DeadlineExceeded)
	readSignals(t, child, unix.SIGTERM, unix.SIGCONT)
	c.Assert(process.Signal(unix.SIGWINCH), qt.IsNil)
	c.Check(child.ReadLine(t), qt.Equals, unix.SIGWINCH.String())
}

// Its parent may never wait for it.
func TestEndingAZombieIsNoError(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	child := proctest.Start(t, proctest.Command("hold"))
	process := opened(t, child)
	child.KillUnreaped(t)
	c.Check(process.Wait(cancelled()), qt.IsNil)
	c.Check(process.Signal(unix.SIGTERM), qt.IsNil)
	c.Check(process.Terminate(t.Context(), time.Minute), qt.IsNil)
	c.Check(process.Terminate(t.Context(), 0), qt.IsNil)
}

// See checkUnique: a pidfd says for an instant that such a process has ended.
func TestWaitOutlivesExecs(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, thread := range []string{"leader", "other"} {
		child, err := proctest.TryStart(t, proctest.Command("exec-storm", "10", thread))
		c.Assert(err, qt.IsNil)
		process := opened(t, child)
		ctx, cancel := context.WithCancel(t.Context())
		waited := make(chan error)
		go func() { waited <- process.Wait(ctx) }()
		child.WaitReady(t)
		cancel()
		c.Check(<-waited, qt.ErrorIs, context.Canceled)
		c.Check(process.Terminate(t.Context(), 0), qt.IsNil)
	}
}

// Such an instant, held: a descriptor that is ready, and a process that lives.
func TestPidfdThatIsReadyIsNoDeathByItself(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	ready, err := os.Open(os.DevNull)
	c.Assert(err, qt.IsNil)
	defer ready.Close()
	child := proctest.Start(t, proctest.Command("hold"))
	verdict, err := liveness.JudgePinned(int(ready.Fd()), child.PID())
	c.Assert(err, qt.IsNil)
	c.Check(verdict.State, qt.Equals, liveness.Alive)
	child.KillUnreaped(t)
	verdict, err = liveness.JudgePinned(int(ready.Fd()), child.PID())
	c.Assert(err, qt.IsNil)
	c.Check(verdict, qt.Equals, liveness.Verdict{State: liveness.Dead, Reason: liveness.Zombie})
}

func TestCancelledWaitLeavesNothingBehind(t *testing.T) {
	if !proctest.Inside(t, 0) {
		return
	}
	c := qt.New(t)
	process := opened(t, proctest.Start(t, proctest.Command("hold")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = process.Wait(ctx) // so that whatever is made once is there
	goroutines, descriptors, threads := runtime.NumGoroutine(), openDescriptors(t), threadCount(t)
	for range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		const waiters = 10
		waited := make(chan error)
		for range waiters {
			go func() { waited <- process.Wait(ctx) }()
		}
		cancel()
		for range waiters {
			c.Assert(<-waited, qt.ErrorIs, context.Canceled)
		}
	}
	c.Check(openDescriptors(t), qt.Equals, descriptors)
	for runtime.NumGoroutine() > goroutines && t.Context().Err() == nil {
		runtime.Gosched() // the last ones are on their way out
	}
	c.Check(threadCount(t)-threads < 10, qt.IsTrue, qt.Commentf("%d threads, then %d", threads, threadCount(t)))
	c.Check(process.Wait(cancelled()), qt.ErrorIs, context.Canceled)
}

func TestManyWaitsTakeNoThreads(t *testing.T) {
	if !proctest.Inside(t, 0) {
		return
	}
	c := qt.New(t)
	sleep, err := exec.LookPath("sleep")
	c.Assert(err, qt.IsNil)
	const children = 50
	waited := make(chan error)
	var sleepers []*os.Process
	threads := threadCount(t)
	for range children {
		child, id := sleeper(t, sleep)
		sleepers = append(sleepers, child)
		t.Cleanup(func() { kill(child) })
		process := openedID(t, id)
		go func() { waited <- process.Wait(t.Context()) }()
	}
	c.Check(threadCount(t)-threads < children/2, qt.IsTrue, qt.Commentf("%d threads, then %d", threads, threadCount(t)))
	for _, child := range sleepers {
		kill(child)
		c.Check(<-waited, qt.IsNil)
	}
}

func openDescriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func threadCount(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestRootOfAnotherNamespaceOpensNothing(t *testing.T) {
	if !proctest.Inside(t, unix.CLONE_NEWNS) {
		return
	}
	c := qt.New(t)
	root := t.TempDir()
	mountElsewhere(t, root)
	system := newLiveness(t, liveness.Options{Root: root})
	id := liveness.Identity{PID: 1, NotAfter: time.Now()}
	c.Assert(system.Check(id).State, qt.Equals, liveness.Alive)
	_, err := system.Open(id)
	c.Check(err, qt.ErrorIs, errors.ErrUnsupported)
	c.Check(err, qt.ErrorMatches, `liveness: open PID 1: .* shows another PID namespace: unsupported operation`)
}

func TestKernelWithoutPidfdsOpensNothing(t *testing.T) {
	if !proctest.Inside(t, 0) {
		return
	}
	c := qt.New(t)
	c.Assert(refuse(unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_SEND_SIGNAL), qt.IsNil)
	child := proctest.Start(t, proctest.Command("hold"))
	id := captured(t, child)
	_, err := liveness.Open(id)
	c.Check(err, qt.ErrorIs, unix.ENOSYS)
	c.Check(err, qt.ErrorMatches, `liveness: open PID \d+: pidfd_open: function not implemented`)
	child.Kill()
	_, err = liveness.Open(id)
	c.Check(err, qt.ErrorIs, liveness.ErrNoProcess)
}

func TestOpenWithoutDescriptors(t *testing.T) {
	if !proctest.Inside(t, 0) {
		return
	}
	c := qt.New(t)
	child := proctest.Start(t, proctest.Command("hold"))
	id := captured(t, child)
	system := newLiveness(t, liveness.Options{})
	process := opened(t, child)
	restore := exhaustDescriptors(t)
	_, err := system.Open(id)
	waited := make(chan error)
	go func() { waited <- process.Wait(t.Context()) }()
	signalErr := process.Signal(unix.SIGKILL)
	for system.Check(id).State != liveness.Unknown && exitedUnreaped(id.PID) != nil {
		runtime.Gosched()
	}
	restore()
	c.Check(err, qt.ErrorIs, liveness.ErrUndecided)
	c.Check(err, qt.ErrorIs, unix.EMFILE)
	c.Check(signalErr, qt.IsNil)
	c.Check(<-waited, qt.IsNil, qt.Commentf("an end that could not be confirmed for a while"))
}

func exitedUnreaped(pid int) error {
	return unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
}

// exhaustDescriptors leaves this process none, until restore is called.
func exhaustDescriptors(t testing.TB) (restore func()) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}
}
