//go:build !windows

package liveness

// windowsView is empty where there is no Windows.
type windowsView struct{ noProcesses }

func (windowsView) check(*Identity) Verdict { return unreadable(errUnsupported()) }
