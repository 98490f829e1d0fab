package postgresstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// batchSize is how many records one transaction stops. Others that stop records
// wait for the last part of it.
const batchSize = 256

// Stop implements [lifecycle.Store].
func (s *Store) Stop(ctx context.Context, record lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	_, outcome, err := s.StopTree(ctx, record, cause)
	return outcome, err
}

// StopTree implements [lifecycle.TreeStopper].
func (s *Store) StopTree(ctx context.Context, record lifecycle.Record, cause lifecycle.Cause) ([]lifecycle.Record, lifecycle.Outcome, error) {
	outcomes, removed, err := s.stopSome(ctx, []lifecycle.Stop{{Record: record, Cause: cause}})
	if err != nil {
		return nil, 0, fmt.Errorf("postgresstore: stop %q: %w", record.Name, err)
	}
	var descendants []lifecycle.Record
	for _, r := range removed {
		if r.name != record.Name {
			descendant, _, _ := r.decode() // a garbled one would not have been stopped
			descendants = append(descendants, descendant)
		}
	}
	return descendants, outcomes[0], nil
}

// StopBatch implements [lifecycle.BatchStopper], in transactions of 256
// records and their descendants.
func (s *Store) StopBatch(ctx context.Context, stops []lifecycle.Stop) ([]lifecycle.Outcome, error) {
	done := make([]lifecycle.Outcome, 0, len(stops))
	for len(done) < len(stops) {
		rest := stops[len(done):]
		rest = rest[:min(batchSize, len(rest))]
		outcomes, _, err := s.stopSome(ctx, rest)
		var failed *hookError
		if errors.As(err, &failed) && failed.index > 0 {
			// One record's error undid the transaction. Those before it are
			// good by themselves.
			outcomes, _, err = s.stopSome(ctx, rest[:failed.index])
		}
		done = append(done, outcomes...)
		if err != nil {
			return done, fmt.Errorf("postgresstore: stop %q: %w", stops[len(done)].Record.Name, err)
		}
	}
	return done, nil
}

// hookError is the error of the hook for what one of the given records is about.
type hookError struct {
	index int
	err   error
}

func (e *hookError) Error() string { return e.err.Error() }
func (e *hookError) Unwrap() error { return e.err }

// removal is a row that is to become an event.
type removal struct {
	row
	cause lifecycle.Cause
	index int // of the record in the call that it goes with
}

// stopSome stops the given records in one transaction. If one of them may not
// be stopped, those before it are, and the error is that of this one; any other
// error means that none is. removed are all that were stopped, also those that
// went along.
func (s *Store) stopSome(ctx context.Context, stops []lifecycle.Stop) (outcomes []lifecycle.Outcome, removed []removal, refusal error) {
	call := uuid.New()
	err := s.write(ctx, func(ctx context.Context, tx pgx.Tx, again bool) error {
		if err := s.checkFence(ctx, tx); err != nil {
			return err
		}
		var done map[key]string
		if again {
			// The commit whose connection was cut may have taken place: then
			// its events are this call's own.
			var err error
			if done, err = s.ours(ctx, tx, call, stops); err != nil {
				return err
			}
		}
		found, err := s.lockFamilies(ctx, tx, stops)
		if err != nil {
			return err
		}
		if len(done) == 0 {
			removed = nil // the attempt before was undone
		}
		var removals []removal
		outcomes, refusal = nil, nil
		taken := map[int64]bool{}
		for i, stop := range stops {
			var outcome lifecycle.Outcome
			// Not for its own cause: it went along with its parent.
			if reason, ok := done[keyOf(stop.Record)]; ok && reason == storable(stop.Cause.Reason) {
				outcome = lifecycle.Stopped
				delete(done, keyOf(stop.Record)) // given twice, it was stopped once
			} else if outcome, refusal = found.decide(stop, i, taken, &removals); refusal != nil {
				break
			}
			outcomes = append(outcomes, outcome)
		}
		removed = append(removed, removals...)
		return s.remove(ctx, tx, call, removals)
	})
	if err != nil {
		return nil, nil, err
	}
	return outcomes, removed, refusal
}

