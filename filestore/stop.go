package filestore

import (
	"context"
	"fmt"
	"slices"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
)

// stepSize is about how many bytes of events are written and flushed at a time.
// Others wait for that long.
const stepSize = 1 << 20

// Stop implements [lifecycle.Store].
func (s *Store) Stop(ctx context.Context, record lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	return storekit.StopOne(ctx, s, record, cause)
}

// StopBatch implements [lifecycle.BatchStopper]. It flushes the events to the
// disk once for about 1 MiB of them.
func (s *Store) StopBatch(ctx context.Context, stops []lifecycle.Stop) (done int, err error) {
	for done < len(stops) {
		n, err := s.stopSome(ctx, stops[done:])
		done += n
		if err != nil {
			return done, fmt.Errorf("filestore: stop %q: %w", stops[done].Record.Name, err)
		}
	}
	return done, nil
}

// stopSome stops the first of the given records, as many as fit, and returns how
// many. The error is that of the next one.
func (s *Store) stopSome(ctx context.Context, stops []lifecycle.Stop) (n int, err error) {
	err = s.write(ctx, func(open *files) error {
		step := stopStep{state: s.state, seq: s.state.seq, taken: map[string]bool{}}
		var refused error
		for ; n < len(stops) && refused == nil && len(step.text) < stepSize; n++ {
			refused = step.stop(&stops[n])
		}
		if refused != nil {
			n--
		}
		if len(step.text) > 0 {
			if err := s.events.append(open.events, step.text, true); err != nil {
				n = 0
				return unavailable(err)
			}
		}
		for _, e := range step.entries {
			s.state.applyEvent(e)
		}
		return refused
	})
	return n, err
}

// stopStep is what is about to be written.
type stopStep struct {
	state   *state
	seq     int64
	taken   map[string]bool // the names that are stopped by it
	text    []byte
	entries []entry
}

// stop stops one record if it is still the one that was given.
func (step *stopStep) stop(stop *lifecycle.Stop) error {
	root := step.state.find(stop.Record)
	if root == nil || step.taken[root.Name] {
		stop.Outcome, stop.Descendants = lifecycle.AlreadyStopped, nil
		return nil
	}
	if stop.Cause.IfUnchanged { // without it a garbled record may be stopped
		if root.err != nil {
			return root.err
		}
		if !stop.Cause.Holds(stop.Record, root.Record) {
			return lifecycle.ErrChanged
		}
	}
	// With an error this is the last stop of the step.
	family := storekit.Family(root, func(r *row) string { return r.Name }, step.state.childrenOf, step.taken)
	text, seq := step.text, step.seq
	var entries []entry
	var descendants []lifecycle.Record
	for i, member := range slices.Backward(family) { // children before parents
		cause := stop.Cause
		if i > 0 {
			cause = cause.ForDescendant()
			descendant, err := member.record()
			if err != nil {
				return fmt.Errorf("descendant %q: %w", member.Name, err)
			}
			descendants = append(descendants, descendant)
		}
		event := cause.Event(member.snapshot())
		seq++
		event.Seq = seq
		var err error
		if text, err = appendLine(text, eventLine{event, i}); err != nil {
			return fmt.Errorf("event of %q: %w", member.Name, err)
		}
		entries = append(entries, entry{event: stopped{seq, member.Name, member.Incarnation}})
	}
	step.text, step.seq = text, seq
	step.entries = append(step.entries, entries...)
	stop.Outcome, stop.Descendants = lifecycle.Stopped, descendants
	return nil
}
