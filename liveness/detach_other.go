//go:build !unix && !windows

package liveness

import "syscall"

func detach(*syscall.SysProcAttr) {}
