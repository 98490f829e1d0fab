package filestore

import (
	"context"
	"fmt"
	"slices"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// stepSize is about how many bytes of events are written and flushed at a time.
// Others wait for that long.
const stepSize = 1 << 20

// Stop implements [lifecycle.Store].
func (s *Store) Stop(ctx context.Context, record lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	_, outcome, err := s.StopTree(ctx, record, cause)
	return outcome, err
}

// StopTree implements [lifecycle.TreeStopper].
func (s *Store) StopTree(ctx context.Context, record lifecycle.Record, cause lifecycle.Cause) ([]lifecycle.Record, lifecycle.Outcome, error) {
	outcomes, descendants, err := s.stopSome(ctx, []lifecycle.Stop{{Record: record, Cause: cause}})
	if err != nil {
		return nil, 0, fmt.Errorf("filestore: stop %q: %w", record.Name, err)
	}
	return descendants, outcomes[0], nil
}

// StopBatch implements [lifecycle.BatchStopper]. It flushes the events to the
// disk once for about 1 MiB of them.
func (s *Store) StopBatch(ctx context.Context, stops []lifecycle.Stop) ([]lifecycle.Outcome, error) {
	done := make([]lifecycle.Outcome, 0, len(stops))
	for len(done) < len(stops) {
		outcomes, _, err := s.stopSome(ctx, stops[len(done):])
		done = append(done, outcomes...)
		if err != nil {
			return done, fmt.Errorf("filestore: stop %q: %w", stops[len(done)].Record.Name, err)
		}
	}
	return done, nil
}

// stopSome stops the first of the given records, as many as fit. The error is
// that of the next one. The descendants are those that went along.
func (s *Store) stopSome(ctx context.Context, stops []lifecycle.Stop) (outcomes []lifecycle.Outcome, descendants []lifecycle.Record, err error) {
	err = s.write(ctx, func(open *files) error {
		step := stopStep{state: s.state, seq: s.state.seq, gone: map[*row]bool{}}
		var failed error
		for _, stop := range stops {
			outcome, err := step.stop(stop.Record, stop.Cause)
			if err != nil {
				failed = err
				break
			}
			outcomes = append(outcomes, outcome)
			if len(step.text) >= stepSize {
				break
			}
		}
		if len(step.text) > 0 {
			if err := s.events.append(open.events, step.text, true); err != nil {
				outcomes = nil
				return unavailable(err)
			}
		}
		for _, e := range step.entries {
			s.state.applyEvent(e)
		}
		descendants = step.descendants
		return failed
	})
	return outcomes, descendants, err
}

// stopStep is what is about to be written.
type stopStep struct {
	state   *state
	seq     int64
	gone    map[*row]bool
	text    []byte
	entries []entry
	// descendants are the records that are stopped along with another.
	descendants []lifecycle.Record
}

// stop stops one record if it is still the one that was given.
func (step *stopStep) stop(record lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	root := step.state.find(record)
	if root == nil || step.gone[root] {
		return lifecycle.AlreadyStopped, nil
	}
	if cause.IfUnchanged {
		if root.err != nil {
			return 0, root.err
		}
		if !cause.Holds(record, root.Record) {
			return 0, lifecycle.ErrChanged
		}
	}
	family := step.state.family(root, step.gone)
	for _, member := range family[1:] {
		if member.err != nil {
			return 0, fmt.Errorf("descendant %q: %w", member.Name, member.err)
		}
	}
	text, seq := step.text, step.seq
	// Children before parents; the record itself comes last.
	for i, member := range slices.Backward(family) {
		why := lifecycle.Cause{By: cause.By, Reason: lifecycle.ReasonParentStopped}
		if i == 0 {
			why = cause // and whoever asks to stop a garbled record may do so
		}
		event := lifecycle.NewEvent(member.snapshot(), why)
		seq++
		event.Seq = seq
		var err error
		if text, err = appendLine(text, eventLine{event, i}); err != nil {
			return 0, fmt.Errorf("event of %q: %w", member.Name, err)
		}
	}
	step.text = text
	for i, member := range slices.Backward(family) {
		if i > 0 {
			descendant, _ := member.record() // a garbled one was refused
			step.descendants = append(step.descendants, descendant)
		}
		step.seq++
		step.gone[member] = true
		step.entries = append(step.entries, entry{event: stopped{step.seq, member.Name, member.Incarnation}})
	}
	return lifecycle.Stopped, nil
}
