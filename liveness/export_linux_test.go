package liveness

import "time"

// WithoutPidfs makes captures of this process, and every Liveness made from
// then on, behave as on a kernel without pidfs. It is not for parallel tests.
func WithoutPidfs() {
	view, err := ownView()
	if err != nil {
		panic(err)
	}
	view.pidfs, view.selfUnique = false, 0
	ownViewCache.Store(&view)
}

// HasPidfs reports whether the kernel, as this package sees it, has pidfs.
func HasPidfs() bool {
	view, err := ownView()
	return err == nil && view.pidfs
}

// WallStart converts a start stamp to wall time.
func WallStart(stamp uint64) (boot, process time.Time, err error) {
	start, err := (&procView{}).wallStart(stamp)
	return start.boot, start.process, err
}

// JudgePinned judges the process with the PID as if its pidfd were the given
// descriptor.
func JudgePinned(pidfd, pid int) (Verdict, error) {
	view, err := ownView()
	if err != nil {
		return Verdict{}, err
	}
	return view.judgePinned(pidfd, pid)
}
