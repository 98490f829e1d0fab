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

	"github.com/rollcall-go/rollcall/lifecycle"
)

const deleteRowsQuery = `DELETE FROM rollcall_records WHERE seq = ANY($1::bigint[])`

// remove turns locked rows into events, in the order given.
func (s *Store) remove(ctx context.Context, tx pgx.Tx, call uuid.UUID, removals []removal) error {
	if len(removals) == 0 {
		return nil
	}
	seqs := make([]int64, len(removals))
	for i, r := range removals {
		seqs[i] = r.Seq
	}
	bindings, err := s.takeBindings(ctx, tx, seqs)
	if err != nil {
		return err
	}
	result, err := tx.Exec(ctx, s.sql(deleteRowsQuery), seqs)
	if err != nil {
		return err
	}
	if result.RowsAffected() != int64(len(seqs)) {
		return fmt.Errorf("deleted %d rows, not %d", result.RowsAffected(), len(seqs))
	}
	events, err := s.insertEvents(ctx, tx, call, removals, bindings)
	if err != nil {
		return err
	}
	if hook := s.options.OnStop; hook != nil {
		for i, event := range events {
			err := hook(ctx, hookTx{tx}, event)
			if err == nil && tx.Conn().PgConn().IsBusy() {
				err = errLeftOpen
			}
			if err != nil {
				return &hookError{removals[i].index, fmt.Errorf("OnStop of %q: %w", event.Name, err)}
			}
		}
	}
	return nil
}

const takeBindingsQuery = `DELETE FROM rollcall_bindings WHERE record = ANY($1::bigint[]) RETURNING record, key`

// takeBindings deletes the bindings of the rows, and returns their keys.
func (s *Store) takeBindings(ctx context.Context, tx pgx.Tx, seqs []int64) (map[int64][]string, error) {
	rows, err := tx.Query(ctx, s.sql(takeBindingsQuery), seqs)
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

// insertEvents writes the events of the removals, and tells who listens.
func (s *Store) insertEvents(ctx context.Context, tx pgx.Tx, call uuid.UUID, removals []removal, bindings map[int64][]string) ([]lifecycle.Event, error) {
	n := len(removals)
	events := make([]lifecycle.Event, n)
	var columns [7][]string
	data := make([]*string, n)
	for i, r := range removals {
		record, garbled, _ := r.Decode()
		snapshot := lifecycle.Snapshot{Record: record, Bindings: bindings[r.Seq], Garbled: garbled}
		event := r.cause.Event(snapshot)
		text, raw, err := encodeSnapshot(snapshot)
		if err != nil {
			return nil, fmt.Errorf("snapshot of %q: %w", record.Name, err)
		}
		event.By, event.Reason, event.Verdict = storable(event.By), storable(event.Reason), storable(event.Verdict)
		for c, value := range []string{event.Name, event.Incarnation, event.Action, event.By, event.Reason, event.Verdict, text} {
			columns[c] = append(columns[c], value)
		}
		events[i], data[i] = event, raw
	}
	// From here on all others that stop records wait for the commit: this is
	// as late as can be.
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

// storable is a text for people without what PostgreSQL does not store: the
// verdict may quote what somebody has written into an environment.
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
