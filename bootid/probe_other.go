//go:build !linux && !windows && (ios || !darwin) && !dragonfly && !freebsd && !netbsd && !openbsd

package bootid

import (
	"errors"
	"fmt"
	"runtime"
	"time"
)

func current() (ID, error) {
	return ID{}, fmt.Errorf("boot ID on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

func awake() (time.Duration, error) {
	return 0, fmt.Errorf("clock on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
