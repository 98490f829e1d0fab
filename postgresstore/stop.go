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

// batchSize is how many records one transaction stops. Others that stop records
// wait for the last part of it.
const batchSize = 256

// Stop implements [lifecycle.Store].
func (s *Store) Stop(ctx context.Context, record lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	return storekit.StopOne(ctx, s, record, cause)
}

// StopBatch implements [lifecycle.BatchStopper], in transactions of 256
// records and their descendants.
func (s *Store) StopBatch(ctx context.Context, stops []lifecycle.Stop) (done int, err error) {
	for done < len(stops) {
		rest := stops[done:]
		rest = rest[:min(batchSize, len(rest))]
		n, err := s.stopSome(ctx, rest)
		var failed *hookError
		if errors.As(err, &failed) && failed.index > 0 {
			// One record's error undid the transaction. Those before it are
			// good by themselves.
			n, err = s.stopSome(ctx, rest[:failed.index])
		}
		done += n
		if err != nil {
			return done, fmt.Errorf("postgresstore: stop %q: %w", stops[done].Record.Name, err)
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
	storekit.Row
	cause lifecycle.Cause
	index int // of the record in the call that it goes with
}

// stopSome stops the given records in one transaction. If one of them may not
// be stopped, the n before it are, and the error is that of this one; any other
// error means that none is.
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
		var removals []removal
		n, refusal = 0, nil
		taken := map[int64]bool{}
		for ; n < len(stops); n++ {
			stop := &stops[n]
			// Not for its own cause: it went along with its parent.
			if reason, ok := done[keyOf(stop.Record)]; ok && reason == storable(stop.Cause.Reason) {
				delete(done, keyOf(stop.Record)) // given twice, it was stopped once
				continue                         // with what that attempt has told of it
			}
			if refusal = found.decide(stop, n, taken, &removals); refusal != nil {
				break
			}
		}
		return s.remove(ctx, tx, call, removals)
	})
	if err != nil {
		return 0, err
	}
	return n, refusal
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

const oursQuery = `SELECT name, incarnation, reason FROM rollcall_events
	WHERE (name, incarnation) IN (SELECT * FROM unnest($1::text[], $2::text[])) AND call = $3`

// ours returns those of the records that this very call has stopped, and the
// reason.
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

// families are locked rows, by name and by the name of their parent.
type families struct {
	byName   map[string]storekit.Row
	children map[string][]storekit.Row
}

// familyQuery locks the given incarnations and their descendants. It locks them in
// one order, so that two calls that want the same rows do not lock each other out.
// UNION leaves out what was seen before, and so ends a cycle of parents.
const familyQuery = `WITH RECURSIVE family AS (
		SELECT seq, name FROM rollcall_records WHERE (name, incarnation) IN (SELECT * FROM unnest($1::text[], $2::text[]))
		UNION SELECT r.seq, r.name FROM family AS f JOIN rollcall_records AS r ON r.parent = f.name AND r.parent <> '')
	SELECT ` + columns + ` FROM rollcall_records WHERE seq = ANY(ARRAY(SELECT seq FROM family)) ORDER BY seq FOR UPDATE`

const childrenQuery = `SELECT ` + columns + ` FROM rollcall_records
	WHERE parent = ANY($1::text[]) AND parent <> '' AND seq <> ALL($2::bigint[]) ORDER BY seq FOR UPDATE`

// lockFamilies locks the given records, if they are still stored, and their
// descendants. Until the end of the transaction they stay as they are, and no
// child is added.
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
	f := &families{byName: map[string]storekit.Row{}, children: map[string][]storekit.Row{}}
	for _, r := range all {
		f.byName[r.Name] = r
		if r.Parent != "" {
			f.children[r.Parent] = append(f.children[r.Parent], r)
		}
	}
	return f, nil
}

// decide says what becomes of one of the given records, and adds it and its
// descendants to the removals if it is still the one that was given. taken are
// the rows that are removed already.
func (f *families) decide(stop *lifecycle.Stop, index int, taken map[int64]bool, removals *[]removal) error {
	root, ok := f.byName[stop.Record.Name]
	if !ok || root.Incarnation != stop.Record.Incarnation || taken[root.Seq] {
		stop.Outcome, stop.Descendants = lifecycle.AlreadyStopped, nil
		return nil
	}
	if stop.Cause.IfUnchanged {
		stored, err := root.Record()
		if err != nil {
			return err
		}
		if !stop.Cause.Holds(stop.Record, stored) {
			return lifecycle.ErrChanged
		}
	}
	// With an error this is the last record of the step, and what is taken does not
	// count.
	family := storekit.Family(root, func(r storekit.Row) int64 { return r.Seq }, func(r storekit.Row) []storekit.Row { return f.children[r.Name] }, taken)
	var along []removal
	var descendants []lifecycle.Record
	for i, member := range slices.Backward(family) { // children before parents
		cause := stop.Cause
		if i > 0 {
			cause = cause.ForDescendant()
			descendant, _, err := member.Decode()
			if err != nil {
				return fmt.Errorf("descendant %q: %w", member.Name, err)
			}
			descendants = append(descendants, descendant)
		}
		along = append(along, removal{member, cause, index})
	}
	*removals = append(*removals, along...)
	stop.Outcome, stop.Descendants = lifecycle.Stopped, descendants
	return nil
}
