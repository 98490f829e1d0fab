//go:build !linux && !windows && (ios || !darwin) && !dragonfly && !freebsd && !netbsd && !openbsd

package liveness

import (
	"fmt"
	"os"
)

// unsupported is the Liveness of a system that has none.
type unsupported struct{}

func (unsupported) Check(id Identity) Verdict {
	if err := id.validate(); err != nil {
		return unreadable(err)
	}
	return unreadable(errUnsupported())
}

func newLiveness(options Options) (Liveness, error) {
	if options.Root != "" {
		return nil, fmt.Errorf("%w: Root %s: no procfs", errUnsupported(), options.Root)
	}
	return unsupported{}, nil
}

func self() (Identity, error)                      { return Identity{}, errUnsupported() }
func capture(int) (Identity, error)                { return Identity{}, errUnsupported() }
func captureProcess(*os.Process) (Identity, error) { return Identity{}, errUnsupported() }
