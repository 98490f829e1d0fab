//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// detach gives the process a session of its own, and so a process group: what
// the terminal sends does not reach it, and it can be ended as a group.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
