package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
)

// stopTx is a transaction that stops records, and the reading before it, with its
// statements prepared.
type stopTx struct {
	store    *Store
	conn     *sql.Conn
	prepared map[string]*sql.Stmt
	// gone are the rows that are planned to be stopped.
	gone map[int64]bool
}

// version is another number after another connection has written
// (https://www.sqlite.org/pragma.html#pragma_data_version). What was read before
// a transaction still holds in it if the number is the same.
func (tx *stopTx) version(ctx context.Context) (n int64, err error) {
	rows, err := tx.query(ctx, "PRAGMA data_version", nil)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			return 0, err
		}
	}
	return n, rows.Err()
}

func (tx *stopTx) close() {
	for _, statement := range tx.prepared {
		statement.Close()
	}
	tx.prepared = nil
}

func (tx *stopTx) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if statement := tx.prepared[query]; statement != nil {
		return statement, nil
	}
	statement, err := tx.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	if tx.prepared == nil {
		tx.prepared = map[string]*sql.Stmt{}
	}
	tx.prepared[query] = statement
	return statement, nil
}

func (tx *stopTx) exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	statement, err := tx.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return statement.ExecContext(ctx, args...)
}

func (tx *stopTx) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	statement, err := tx.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return statement.QueryContext(ctx, args...)
}