// key is a registration.
type key struct{ name, incarnation string }

func keyOf(record lifecycle.Record) key { return key{record.Name, record.Incarnation} }

// keysOf returns the names and incarnations of the records that may be stored.
func keysOf(stops []lifecycle.Stop) (names, incarnations []string) {
	for _, stop := range stops {
		if validateText(stop.Record.Name+stop.Record.Incarnation) == nil {
			names = append(names, stop.Record.Name)
			incarnations = append(incarnations, stop.Record.Incarnation)
		}
	}
	return names, incarnations
}

// ours returns those of the records that this very call has stopped, and the
// reason.
func (s *Store) ours(ctx context.Context, tx pgx.Tx, call uuid.UUID, stops []lifecycle.Stop) (map[key]string, error) {
	names, incarnations := keysOf(stops)
	rows, err := tx.Query(ctx, s.sql.ours, names, incarnations, call)
	if err != nil {
		return nil, err
	}
	ours := map[key]string{}
	var k key
	var reason string
	_, err = pgx.ForEachRow(rows, []any{&k.name, &k.incarnation, &reason}, func() error {
		ours[k] = reason
		return nil
	})
	return ours, err
}

// families are locked rows, by name and by the name of their parent.
type families struct {
	byName   map[string]row
	children map[string][]row
}

// lockFamilies locks the given records, if they are still stored, and their
// descendants. Until the end of the transaction they stay as they are, and no
// child is added.
func (s *Store) lockFamilies(ctx context.Context, tx pgx.Tx, stops []lifecycle.Stop) (*families, error) {
	names, incarnations := keysOf(stops)
	rows, err := collect(ctx, tx, s.sql.family, names, incarnations)
	if err != nil {
		return nil, err
	}
	all := rows
	// A child may have been registered before its parent was locked.
	for len(rows) > 0 {
		var parents []string
		for _, r := range rows {
			parents = append(parents, r.name)
		}
		var seqs []int64
		for _, r := range all {
			seqs = append(seqs, r.seq)
		}
		if rows, err = collect(ctx, tx, s.sql.children, parents, seqs); err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	f := &families{byName: map[string]row{}, children: map[string][]row{}}
	for _, r := range all {
		f.byName[r.name] = r
		if r.parent != "" {
			f.children[r.parent] = append(f.children[r.parent], r)
		}
	}
	return f, nil
}

// decide says what becomes of one of the given records, and adds it and its
// descendants to the removals if it is still the one that was given. taken are
// the rows that are removed already.
func (f *families) decide(stop lifecycle.Stop, index int, taken map[int64]bool, removals *[]removal) (lifecycle.Outcome, error) {
	root, ok := f.byName[stop.Record.Name]
	if !ok || root.incarnation != stop.Record.Incarnation || taken[root.seq] {
		return lifecycle.AlreadyStopped, nil
	}
	if stop.Cause.IfUnchanged {
		stored, err := root.record()
		if err != nil {
			return 0, err
		}
		if !stop.Cause.Holds(stop.Record, stored) {
			return 0, lifecycle.ErrChanged
		}
	}
	// Parents before children, each once even if their parents form a cycle.
	family := []removal{{root, stop.Cause, index}}
	seen := map[int64]bool{root.seq: true}
	for i := 0; i < len(family); i++ {
		for _, child := range f.children[family[i].name] {
			if seen[child.seq] || taken[child.seq] {
				continue
			}
			seen[child.seq] = true
			if _, _, err := child.decode(); err != nil {
				return 0, fmt.Errorf("descendant %q: %w", child.name, err)
			}
			why := lifecycle.Cause{By: stop.Cause.By, Reason: lifecycle.ReasonParentStopped}
			family = append(family, removal{child, why, index})
		}
	}
	// Children before parents; the record itself comes last.
	for _, member := range slices.Backward(family) {
		taken[member.seq] = true
		*removals = append(*removals, member)
	}
	return lifecycle.Stopped, nil
}
