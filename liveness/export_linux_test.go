package liveness

// WithoutPidfs makes captures of this process, and every Liveness made from
// then on, behave as on a kernel without pidfs. It is not for parallel tests.
func WithoutPidfs() {
	view := ownView()
	view.pidfs, view.selfUnique = false, 0
	ownViewCache.Store(&view)
}

// HasPidfs reports whether the kernel, as this package sees it, has pidfs.
func HasPidfs() bool { return ownView().pidfs }

// WallStart converts a start stamp to wall time.
var WallStart = wallStart
