package lifecycle

import (
	"context"
	"time"

	"github.com/rollcall-go/rollcall/liveness"
)

// GateText parses a value of a gate's KV, and writes it again.
func GateText(text string) (string, bool) {
	state, ok := parseGateState(text)
	return state.String(), ok
}

// NestsDeeper reports whether JSON has more levels than the limit.
var NestsDeeper = nestsDeeper

// StopInBatches returns how many records of processes that have died at once a
// Watcher stops by each of its batches.
func StopInBatches(died []liveness.Identity, records map[string][]Record) (batches []int) {
	r := &watching{records: records, deaths: make(chan liveness.Identity, len(died))}
	for _, id := range died {
		r.deaths <- id
	}
	for len(r.deaths) > 0 {
		batches = append(batches, len(r.dead(<-r.deaths)))
	}
	return batches
}

// EndOpened ends a process that was opened.
func (t Termination) EndOpened(ctx context.Context, process interface {
	Terminate(context.Context, time.Duration) error
	TerminateGroup(context.Context, time.Duration) error
}) error {
	return t.end(ctx, process)
}
