package liveness_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

// The tests of this file run on every system that can open processes.

// opened opens a child and returns it with the child.
func opened(t testing.TB, child *proctest.Child) *liveness.Process {
	t.Helper()
	id, err := liveness.CaptureProcess(child.Process)
	if err != nil {
		t.Fatal(err)
	}
	return openedID(t, id)
}

func openedID(t testing.TB, id liveness.Identity) *liveness.Process {
	t.Helper()
	process, err := liveness.Open(id)
	if os.Getenv(oldKernelVariable) == "no pidfd" && errors.Is(err, errors.ErrUnsupported) {
		t.Skip("processes cannot be opened on such a kernel")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { process.Close() })
	return process
}

// cancelled is a context that is done.
func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestOpenWhereNothingCanBeOpened(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	if proctest.Platform(runtime.GOOS) != "any other" {
		t.Skip("processes can be opened here")
	}
	_, err := liveness.Open(liveness.Identity{PID: os.Getpid()})
	c.Check(err, qt.ErrorIs, errors.ErrUnsupported)
}

func TestOpenedProcessIsThatOfTheRecord(t *testing.T) {
	_, c := judge(t)
	child := proctest.Start(t, proctest.Command("hold"))
	id, err := liveness.CaptureProcess(child.Process)
	c.Assert(err, qt.IsNil)
	process := openedID(t, id)
	c.Check(process.Identity(), qt.Equals, id)
	c.Check(process.Wait(cancelled()), qt.ErrorIs, context.Canceled)
	c.Check(process.Wait(cancelled()), qt.ErrorMatches, `liveness: wait for PID \d+: context canceled`)
}

func TestZeroAndImpossibleIdentitiesAreNotOpened(t *testing.T) {
	_, c := judge(t)
	for _, id := range []liveness.Identity{{}, {PID: -1}, {PID: -os.Getpid()}, {NotAfter: time.Now()}} {
		_, err := liveness.Open(id)
		c.Check(err, qt.ErrorIs, liveness.ErrInvalid)
		c.Check(err, qt.ErrorIs, liveness.ErrUndecided)
		c.Check(err, qt.Not(qt.ErrorIs), liveness.ErrNoProcess)
	}
}

func TestDeadProcessIsNotOpened(t *testing.T) {
	system, c := judge(t)
	child := proctest.Start(t, proctest.Command("hold"))
	id, err := liveness.CaptureProcess(child.Process)
	c.Assert(err, qt.IsNil)
	reused := id
	reused.Unique = 0
	reused.Start++
	refused(c, system, reused, liveness.ErrNoProcess, liveness.PIDReused)
	if id.Boot.Quality == bootid.Native {
		earlier := id
		earlier.Boot.Boot = boot2
		refused(c, system, earlier, liveness.ErrNoProcess, liveness.Rebooted)
	}

	c.Assert(child.Process.Kill(), qt.IsNil)
	for system.Check(id).State == liveness.Alive {
		runtime.Gosched()
	}
	refused(c, system, id, liveness.ErrNoProcess, liveness.Zombie)
	child.Kill()
	_ = child.Process.Release()
	_, err = liveness.Open(id)
	c.Check(err, qt.ErrorIs, liveness.ErrNoProcess)
}

func TestUndecidedProcessIsNotOpened(t *testing.T) {
	system, c := judge(t)
	child := proctest.Start(t, proctest.Command("hold"))
	id, err := liveness.CaptureProcess(child.Process)
	c.Assert(err, qt.IsNil)
	refused(c, system, liveness.Identity{PID: child.PID()}, liveness.ErrUndecided, liveness.NoEvidence)
	if id.Boot.Machine != "" {
		id.Boot.Machine, id.Boot.Boot = machineB, boot2
		refused(c, system, id, liveness.ErrUndecided, liveness.OtherMachine)
	}
}

// refused checks that a record is not opened, and why.
func refused(c *qt.C, system liveness.Opener, id liveness.Identity, want error, reason liveness.Reason) {
	c.Helper()
	process, err := system.Open(id)
	c.Check(process, qt.IsNil)
	c.Check(err, qt.ErrorIs, want)
	var verdict *liveness.VerdictError
	c.Assert(err, qt.ErrorAs, &verdict)
	c.Check(verdict.Verdict.Reason, qt.Equals, reason)
	c.Check(errors.Is(err, liveness.ErrNoProcess), qt.Equals, verdict.Verdict.State == liveness.Dead)
	c.Check(errors.Is(err, liveness.ErrUndecided), qt.Equals, verdict.Verdict.State == liveness.Unknown)
}

