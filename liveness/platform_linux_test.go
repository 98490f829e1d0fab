//go:build !android

package liveness_test

import "github.com/rollcall-go/rollcall/liveness"

// platform is the row of this system in docs/platforms.md.
func platform() string {
	if !liveness.HasPidfs() {
		return "Linux before 6.9"
	}
	return "Linux 6.9 and later"
}