// rowsOf returns the rows of a query with a list of any length.
func (tx *stopTx) rowsOf(ctx context.Context, query string, list []any) ([]row, error) {
	var all []row
	for some := range slices.Chunk(list, groupSize) {
		rows, err := tx.query(ctx, inList(query, len(some)), some)
		if err != nil {
			return nil, err
		}
		if all, err = scanRows(all, rows); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// plan is how to stop some records: what was read of them, and what is to be
// written.
type plan struct {
	stops    []lifecycle.Stop // with what becomes of each
	removals []removal
}

// member is a row that is to be stopped, and why.
type member struct {
	row
	snapshot lifecycle.Snapshot
	cause    lifecycle.Cause
}

// removal turns some rows into events, by one statement of each kind.
type removal struct {
	about  string // of an error
	seqs   []any
	bound  bool // keys are bound to them
	events []lifecycle.Event
	values []any // of the statement that inserts the events
}

// plan reads, and writes nothing. It stops those records in order that are still
// the ones that were given.
func (tx *stopTx) plan(ctx context.Context, stops []lifecycle.Stop) (*plan, error) {
	names := make([]any, len(stops))
	for i, stop := range stops {
		names[i] = stop.Record.Name
	}
	rows, err := tx.rowsOf(ctx, tx.store.sql.found, names)
	if err != nil {
		return nil, err
	}
	registered := make(map[string]row, len(rows))
	for _, r := range rows {
		registered[r.name.String] = r
	}
	children, err := tx.descent(ctx, rows)
	if err != nil {
		return nil, err
	}

	p := &plan{stops: stops}
	if tx.gone == nil {
		tx.gone = make(map[int64]bool, len(stops))
	}
	members := make([]member, 0, len(stops))
	for i := range stops {
		stop := &stops[i]
		stop.Descendants = nil
		root, ok := registered[stop.Record.Name]
		if !ok || root.incarnation.String != stop.Record.Incarnation || tx.gone[root.seq] {
			stop.Outcome = lifecycle.AlreadyStopped
			continue
		}
		record, garbled, err := root.decode()
		if stop.Cause.IfUnchanged {
			if err != nil {
				return nil, err
			}
			if !stop.Cause.Holds(stop.Record, record) {
				return nil, lifecycle.ErrChanged
			}
		} // and whoever asks to stop a garbled row may do so
		stop.Outcome = lifecycle.Stopped
		family := []member{{root, lifecycle.Snapshot{Record: record, Garbled: garbled}, stop.Cause}}
		tx.gone[root.seq] = true
		// Each once, even if their parents form a cycle.
		for next := 0; next < len(family); next++ {
			for _, child := range children[family[next].name.String] {
				if tx.gone[child.seq] {
					continue
				}
				tx.gone[child.seq] = true
				record, garbled, err := child.decode()
				if err != nil {
					return nil, fmt.Errorf("descendant %q: %w", child.name.String, err)
				}
				family = append(family, member{child, lifecycle.Snapshot{Record: record, Garbled: garbled}, stop.Cause.ForDescendant()})
			}
		}
		// Children before parents; the record itself comes last.
		slices.Reverse(family)
		for _, m := range family[:len(family)-1] {
			stop.Descendants = append(stop.Descendants, m.snapshot.Record)
		}
		members = append(members, family...)
	}
	for some := range slices.Chunk(members, groupSize) {
		r, err := tx.removal(ctx, some)
		if err != nil {
			return nil, err
		}
		p.removals = append(p.removals, r)
	}
	return p, nil
}

// descent returns all rows that descend from the given ones, by the name of the
// parent, in the order of their registration.
func (tx *stopTx) descent(ctx context.Context, roots []row) (map[string][]row, error) {
	var children map[string][]row
	asked := make(map[string]bool, len(roots))
	for generation := roots; len(generation) > 0; {
		var names []any
		for _, r := range generation {
			if name := r.name.String; !asked[name] {
				asked[name] = true
				names = append(names, name)
			}
		}
		var err error
		if generation, err = tx.rowsOf(ctx, tx.store.sql.children, names); err != nil {
			return nil, err
		}
		for _, r := range generation {
			if children == nil {
				children = map[string][]row{}
			}
			children[r.parent.String] = append(children[r.parent.String], r)
		}
	}
	return children, nil
}

func (tx *stopTx) removal(ctx context.Context, members []member) (r removal, err error) {
	n := len(members)
	r.about = storekit.Quote(members[0].name.String)
	if n > 1 {
		r.about = fmt.Sprintf("%s and %d others", r.about, n-1)
	}
	r.seqs = make([]any, n)
	for i := range members {
		r.seqs[i] = members[i].seq
	}
	if r.bound, err = tx.bind(ctx, members, r.seqs); err != nil {
		return removal{}, err
	}
	r.events = make([]lifecycle.Event, n)
	r.values = make([]any, 0, 8*n)
	for i := range members {
		e := members[i].cause.Event(members[i].snapshot)
		text, err := encodeSnapshot(e.Snapshot)
		if err != nil {
			return removal{}, fmt.Errorf("snapshot of %q: %w", e.Name, err)
		}
		r.values = append(r.values, e.At.UnixNano(), e.Name, e.Incarnation, e.Action, e.By, e.Reason, e.Verdict, text)
		r.events[i] = e
	}
	return r, nil
}

// carryOut writes what is planned.
func (tx *stopTx) carryOut(ctx context.Context, p *plan) error {
	for i := range p.removals {
		if err := tx.remove(ctx, &p.removals[i]); err != nil {
			return err
		}
	}
	return nil
}

func (tx *stopTx) remove(ctx context.Context, r *removal) error {
	q, n := &tx.store.sql, len(r.seqs)
	result, err := tx.exec(ctx, valuesList(q.insertEvent, n), r.values)
	if err != nil {
		return fmt.Errorf("event of %s: %w", r.about, err)
	}
	last, err := result.LastInsertId()
	if err != nil {
		return err
	}
	if r.bound {
		if _, err := tx.exec(ctx, inList(q.deleteBindings, n), r.seqs); err != nil {
			return err
		}
	}
	if result, err = tx.exec(ctx, inList(q.deleteRows, n), r.seqs); err != nil {
		return err
	}
	if deleted, err := result.RowsAffected(); deleted != int64(n) || err != nil {
		return errors.Join(fmt.Errorf("deleted %d rows of %s, not %d", deleted, r.about, n), err)
	}
	if tx.store.options.OnStop == nil {
		return nil
	}
	for i := range r.events {
		// One statement has numbered them, and nobody else writes.
		r.events[i].Seq = last - int64(n-1-i)
		if err := tx.hook(ctx, r.events[i]); err != nil {
			return err
		}
	}
	return nil
}

func (tx *stopTx) hook(ctx context.Context, event lifecycle.Event) error {
	handle := hookTx{conn: tx.conn}
	defer handle.close()
	if err := tx.store.options.OnStop(ctx, &handle, event); err != nil {
		return fmt.Errorf("OnStop of %q: %w", event.Name, err)
	}
	return nil
}

// bind fills in the keys that are bound to the members, sorted, and reports
// whether there are any.
func (tx *stopTx) bind(ctx context.Context, members []member, seqs []any) (bool, error) {
	rows, err := tx.query(ctx, inList(tx.store.sql.bindings, len(seqs)), seqs)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	keys := make(map[int64][]string, len(members))
	for rows.Next() {
		var seq int64
		var key string
		if err := rows.Scan(&seq, &key); err != nil {
			return false, err
		}
		keys[seq] = append(keys[seq], key)
	}
	for i := range members {
		members[i].snapshot.Bindings = keys[members[i].seq]
	}
	return len(keys) > 0, rows.Err()
}
