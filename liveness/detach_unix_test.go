//go:build unix

package liveness_test

import (
	"os"
	"syscall"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

func TestDetachedChildLeadsAGroupWhateverWasSet(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		name       string
		attributes *syscall.SysProcAttr
	}{
		{"nothing", nil},
		{"a session", &syscall.SysProcAttr{Setsid: true}},
		{"a group of its own", &syscall.SysProcAttr{Setpgid: true}},
		{"a group of somebody else", &syscall.SysProcAttr{Setpgid: true, Pgid: os.Getppid()}},
		{"the foreground", &syscall.SysProcAttr{Foreground: true}},
		{"no terminal", &syscall.SysProcAttr{Noctty: true}},
	} {
		c.Run(test.name, func(c *qt.C) {
			cmd := proctest.Command("hold")
			cmd.SysProcAttr = test.attributes
			liveness.Detach(cmd)
			child := proctest.Start(c, cmd)
			c.Check(syscall.Kill(-child.PID(), 0), qt.IsNil)
		})
	}
}

func TestDetachKeepsWhatWasSet(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	set := func() *syscall.SysProcAttr {
		return &syscall.SysProcAttr{Chroot: "/somewhere", Credential: &syscall.Credential{Uid: 1}, Setpgid: true}
	}
	shared, want := set(), set()
	want.Setsid, want.Setpgid = true, false
	cmd := proctest.Command("hold")
	cmd.SysProcAttr = shared
	liveness.Detach(cmd)
	c.Check(cmd.SysProcAttr, qt.DeepEquals, want)
	c.Check(shared, qt.DeepEquals, set(), qt.Commentf("other commands may have it too"))
}
