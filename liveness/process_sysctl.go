//go:build (darwin && !ios) || dragonfly || freebsd || netbsd || openbsd

package liveness

func (sysctls) kqueue() (kernel, error) { return openKernel() }

func (k sysctls) records() ([][]byte, error) { return k.ReadAll() }
