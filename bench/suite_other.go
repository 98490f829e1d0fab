//go:build !linux

package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

type suite struct{ calls, passes []row }

func (*suite) close() {}

func playRole() (bool, error) { return false, nil }

func newSuite(context.Context, options) (*suite, error) {
	return nil, fmt.Errorf("no floor is known for %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
