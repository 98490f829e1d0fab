package sqlitestore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
)

// stopOne stops a record that is in no set, after those in sets.
func (tx *stopTx) stopOne(ctx context.Context, stop *lifecycle.Stop) error {
	if err := tx.stopSets(ctx); err != nil {
		return err
	}
	if err := tx.stopFamily(ctx, stop); err != nil {
		return &stopError{tx.done, 0, err}
	}
	tx.done++
	return nil
}

// stopFamily stops a record together with its descendants, each by statements of its
// own.
func (tx *stopTx) stopFamily(ctx context.Context, stop *lifecycle.Stop) error {
	stop.Outcome, stop.Descendants = lifecycle.AlreadyStopped, nil
	rows, err := tx.rows(ctx, selectRecord, stop.Record.Name)
	if err != nil || len(rows) == 0 || rows[0].Incarnation != stop.Record.Incarnation {
		return err
	}
	record, garbled, err := rows[0].Decode()
	if stop.Cause.IfUnchanged { // otherwise even a garbled row is stopped
		if err != nil {
			return err
		}
		if !stop.Cause.Holds(stop.Record, record) {
			return lifecycle.ErrChanged
		}
	}
	descendants, err := tx.descendants(ctx, rows[0], stop.Cause.ForDescendant())
	if err != nil {
		return err
	}
	// Children before parents; the record itself comes last.
	slices.Reverse(descendants)
	for _, m := range descendants {
		stop.Descendants = append(stop.Descendants, m.snapshot.Record)
	}
	head := member{rows[0].Seq, lifecycle.Snapshot{Record: record, Garbled: garbled}, stop.Cause}
	for _, m := range append(descendants, head) {
		if err := tx.remove(ctx, m); err != nil {
			return err
		}
	}
	stop.Outcome = lifecycle.Stopped
	return nil
}

// member is a row of a family that is to be stopped, and why.
type member struct {
	seq      int64
	snapshot lifecycle.Snapshot
	cause    lifecycle.Cause
}

const selectChildren = `SELECT ` + columns + ` FROM rollcall_records WHERE parent = ? AND parent <> '' ORDER BY seq`

// descendants returns the descendants of a row that are not stopped yet, parents
// before children.
func (tx *stopTx) descendants(ctx context.Context, head row, cause lifecycle.Cause) (members []member, err error) {
	family := storekit.Family(head, func(r row) int64 { return r.Seq }, func(r row) (children []row) {
		if err == nil {
			children, err = tx.rows(ctx, selectChildren, r.Name)
		}
		return children
	}, tx.taken)
	if err != nil {
		return nil, err
	}
	for _, r := range family[1:] {
		record, err := r.Record()
		if err != nil {
			return nil, fmt.Errorf("descendant %q: %w", r.Name, err)
		}
		members = append(members, member{r.Seq, lifecycle.Snapshot{Record: record}, cause})
	}
	return members, nil
}

func (tx *stopTx) rows(ctx context.Context, query, arg string) ([]row, error) {
	rows, err := tx.query(ctx, query, arg)
	if err != nil {
		return nil, err
	}
	return scanRows(nil, rows)
}

const insertEvent = `INSERT INTO rollcall_events (at, name, incarnation, action, by, reason, verdict, snapshot)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?)`

// remove turns a row into an event, and calls the host's hook.
func (tx *stopTx) remove(ctx context.Context, m member) (err error) {
	if m.snapshot.Bindings, err = tx.bindings(ctx, m.seq); err != nil {
		return err
	}
	e := m.cause.Event(m.snapshot)
	text, err := encodeSnapshot(e.Snapshot)
	if err != nil {
		return fmt.Errorf("snapshot of %q: %w", e.Name, err)
	}
	inserted, err := tx.execOn(ctx, 1, insertEvent, e.At.UnixNano(), e.Name, e.Incarnation, e.Action, e.By, e.Reason, e.Verdict, text)
	if err != nil {
		return fmt.Errorf("event of %s: %w", storekit.Quote(e.Name), err)
	}
	if e.Seq, err = inserted.LastInsertId(); err != nil {
		return err
	}
	if n := len(m.snapshot.Bindings); n > 0 {
		if _, err := tx.execOn(ctx, n, deleteBindings+"= ?", m.seq); err != nil {
			return fmt.Errorf("bindings of %s: %w", storekit.Quote(e.Name), err)
		}
	}
	if _, err := tx.execOn(ctx, 1, deleteRecords+"= ?", m.seq); err != nil {
		return fmt.Errorf("row of %s: %w", storekit.Quote(e.Name), err)
	}
	return tx.callHook(ctx, &e)
}

func (tx *stopTx) callHook(ctx context.Context, e *lifecycle.Event) error {
	if tx.store.options.OnStop == nil {
		return nil
	}
	handle := hookTx{conn: tx.conn}
	defer handle.close()
	if err := tx.store.options.OnStop(ctx, &handle, *e); err != nil {
		return fmt.Errorf("OnStop of %q: %w", e.Name, err)
	}
	return nil
}

const selectBindings = `SELECT key FROM rollcall_bindings WHERE record = ? ORDER BY key`

// bindings returns the keys that are bound to a row, sorted.
func (tx *stopTx) bindings(ctx context.Context, seq int64) (keys []string, err error) {
	rows, err := tx.query(ctx, selectBindings, seq)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, rows.Err()
}

// encodeSnapshot returns the JSON of a snapshot. It appends Data itself, because a
// json.Encoder would compact it.
func encodeSnapshot(snapshot lifecycle.Snapshot) (string, error) {
	data := snapshot.Data
	snapshot.Data = nil
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(snapshot); err != nil || data == nil {
		return string(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), err
	}
	if !json.Valid(data) {
		return "", errors.New("data is not JSON")
	}
	b.Truncate(b.Len() - len("}\n"))
	b.WriteString(`,"data":`)
	b.Write(data)
	b.WriteByte('}')
	return b.String(), nil
}
