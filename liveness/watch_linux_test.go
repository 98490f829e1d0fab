package liveness_test

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"
	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

// watchedVariable is the number of processes of TestManyWatchedProcesses.
const watchedVariable = "ROLLCALL_WATCHED"

func watchedCount(t testing.TB) int {
	t.Helper()
	text, ok := os.LookupEnv(watchedVariable)
	if !ok {
		return 100
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is not a number of processes", watchedVariable, text)
	}
	return n
}

// held starts a process without threads of which this process keeps no handle,
// and which ends when this process does: it waits for the end of its input.
func held(t testing.TB) liveness.Identity {
	t.Helper()
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	process, err := os.StartProcess(cat, []string{"cat"}, &os.ProcAttr{Env: []string{}, Files: []*os.File{input(t), os.Stderr, os.Stderr}})
	if err != nil {
		t.Fatal(err)
	}
	id, err := liveness.CaptureProcess(process)
	if err != nil {
		t.Fatal(err)
	}
	_ = process.Release()
	t.Cleanup(func() { reap(id.PID) })
	return id
}

// inputOnce makes a pipe that ends when this process does.
var inputOnce = sync.OnceValues(func() ([2]*os.File, error) {
	read, write, err := os.Pipe()
	return [2]*os.File{read, write}, err
})

func input(t testing.TB) *os.File {
	t.Helper()
	pipe, err := inputOnce()
	if err != nil {
		t.Fatal(err)
	}
	return pipe[0]
}

