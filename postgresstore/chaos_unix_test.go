//go:build unix

package postgresstore_test

import "syscall"

// stop stops the machine as a paused virtual machine is stopped.
func (m *machine) stop() { _ = m.cmd.Process.Signal(syscall.SIGSTOP) }

// dump has the machine say where it is, and end.
func (m *machine) dump() { _ = m.cmd.Process.Signal(syscall.SIGQUIT) }

// resume lets the machine go on.
func (m *machine) resume() { _ = m.cmd.Process.Signal(syscall.SIGCONT) }
