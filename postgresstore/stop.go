package postgresstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
)

// batchSize is how many records one transaction stops. Other stops wait for the
// last part of it.
const batchSize = 256

// Stop implements [lifecycle.Store].
func (s *Store) Stop(ctx context.Context, record lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	return storekit.StopOne(ctx, s, record, cause)
}

// StopBatch implements [lifecycle.BatchStopper], in transactions of 256 records and
// their descendants, which may be on other machines.
func (s *Store) StopBatch(ctx context.Context, stops []lifecycle.Stop) (done int, err error) {
	for done < len(stops) {
		rest := stops[done:]
		rest = rest[:min(batchSize, len(rest))]
		n, err := s.stopSome(ctx, rest)
		var failed *hookError
		if errors.As(err, &failed) && failed.index > 0 {
			// The hook refused one record, which undid the transaction. It has
			// accepted those before it.
			n, err = s.stopSome(ctx, rest[:failed.index])
		}
		done += n
		if err != nil {
			return done, fmt.Errorf("postgresstore: stop %q: %w", stops[done].Record.Name, err)
		}
	}
	return done, nil
}

// hookError is an error of OnStop.
type hookError struct {
	index int // of the record in the call that it goes with
	err   error
}

func (e *hookError) Error() string { return e.err.Error() }
func (e *hookError) Unwrap() error { return e.err }

// stopSome stops the given records in one transaction. If one of them may not
// be stopped, it stops the n before it and returns the error of this one. After any
// other error none is stopped.
func (s *Store) stopSome(ctx context.Context, stops []lifecycle.Stop) (n int, refusal error) {
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
		n, refusal = found.decideAll(stops, done)
		return s.remove(ctx, tx, call, found.removals)
	})
	if err != nil {
		return 0, err
	}
	return n, refusal
}

// key is a registration.
type key struct{ name, incarnation string }

func keyOf(record lifecycle.Record) key { return key{record.Name, record.Incarnation} }

// keysOf returns the names and incarnations of the records that can be stored.
func keysOf(stops []lifecycle.Stop) (names, incarnations []string) {
	for _, stop := range stops {
		if validateText(stop.Record.Name+stop.Record.Incarnation) == nil {
			names = append(names, stop.Record.Name)
			incarnations = append(incarnations, stop.Record.Incarnation)
		}
	}
	return names, incarnations
}

const oursQuery = `SELECT name, incarnation, reason FROM rollcall_events
	WHERE (name, incarnation) IN (SELECT * FROM unnest($1::text[], $2::text[])) AND call = $3`

// ours returns those of the records that this very call has stopped, with the
// reasons.
func (s *Store) ours(ctx context.Context, tx pgx.Tx, call uuid.UUID, stops []lifecycle.Stop) (map[key]string, error) {
	names, incarnations := keysOf(stops)
	rows, err := tx.Query(ctx, s.sql(oursQuery), names, incarnations, call)
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

// families are the locked rows of one transaction, and which of them it removes.
type families struct {
	byName   map[string]*storekit.Row
	children map[string][]*storekit.Row // by the name of their parent
	taken    map[int64]bool             // the rows that are to be removed, by Seq
	removals []removal
}

const (
	// familyQuery locks the given incarnations and their descendants. It locks
	// them in one order, so that two calls that want the same rows do not lock
	// each other out. UNION leaves out what was seen before, and so ends a cycle
	// of parents.
	familyQuery = `WITH RECURSIVE family AS (
			SELECT seq, name FROM rollcall_records WHERE (name, incarnation) IN (SELECT * FROM unnest($1::text[], $2::text[]))
			UNION SELECT r.seq, r.name FROM family AS f JOIN rollcall_records AS r ON r.parent = f.name AND r.parent <> '')
		SELECT ` + columns + ` FROM rollcall_records WHERE seq = ANY(ARRAY(SELECT seq FROM family)) ORDER BY seq FOR UPDATE`
	childrenQuery = `SELECT ` + columns + ` FROM rollcall_records
		WHERE parent = ANY($1::text[]) AND parent <> '' AND seq <> ALL($2::bigint[]) ORDER BY seq FOR UPDATE`
)

// lockFamilies locks those of the given records that are still stored, and their
// descendants. Until the transaction ends they stay as they are, and get no more
// children.
func (s *Store) lockFamilies(ctx context.Context, tx pgx.Tx, stops []lifecycle.Stop) (*families, error) {
	names, incarnations := keysOf(stops)
	rows, err := collect(ctx, tx, s.sql(familyQuery), names, incarnations)
	if err != nil {
		return nil, err
	}
	all := rows
	// A child may have been registered before its parent was locked.
	for len(rows) > 0 {
		var parents []string
		for _, r := range rows {
			parents = append(parents, r.Name)
		}
		var seqs []int64
		for _, r := range all {
			seqs = append(seqs, r.Seq)
		}
		if rows, err = collect(ctx, tx, s.sql(childrenQuery), parents, seqs); err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	f := &families{byName: map[string]*storekit.Row{}, children: map[string][]*storekit.Row{}, taken: map[int64]bool{}}
	for i := range all {
		r := &all[i]
		f.byName[r.Name] = r
		if r.Parent != "" {
			f.children[r.Parent] = append(f.children[r.Parent], r)
		}
	}
	return f, nil
}

// decideAll decides about the given records, in order, up to the first that may not
// be stopped: n are before it. done are those that an earlier attempt of this call
// has stopped.
func (f *families) decideAll(stops []lifecycle.Stop, done map[key]string) (n int, refusal error) {
	for ; n < len(stops); n++ {
		stop := &stops[n]
		k := keyOf(stop.Record)
		// With another reason it was stopped along with its parent.
		if reason, ok := done[k]; ok && reason == storable(stop.Cause.Reason) {
			delete(done, k) // given twice, it was stopped once
			continue        // the earlier attempt has set Outcome and Descendants
		}
		if err := f.decide(stop, n); err != nil {
			return n, err
		}
	}
	return n, nil
}

// decide says what becomes of the record with that index. If it is still the one
// that was given, decide adds its family to the removals. After an error this is the
// last record of the transaction, and taken is no longer right.
func (f *families) decide(stop *lifecycle.Stop, index int) error {
	root, ok := f.byName[stop.Record.Name]
	if !ok || root.Incarnation != stop.Record.Incarnation || f.taken[root.Seq] {
		stop.Outcome, stop.Descendants = lifecycle.AlreadyStopped, nil
		return nil
	}
	first := newRemoval(root, stop.Cause, index)
	if stop.Cause.IfUnchanged {
		if first.err != nil {
			return first.err
		}
		if !stop.Cause.Holds(stop.Record, first.snapshot.Record) {
			return lifecycle.ErrChanged
		}
	} // otherwise a garbled row may be stopped too
	family := storekit.Family(root, func(r *storekit.Row) int64 { return r.Seq },
		func(r *storekit.Row) []*storekit.Row { return f.children[r.Name] }, f.taken)
	var removals []removal
	var descendants []lifecycle.Record
	for _, row := range slices.Backward(family[1:]) { // children before parents
		r := newRemoval(row, stop.Cause.ForDescendant(), index)
		if r.err != nil {
			return fmt.Errorf("descendant %q: %w", row.Name, r.err)
		}
		removals = append(removals, r)
		// The caller owns the descendants, and OnStop gets the snapshot.
		descendants = append(descendants, r.snapshot.Clone().Record)
	}
	f.removals = append(append(f.removals, removals...), first)
	stop.Outcome, stop.Descendants = lifecycle.Stopped, descendants
	return nil
}
