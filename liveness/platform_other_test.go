//go:build !linux || android

package liveness_test

import (
	"runtime"

	"github.com/rollcall-go/rollcall/internal/proctest"
)

// platform is the row of this system in docs/platforms.md.
func platform() string { return proctest.Platform(runtime.GOOS) }
