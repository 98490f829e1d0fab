//go:build !linux && !windows && (ios || !darwin) && !dragonfly && !freebsd && !netbsd && !openbsd

package liveness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/rollcall-go/rollcall/internal/pinned"
)

func errUnsupported() error {
	return fmt.Errorf("liveness on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

// view is that of a system of which this package knows nothing.
type view struct{ scope }

func newView(options Options) (view, error) {
	if options.Root != "" {
		return view{}, fmt.Errorf("%w: Root %s: no procfs", errUnsupported(), options.Root)
	}
	return view{scope{markerVariable: options.MarkerVariable, highestPID: maxPID}}, nil
}

func (view) check(id *Identity) Verdict {
	if err := id.validate(); err != nil {
		return unreadable(err)
	}
	return unreadable(errUnsupported())
}

func (view) open(*Identity) (pinned.Process, error) { return nil, errUnsupported() }
func (view) newMultiplexer() (multiplexer, error)   { return nil, errUnsupported() }

func (view) findMarked(context.Context) ([]MarkedProcess, []error, error) {
	return nil, nil, errUnsupported()
}

func self() (Identity, error)                      { return Identity{}, errUnsupported() }
func capture(int) (Identity, error)                { return Identity{}, errUnsupported() }
func captureProcess(*os.Process) (Identity, error) { return Identity{}, errUnsupported() }
