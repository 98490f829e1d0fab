package liveness

import (
	"errors"
	"fmt"
	"runtime"
)

func errUnsupported() error {
	return fmt.Errorf("liveness on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
