package liveness

import (
	"os/exec"
	"syscall"
)

// Detach has the process that cmd will start outlive the terminal and this program.
// Call it before cmd.Start. It adds to cmd.SysProcAttr, of which it makes a copy.
//
// Unix: the process leads a session of its own, without a terminal (setsid(2)). Neither
// Ctrl-C nor the hangup of the terminal reaches it. Setpgid would leave it in the
// session of the terminal, where a process that reads from the terminal in the
// background is stopped, and a stopped one gets SIGHUP when its parent ends
// (setpgid(2)). Setpgid, Foreground and Noctty are cleared, because a start with Setsid
// and one of them fails; the process leads a process group anyway, which
// [Process.TerminateGroup] ends. Setctty stays, and the hangup of that terminal reaches
// the process.
//
// Windows: the process has a console of its own, without a window, and a process group
// of its own (CREATE_NO_WINDOW, CREATE_NEW_PROCESS_GROUP). Neither Ctrl-C nor the
// closing of this console reaches it, nor does GenerateConsoleCtrlEvent, which needs a
// console in common; [Process.Terminate] does not use that. With DETACHED_PROCESS it
// would have no console, and each console program that it starts would open a window
// (https://github.com/MicrosoftDocs/Console-Docs/issues/119). DETACHED_PROCESS and
// CREATE_NEW_CONSOLE stay if they are set, and CREATE_NO_WINDOW does nothing then.
//
// On any other system Detach does nothing.
//
// What still ties the process to others:
//
//   - Stdin, Stdout and Stderr of cmd. A write to a terminal that has hung up fails with
//     EIO. A pipe to this program, which package exec makes of everything that is not an
//     *os.File, breaks when this program ends (SIGPIPE). Use files.
//   - This program, whose child it is: once it has exited it is a zombie until cmd.Wait
//     or the end of this program. Pdeathsig ends it with this program, and the context
//     of [exec.CommandContext] while this program runs.
//   - The control group: systemd ends it with the service (KillMode in systemd.kill(5)),
//     or, if KillUserProcesses is set, with the user's login (logind.conf(5)).
//   - The PID namespace: when PID 1 of a container ends, the kernel kills all the others
//     (pid_namespaces(7)).
//   - On Windows the job, which may end its processes when its last handle is closed
//     (JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE), and the user's session, which ends at logoff
//     (ExitWindowsEx).
func Detach(cmd *exec.Cmd) {
	var attributes syscall.SysProcAttr
	if cmd.SysProcAttr != nil {
		attributes = *cmd.SysProcAttr // other commands may have the same
	}
	detach(&attributes)
	cmd.SysProcAttr = &attributes
}
