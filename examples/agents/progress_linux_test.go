package main

import (
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"
	"unsafe"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

// openTerminal returns a terminal, and what its user sees.
func openTerminal(c *qt.C) (terminal, screen *os.File) {
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		proctest.Skip(c, "no terminal: %v", err)
	}
	c.Cleanup(func() { screen.Close() })
	var number, unlocked uint32
	for request, value := range map[uintptr]*uint32{syscall.TIOCGPTN: &number, syscall.TIOCSPTLCK: &unlocked} {
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, screen.Fd(), request, uintptr(unsafe.Pointer(value)))
		c.Assert(errno, qt.Equals, syscall.Errno(0))
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	c.Assert(err, qt.IsNil)
	c.Cleanup(func() { terminal.Close() })
	return terminal, screen
}

func TestALongPassShowsOnATerminalHowFarItHasCome(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.ok("list")
	identity := liveness.Identity{PID: 1, Boot: bootid.ID{Boot: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", Quality: bootid.Native}}
	_, err := u.database().ExecContext(u.Context(), `WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 3000)
		INSERT INTO rollcall_records (name, incarnation, owner, phase, identity, created_at, beat_boot, beat_awake, parent)
		SELECT 'a' || n, 'i' || n, '', 'running', ?, n, '', 0, '' FROM i`, identity)
	u.Assert(err, qt.IsNil)
	u.reboot()
	terminal, screen := openTerminal(u.C)
	cmd := u.command("list")
	cmd.Stderr = terminal
	u.Assert(cmd.Run(), qt.IsNil)
	u.Assert(terminal.Close(), qt.IsNil)
	seen, _ := io.ReadAll(screen) // ends with EIO, as the terminal is closed
	u.Check(string(seen), qt.Matches, `(?s)\r1000 agents examined, 1000 stopped\x1b.K.*`)
	u.Check(string(seen), qt.Contains, "\r3000 agents examined, 3000 stopped\x1b[K\r\x1b[Kagents: cleaned up after a reboot: stopped a1 (exit:reboot), ")
}
