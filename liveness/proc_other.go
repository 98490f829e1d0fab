//go:build !linux

package liveness

// procView is empty where there is no Proc.
type procView struct{ noProcesses }

func (procView) check(*Identity) Verdict { return unreadable(errUnsupported()) }
