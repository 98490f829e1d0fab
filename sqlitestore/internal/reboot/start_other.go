//go:build !linux

package reboot

import "os/exec"

func startDependent(cmd *exec.Cmd) error { return cmd.Start() }
