package liveness

import "context"

// noProcesses is embedded by the view of a system that this program does not
// run on.
type noProcesses struct{}

func (noProcesses) pin(*Identity) (pin, error)           { return nil, errUnsupported() }
func (noProcesses) newMultiplexer() (multiplexer, error) { return nil, errUnsupported() }

func (noProcesses) findMarked(context.Context) ([]MarkedProcess, []error, error) {
	return nil, nil, errUnsupported()
}
