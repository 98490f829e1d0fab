package main

import (
	"os/exec"
	"syscall"
)

// inOwnGroup keeps a Ctrl-C at the console from reaching the workers but by us.
func inOwnGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