// A supervisor that was started again has no children of its own.
func TestWaitForAProcessThatIsNoChild(t *testing.T) {
	_, c := judge(t)
	child, err := proctest.TryStart(t, proctest.Command("spawn"))
	c.Assert(err, qt.IsNil)
	pid, err := strconv.Atoi(child.ReadLine(t))
	c.Assert(err, qt.IsNil)
	id, err := liveness.Capture(pid)
	c.Assert(err, qt.IsNil)
	process := openedID(t, id)

	// Several wait at once, and the one whose context ends goes alone.
	impatient, cancel := context.WithCancel(t.Context())
	gone, first := make(chan error), make(chan error)
	go func() { gone <- process.Wait(impatient) }()
	go func() { first <- process.Wait(t.Context()) }()
	cancel()
	c.Check(<-gone, qt.ErrorIs, context.Canceled)

	c.Assert(process.Signal(os.Kill), qt.IsNil)
	c.Check(<-first, qt.IsNil)
	c.Check(process.Wait(t.Context()), qt.IsNil)
	c.Check(process.Wait(cancelled()), qt.IsNil, qt.Commentf("it has ended whatever the context says"))
}

func TestTerminateEndsTheProcess(t *testing.T) {
	_, c := judge(t)
	for _, grace := range []time.Duration{0, time.Minute} {
		process := opened(t, proctest.Start(t, proctest.Command("hold")))
		c.Check(process.Terminate(t.Context(), grace), qt.IsNil)
		c.Check(process.Wait(cancelled()), qt.IsNil)
		c.Check(process.Terminate(t.Context(), grace), qt.IsNil, qt.Commentf("it is gone already"))
	}
}

func TestEndingAProcessThatWasWaitedForIsNoError(t *testing.T) {
	_, c := judge(t)
	child := proctest.Start(t, proctest.Command("hold"))
	process := opened(t, child)
	child.Kill()
	c.Check(process.Terminate(t.Context(), time.Minute), qt.IsNil)
	c.Check(process.Terminate(t.Context(), 0), qt.IsNil)
	c.Check(process.Wait(t.Context()), qt.IsNil)
	c.Check(process.Signal(os.Kill), qt.ErrorIs, liveness.ErrNoProcess)
}

func TestTerminateWithADoneContextSendsNothing(t *testing.T) {
	_, c := judge(t)
	process := opened(t, proctest.Start(t, proctest.Command("hold")))
	c.Check(process.Terminate(cancelled(), 0), qt.ErrorIs, context.Canceled)
	c.Check(process.Terminate(cancelled(), time.Minute), qt.ErrorIs, context.Canceled)
	c.Check(process.Wait(cancelled()), qt.ErrorIs, context.Canceled)
}

func TestClosedProcessTakesNothing(t *testing.T) {
	_, c := judge(t)
	process := opened(t, proctest.Start(t, proctest.Command("hold")))
	waited := make(chan error)
	go func() { waited <- process.Wait(t.Context()) }()
	c.Assert(process.Close(), qt.IsNil)
	c.Check(<-waited, qt.ErrorIs, os.ErrClosed)
	c.Check(process.Signal(os.Kill), qt.ErrorIs, os.ErrClosed)
	c.Check(process.SignalGroup(os.Kill), qt.ErrorIs, os.ErrClosed)
	c.Check(process.Wait(t.Context()), qt.ErrorIs, os.ErrClosed)
	c.Check(process.Terminate(t.Context(), time.Minute), qt.ErrorIs, os.ErrClosed)
	c.Check(process.TerminateGroup(t.Context(), 0), qt.ErrorIs, os.ErrClosed)
	c.Check(process.Close(), qt.ErrorIs, os.ErrClosed)
}

type noSignal struct{}

func (noSignal) Signal()        {}
func (noSignal) String() string { return "no signal" }

func TestSignalThatIsNone(t *testing.T) {
	_, c := judge(t)
	process := opened(t, proctest.Start(t, proctest.Command("hold")))
	c.Check(process.Signal(noSignal{}), qt.ErrorIs, errors.ErrUnsupported)
	c.Check(process.SignalGroup(noSignal{}), qt.ErrorIs, errors.ErrUnsupported)
	c.Check(process.Signal(nil), qt.ErrorIs, errors.ErrUnsupported)
}
