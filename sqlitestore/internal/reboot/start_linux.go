package reboot

import (
	"os/exec"
	"runtime"
	"syscall"
)

// startDependent starts a process that is killed when this one ends, also when
// it is killed. The kernel looks at the thread that started it (prctl(2),
// PR_SET_PDEATHSIG), so that one must not end before.
func startDependent(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		started <- cmd.Start()
		select {} // keep the thread
	}()
	return <-started
}
