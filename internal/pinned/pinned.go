// Package pinned is what the systems of package liveness and the scripted one of
// package livenesstest share about processes that are open.
package pinned

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Process is the hold on one process, of which liveness.NewProcess makes a
// liveness.Process. Its methods are those of the latter, without the prefix of their
// errors: a signal to a process or group that is gone is an error that matches
// liveness.ErrNoProcess, and any call after Close one that matches os.ErrClosed.
// WaitGroup returns when no process of the group runs any more. The methods are safe
// for concurrent use.
type Process interface {
	Signal(os.Signal) error
	SignalGroup(os.Signal) error
	Wait(context.Context) error
	WaitGroup(context.Context) error
	Close() error
}

var (
	// ErrNoGroup is liveness.ErrNoGroup.
	ErrNoGroup = errors.New("no process group of its own")
	// ErrOwnGroup is the error of a signal to a group that the caller is in.
	ErrOwnGroup = fmt.Errorf("%w: the calling process is in it", ErrNoGroup)
)
