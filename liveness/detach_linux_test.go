package liveness_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"
	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

// terminalHostRole is the host in the terminal, which is its standard error. It starts
// two that ask there, and says their PIDs, and whether the one with Setpgid only was
// stopped for that.
func terminalHostRole([]string) {
	detached, grouped := proctest.Command("terminal-asker"), proctest.Command("terminal-asker")
	liveness.Detach(detached)
	grouped.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	for _, cmd := range []*exec.Cmd{detached, grouped} {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		must(cmd.Start())
	}
	var status unix.WaitStatus
	_, err := unix.Wait4(grouped.Process.Pid, &status, unix.WUNTRACED, nil)
	must(err)
	fmt.Println(detached.Process.Pid, grouped.Process.Pid, status.Stopped())
	detached.Wait()
}

// terminalAskerRole reads from the terminal of its session, as a program does that asks
// for a password. Without one it waits for a line, and writes it to its standard error.
func terminalAskerRole([]string) {
	terminal, noTerminal := unix.Open("/dev/tty", unix.O_RDWR|unix.O_NONBLOCK, 0)
	if noTerminal == nil {
		_, _ = unix.Read(terminal, make([]byte, 1))
		return
	}
	var line string
	_, err := fmt.Scanln(&line)
	must(err)
	_, noWrite := os.Stderr.WriteString(line)
	fmt.Printf("%v; %v\n", noTerminal, noWrite)
	proctest.Hold()
}

// newTerminal returns both ends of a pseudo-terminal. It hangs up when the first is
// closed.
func newTerminal(t testing.TB) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		proctest.Skip(t, "no terminals: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		terminal, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return master, terminal
}

func TestDetachedChildOutlivesTheTerminalAndItsHost(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	master, terminal := newTerminal(t)
	defer terminal.Close()
	cmd := proctest.Command("terminal-host")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 2}
	cmd.Stderr = terminal
	host, err := proctest.TryStart(t, cmd)
	c.Assert(err, qt.IsNil)
	var detachedPID, groupedPID int
	var stopped bool
	_, err = fmt.Sscan(host.ReadLine(t), &detachedPID, &groupedPID, &stopped)
	c.Assert(err, qt.IsNil)
	if !stopped {
		proctest.Skip(t, "who reads from the terminal in the background is not stopped, as in gVisor")
	}
	detachedID, err := liveness.Capture(detachedPID)
	c.Assert(err, qt.IsNil)
	groupedID, err := liveness.Capture(groupedPID)
	c.Assert(err, qt.IsNil)
	process, detached, grouped := opened(t, host), openedID(t, detachedID), openedID(t, groupedID)

	c.Assert(master.Close(), qt.IsNil)
	c.Check(process.Wait(t.Context()), qt.IsNil)
	c.Check(grouped.Wait(t.Context()), qt.IsNil, qt.Commentf("it has a process group of its own, and no session"))
	host.WriteLine(t, "hello")
	c.Check(host.ReadLine(t), qt.Equals, "no such device or address; write /dev/stderr: input/output error")
	c.Check(detached.TerminateGroup(t.Context(), time.Minute), qt.IsNil)
}