// reap ends a child by its number, which it has until it is waited for.
func reap(pid int) {
	_ = unix.Kill(pid, unix.SIGKILL)
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func TestManyWatchedProcesses(t *testing.T) {
	if !proctest.Inside(t, 0) {
		return
	}
	c := qt.New(t)
	system := newLiveness(t, liveness.Options{})
	input(t)
	descriptors := openDescriptors(t)
	watch := newWatch(t, system)
	wanted := watchedCount(t)
	living := map[liveness.Identity]bool{}
	for range wanted { // before there are descriptors that each child is given
		living[held(t)] = true
	}
	for id := range living {
		c.Assert(watch.Add(id), qt.IsNil)
	}
	c.Assert(watch.Len(), qt.Equals, wanted)
	c.Check(openDescriptors(t), qt.Equals, descriptors+wanted+1, qt.Commentf("one for each, and an epoll"))
	wantNoDeath(c, watch)
	threads := threadCount(t)

	// One in ten dies by itself, so that the delay can be seen, then the rest
	// at once.
	var delays []time.Duration
	for id := range living {
		began := time.Now()
		c.Assert(unix.Kill(id.PID, unix.SIGKILL), qt.IsNil)
		got, verdict, err := watch.Next(t.Context())
		delays = append(delays, time.Since(began))
		c.Assert(err, qt.IsNil)
		c.Assert(got, qt.Equals, id)
		c.Assert(verdict, qt.Equals, liveness.Verdict{State: liveness.Dead, Reason: liveness.Zombie})
		delete(living, id)
		if len(delays) >= wanted/10 {
			break
		}
	}
	for id := range living {
		c.Assert(unix.Kill(id.PID, unix.SIGKILL), qt.IsNil)
	}
	for len(living) > 0 {
		got, _, err := watch.Next(t.Context())
		c.Assert(err, qt.IsNil)
		c.Assert(living[got], qt.IsTrue, qt.Commentf("told of twice, or a stranger: %v", got))
		delete(living, got)
	}
	wantNoDeath(c, watch)
	c.Check(watch.Len(), qt.Equals, 0)
	c.Check(openDescriptors(t), qt.Equals, descriptors+1)
	c.Check(threadCount(t)-threads < 10, qt.IsTrue)
	c.Assert(watch.Close(), qt.IsNil)
	c.Check(openDescriptors(t), qt.Equals, descriptors)
	slices.Sort(delays)
	t.Logf("%d processes watched; from kill(2) to the news: median %v, p99 %v", wanted, delays[len(delays)/2], delays[len(delays)*99/100])
}

func TestRemoveAndCloseReleaseDescriptors(t *testing.T) {
	if !proctest.Inside(t, 0) {
		return
	}
	c := qt.New(t)
	system := newLiveness(t, liveness.Options{})
	id, other := held(t), held(t)
	wantNoDeath(c, newWatch(t, system)) // so that whatever is made once is there
	descriptors, goroutines := openDescriptors(t), runtime.NumGoroutine()
	for range 100 {
		watch := newWatch(t, system)
		c.Assert(watch.Add(id), qt.IsNil)
		c.Assert(watch.Add(other), qt.IsNil)
		c.Assert(watch.Add(pidOnly(id)), qt.Not(qt.IsNil))
		wantNoDeath(c, watch)
		watch.Remove(other)
		c.Assert(openDescriptors(t), qt.Equals, descriptors+2)
		c.Assert(watch.Close(), qt.IsNil)
	}
	c.Check(openDescriptors(t), qt.Equals, descriptors)
	for runtime.NumGoroutine() > goroutines && t.Context().Err() == nil {
		runtime.Gosched() // the last ones are on their way out
	}
}

// Where there are no descriptors left, the caller is told to look by itself, and
// those that are watched already are not lost.
func TestWatchWithoutDescriptors(t *testing.T) {
	if !proctest.Inside(t, 0) {
		return
	}
	c := qt.New(t)
	system := newLiveness(t, liveness.Options{})
	watch := newWatch(t, system)
	early, late := held(t), held(t)
	c.Assert(watch.Add(early), qt.IsNil)
	restore := exhaustDescriptors(t)
	lateErr := watch.Add(late)
	_, watchErr := system.NewWatch()
	c.Check(unix.Kill(early.PID, unix.SIGKILL), qt.IsNil)
	c.Check(exitedUnreaped(early.PID), qt.IsNil)
	told := make(chan liveness.Identity)
	go func() {
		id, _, _ := watch.Next(t.Context())
		told <- id
	}()
	for range 1000 {
		runtime.Gosched() // it cannot be confirmed yet
	}
	restore()
	c.Check(lateErr, qt.ErrorIs, unix.EMFILE)
	c.Check(watchErr, qt.ErrorIs, unix.EMFILE)
	c.Check(<-told, qt.Equals, early)
	c.Check(watch.Add(late), qt.IsNil)
	c.Check(unix.Kill(late.PID, unix.SIGKILL), qt.IsNil)
	wantDeath(c, watch, late)
}

// See judgePinned: a pidfd says for an instant that such a process has ended.
func TestWatchedProcessThatExecutesIsNotDead(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	watch := newWatch(t, newLiveness(t, liveness.Options{}))
	var last *proctest.Child
	var ids []liveness.Identity
	for range 3 {
		child, err := proctest.TryStart(t, proctest.Command("exec-storm", "5", "other"))
		c.Assert(err, qt.IsNil)
		last = child
		ids = append(ids, captured(t, child))
		c.Assert(watch.Add(ids[len(ids)-1]), qt.IsNil)
	}
	told := make(chan error)
	ctx, cancel := withCancel()
	defer cancel()
	go func() {
		id, verdict, err := watch.Next(ctx)
		if err == nil {
			err = errors.New(id.String() + ": " + verdict.String())
		}
		told <- err
	}()
	last.WaitReady(t)
	cancel()
	c.Check(<-told, qt.ErrorIs, ctx.Err())
	last.Kill()
	wantDeath(c, watch, ids[len(ids)-1])
}

func TestKernelWithoutPidfdsWatchesNothing(t *testing.T) {
	if !proctest.Inside(t, 0) {
		return
	}
	c := qt.New(t)
	c.Assert(refuse(unix.SYS_PIDFD_OPEN), qt.IsNil)
	_, err := newLiveness(t, liveness.Options{}).NewWatch()
	c.Check(err, qt.ErrorIs, errors.ErrUnsupported)
}
