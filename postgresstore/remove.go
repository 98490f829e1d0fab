package postgresstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
)

// removal is a locked row that is to become an event.
type removal struct {
	seq      int64
	snapshot lifecycle.Snapshot // without bindings, until they are taken
	cause    lifecycle.Cause
	index    int   // of the record in the call that it goes with
	err      error // why the row cannot be decoded, or nil
}

// newRemoval decodes the row, as far as that is possible.
func newRemoval(row *storekit.Row, cause lifecycle.Cause, index int) removal {
	record, garbled, err := row.Decode()
	return removal{row.Seq, lifecycle.Snapshot{Record: record, Garbled: garbled}, cause, index, err}
}

// remove turns locked rows into events, in the order given.
func (s *Store) remove(ctx context.Context, tx pgx.Tx, call uuid.UUID, removals []removal) error {
	if len(removals) == 0 {
		return nil
	}
	if err := s.deleteRows(ctx, tx, removals); err != nil {
		return err
	}
	events, err := s.insertEvents(ctx, tx, call, removals)
	if err != nil || s.options.OnStop == nil {
		return err
	}
	for i, event := range events {
		err := s.options.OnStop(ctx, hookTx{tx}, event)
		if err == nil && tx.Conn().PgConn().IsBusy() {
			err = errLeftOpen
		}
		if err != nil {
			return &hookError{removals[i].index, fmt.Errorf("OnStop of %q: %w", event.Name, err)}
		}
	}
	return nil
}

// deleteRows deletes the rows and their bindings, which it adds to the snapshots.
func (s *Store) deleteRows(ctx context.Context, tx pgx.Tx, removals []removal) error {
	seqs := make([]int64, len(removals))
	for i, r := range removals {
		seqs[i] = r.seq
	}
	bindings, err := s.takeBindings(ctx, tx, seqs)
	if err != nil {
		return err
	}
	for i := range removals {
		removals[i].snapshot.Bindings = bindings[removals[i].seq]
	}
	result, err := tx.Exec(ctx, s.sql(`DELETE FROM rollcall_records WHERE seq = ANY($1::bigint[])`), seqs)
	if err == nil && result.RowsAffected() != int64(len(seqs)) {
		err = fmt.Errorf("deleted %d rows, not %d", result.RowsAffected(), len(seqs))
	}
	return err
}

// takeBindings deletes the bindings of the rows, and returns their keys, sorted.
func (s *Store) takeBindings(ctx context.Context, tx pgx.Tx, seqs []int64) (map[int64][]string, error) {
	rows, err := tx.Query(ctx, s.sql(`DELETE FROM rollcall_bindings WHERE record = ANY($1::bigint[]) RETURNING record, key`), seqs)
	if err != nil {
		return nil, err
	}
	bindings := map[int64][]string{}
	var seq int64
	var key string
	_, err = pgx.ForEachRow(rows, []any{&seq, &key}, func() error {
		bindings[seq] = append(bindings[seq], key)
		return nil
	})
	for _, keys := range bindings {
		slices.Sort(keys)
	}
	return bindings, err
}

const insertEventsQuery = `INSERT INTO rollcall_events (at, call, seq, name, incarnation, action, by, reason, verdict, snapshot, data)
	SELECT $1, $2, e.seq, e.name, e.incarnation, e.action, e.by, e.reason, e.verdict, e.snapshot::jsonb, e.data::json
	FROM unnest($3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[])
		AS e (seq, name, incarnation, action, by, reason, verdict, snapshot, data)`

// insertEvents writes the events of the removals, and wakes those who listen.
func (s *Store) insertEvents(ctx context.Context, tx pgx.Tx, call uuid.UUID, removals []removal) ([]lifecycle.Event, error) {
	n := len(removals)
	events := make([]lifecycle.Event, n)
	var columns [7][]string
	data := make([]*string, n)
	for i, r := range removals {
		event := r.cause.Event(r.snapshot)
		text, raw, err := encodeSnapshot(r.snapshot)
		if err != nil {
			return nil, fmt.Errorf("snapshot of %q: %w", event.Name, err)
		}
		event.By, event.Reason, event.Verdict = storable(event.By), storable(event.Reason), storable(event.Verdict)
		for c, value := range []string{event.Name, event.Incarnation, event.Action, event.By, event.Reason, event.Verdict, text} {
			columns[c] = append(columns[c], value)
		}
		events[i], data[i] = event, raw
	}
	// From here on all other stops wait for the commit: number the events as late
	// as possible.
	last, at, err := s.next(ctx, tx, "event", n)
	if err != nil {
		return nil, err
	}
	seqs := make([]int64, n)
	for i := range events {
		seqs[i] = last - int64(n-1-i)
		events[i].Seq, events[i].At = seqs[i], at.UTC()
	}
	c := columns
	if _, err := tx.Exec(ctx, s.sql(insertEventsQuery), at, call, seqs, c[0], c[1], c[2], c[3], c[4], c[5], c[6], data); err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	_, err = tx.Exec(ctx, "SELECT pg_notify($1, '')", s.channel)
	return events, err
}

const nextQuery = `UPDATE rollcall_counters SET value = value + $2 WHERE name = $1 RETURNING value, clock_timestamp()`

// next takes n numbers from a counter, and returns the last of them and the time of
// the server. Other transactions that want one wait until this one has ended.
func (s *Store) next(ctx context.Context, tx pgx.Tx, counter string, n int) (last int64, at time.Time, err error) {
	err = tx.QueryRow(ctx, s.sql(nextQuery), counter, n).Scan(&last, &at)
	return last, at, err
}

// storable replaces what PostgreSQL does not store in a text for people. A verdict
// may quote whatever somebody has written into an environment.
func storable(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "\ufffd")
}

// hookTx keeps a hook from ending the transaction.
type hookTx struct{ pgx.Tx }

var (
	errHookTx   = errors.New("postgresstore: the transaction of OnStop is not the hook's to end")
	errLeftOpen = errors.New("rows were left open")
)

func (hookTx) Commit(context.Context) error   { return errHookTx }
func (hookTx) Rollback(context.Context) error { return errHookTx }
