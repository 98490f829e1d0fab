//go:build unix

package liveness

import "syscall"

// detach leaves out what a process that leads a session cannot do: it cannot change its
// group (setpgid(2): EPERM), and has no terminal to give up (TIOCNOTTY: ENOTTY).
func detach(attributes *syscall.SysProcAttr) {
	attributes.Setsid = true
	attributes.Setpgid, attributes.Foreground, attributes.Noctty = false, false, false
}
