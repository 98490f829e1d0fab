//go:build unix

package signals

import "syscall"

func ofSystem() signals { return signals{syscall.SIGCONT, syscall.SIGSTOP, syscall.Signal(0)} }
