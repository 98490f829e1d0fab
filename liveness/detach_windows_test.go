package liveness_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"unsafe"

	qt "github.com/frankban/quicktest"
	"golang.org/x/sys/windows"

	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

// consoleHostRole starts a child in the role "console", detached if there is an
// argument.
func consoleHostRole(args []string) {
	cmd := proctest.Command("console")
	if len(args) > 0 {
		liveness.Detach(cmd)
	}
	cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
	must(cmd.Start())
	cmd.Wait()
}

// consoleRole prints its PID and how many processes its console has. When the console
// is closed, all of them are told to end.
func consoleRole([]string) {
	var pids [8]uint32
	n, _, err := windows.NewLazySystemDLL("kernel32.dll").NewProc("GetConsoleProcessList").Call(uintptr(unsafe.Pointer(&pids[0])), uintptr(len(pids)))
	if n == 0 {
		must(err)
	}
	fmt.Println(os.Getpid(), n)
	proctest.Hold()
}

func TestDetachedChildOutlivesItsHostAndSharesNoConsole(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	start := func(cmd *exec.Cmd) (host *proctest.Child, pid, sharers int) {
		cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_CONSOLE}
		host, err := proctest.TryStart(t, cmd)
		c.Assert(err, qt.IsNil)
		_, err = fmt.Sscan(host.ReadLine(t), &pid, &sharers)
		c.Assert(err, qt.IsNil)
		return host, pid, sharers
	}
	_, _, sharers := start(proctest.Command("console-host"))
	c.Check(sharers, qt.Equals, 2, qt.Commentf("a child has the console of its host"))
	host, pid, sharers := start(proctest.Command("console-host", "detached"))
	c.Check(sharers, qt.Equals, 1)
	id, err := liveness.Capture(pid)
	c.Assert(err, qt.IsNil)
	detached := openedID(t, id)
	c.Assert(opened(t, host).Terminate(t.Context(), 0), qt.IsNil)
	c.Check(detached.Wait(cancelled()), qt.ErrorIs, context.Canceled)
	host.CloseStdin(t)
	c.Check(detached.Wait(t.Context()), qt.IsNil)
}

func TestDetachAddsToTheFlagsThatWereSet(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	shared := &syscall.SysProcAttr{HideWindow: true, CreationFlags: windows.CREATE_BREAKAWAY_FROM_JOB}
	cmd := proctest.Command("hold")
	cmd.SysProcAttr = shared
	liveness.Detach(cmd)
	c.Check(cmd.SysProcAttr, qt.DeepEquals, &syscall.SysProcAttr{
		HideWindow:    true,
		CreationFlags: windows.CREATE_BREAKAWAY_FROM_JOB | windows.CREATE_NO_WINDOW | windows.CREATE_NEW_PROCESS_GROUP,
	})
	c.Check(shared.CreationFlags, qt.Equals, uint32(windows.CREATE_BREAKAWAY_FROM_JOB), qt.Commentf("other commands may have it too"))
}

// Each flag that is about consoles can be set before.
func TestDetachGoesWithEachConsole(t *testing.T) {
	t.Parallel()
	for _, flags := range []uint32{0, windows.CREATE_NEW_CONSOLE, windows.CREATE_NO_WINDOW, windows.DETACHED_PROCESS} {
		cmd := proctest.Command("hold")
		cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: flags}
		liveness.Detach(cmd)
		proctest.Start(t, cmd)
	}
}
