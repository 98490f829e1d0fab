//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// inOwnGroup has cmd lead a process group: a Ctrl-C at the terminal does not reach
// the workers but by us, and a worker can be ended with what it has started.
func inOwnGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
