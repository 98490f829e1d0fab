package main

import (
	"os/exec"
	"syscall"
)

// detached is DETACHED_PROCESS of CreateProcess: no console is inherited.
const detached = 0x00000008

func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: detached | syscall.CREATE_NEW_PROCESS_GROUP}
}
