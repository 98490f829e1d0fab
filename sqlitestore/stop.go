package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// writeTime is how long one transaction of a batch goes on taking records in.
// Other writers of the file wait for so long and for the commit.
const writeTime = 20 * time.Millisecond

// Stop implements [lifecycle.Store].
func (s *Store) Stop(ctx context.Context, record lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	outcomes, err := s.stopSome(ctx, []lifecycle.Stop{{Record: record, Cause: cause}})
	if err != nil {
		return 0, fmt.Errorf("sqlitestore: stop %q: %w", record.Name, err)
	}
	return outcomes[0], nil
}

// StopBatch implements [lifecycle.BatchStopper], in transactions of about
// 20 ms.
func (s *Store) StopBatch(ctx context.Context, stops []lifecycle.Stop) ([]lifecycle.Outcome, error) {
	done := make([]lifecycle.Outcome, 0, len(stops))
	for len(done) < len(stops) {
		rest := stops[len(done):]
		outcomes, err := s.stopSome(ctx, rest)
		var failed *stopError
		if errors.As(err, &failed) && failed.index > 0 {
			// One record's error undid the transaction. Those before it are
			// good by themselves.
			outcomes, err = s.stopSome(ctx, rest[:failed.index])
		}
		done = append(done, outcomes...)
		if err != nil {
			return done, fmt.Errorf("sqlitestore: stop %q: %w", stops[len(done)].Record.Name, err)
		}
	}
	return done, nil
}

// stopError is the error of one record of a transaction.
type stopError struct {
	index int
	err   error
}

func (e *stopError) Error() string { return e.err.Error() }
func (e *stopError) Unwrap() error { return e.err }

// stopSome stops the first of the given records in one transaction, at least
// one and as many as it gets to in writeTime. With an error, none.
func (s *Store) stopSome(ctx context.Context, stops []lifecycle.Stop) ([]lifecycle.Outcome, error) {
	var outcomes []lifecycle.Outcome
	err := s.write(ctx, durable, func(ctx context.Context, conn *sql.Conn) error {
		outcomes = outcomes[:0]
		tx := &stopTx{store: s, conn: conn}
		defer tx.close()
		started := time.Now()
		for i, stop := range stops {
			if i > 0 && time.Since(started) > writeTime {
				break
			}
			outcome, err := tx.stop(ctx, stop.Record, stop.Cause)
			if err != nil {
				return &stopError{i, err}
			}
			outcomes = append(outcomes, outcome)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return outcomes, nil
}

// stopTx is a transaction that stops records, with its statements prepared.
type stopTx struct {
	store    *Store
	conn     *sql.Conn
	prepared map[string]*sql.Stmt
}

func (tx *stopTx) close() {
	for _, statement := range tx.prepared {
		statement.Close()
	}
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

func (tx *stopTx) exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	statement, err := tx.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return statement.ExecContext(ctx, args...)
}

func (tx *stopTx) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	statement, err := tx.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return statement.QueryContext(ctx, args...)
}

// stop stops one record if it is still the one that was given.
func (tx *stopTx) stop(ctx context.Context, record lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	rows, err := tx.rows(ctx, tx.store.sql.find, record.Name)
	if err != nil {
		return 0, err
	}
	if len(rows) == 0 || rows[0].incarnation.String != record.Incarnation {
		return lifecycle.AlreadyStopped, nil
	}
	if cause.IfUnchanged {
		stored, err := rows[0].record()
		if err != nil {
			return 0, err
		}
		if !stored.SameState(record) {
			return 0, lifecycle.ErrChanged
		}
	}
	family, err := tx.family(ctx, rows[0])
	if err != nil {
		return 0, err
	}
	// Children before parents; the record itself comes last.
	for i, member := range slices.Backward(family) {
		why := lifecycle.Cause{By: cause.By, Reason: lifecycle.ReasonParentStopped}
		stored, garbled, err := member.decode()
		if i == 0 {
			why = cause // and whoever asks to stop a garbled row may do so
		} else if err != nil {
			return 0, fmt.Errorf("descendant %q: %w", member.name.String, err)
		}
		if err := tx.remove(ctx, member.seq, lifecycle.Snapshot{Record: stored, Garbled: garbled}, why); err != nil {
			return 0, err
		}
	}
	return lifecycle.Stopped, nil
}

func (tx *stopTx) rows(ctx context.Context, query string, args ...any) ([]row, error) {
	statement, err := tx.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := statement.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	return scanRows(nil, rows)
}

// family returns a row and its descendants, parents before children, each
// once even if their parents form a cycle.
func (tx *stopTx) family(ctx context.Context, root row) ([]row, error) {
	family := []row{root}
	var seen map[int64]bool
	for i := 0; i < len(family); i++ {
		children, err := tx.rows(ctx, tx.store.sql.children, family[i].name.String)
		if err != nil {
			return nil, err
		}
		for _, child := range children {
			if seen == nil {
				seen = map[int64]bool{root.seq: true}
			}
			if !seen[child.seq] {
				seen[child.seq] = true
				family = append(family, child)
			}
		}
	}
	return family, nil
}

// remove turns a row into an event.
func (tx *stopTx) remove(ctx context.Context, seq int64, snapshot lifecycle.Snapshot, cause lifecycle.Cause) (err error) {
	q := &tx.store.sql
	record := snapshot.Record
	if snapshot.Bindings, err = tx.bindings(ctx, seq); err != nil {
		return err
	}
	event := lifecycle.NewEvent(snapshot, cause)
	text, err := encodeSnapshot(snapshot)
	if err != nil {
		return fmt.Errorf("snapshot of %q: %w", record.Name, err)
	}
	result, err := tx.exec(ctx, q.insertEvent, event.At.UnixNano(), event.Name, event.Incarnation, event.Action, event.By, event.Reason, event.Verdict, text)
	if err != nil {
		return fmt.Errorf("event of %q: %w", record.Name, err)
	}
	if event.Seq, err = result.LastInsertId(); err != nil {
		return err
	}
	if len(snapshot.Bindings) > 0 {
		if _, err := tx.exec(ctx, q.deleteBindings, seq); err != nil {
			return err
		}
	}
	if result, err = tx.exec(ctx, q.deleteRow, seq, record.Incarnation); err != nil {
		return err
	}
	if n, err := result.RowsAffected(); n != 1 || err != nil {
		return errors.Join(fmt.Errorf("deleted %d rows of %q, not one", n, record.Name), err)
	}
	if hook := tx.store.options.OnStop; hook != nil {
		handle := hookTx{conn: tx.conn}
		defer handle.close()
		if err := hook(ctx, &handle, event); err != nil {
			return fmt.Errorf("OnStop of %q: %w", record.Name, err)
		}
	}
	return nil
}

// hookTx closes what a hook leaves open, as the end of an sql.Tx does. An open
// sql.Rows would hold the connection for ever.
type hookTx struct {
	conn *sql.Conn
	rows []*sql.Rows
	row  []*sql.Row
}

func (h *hookTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return h.conn.ExecContext(ctx, query, args...)
}

func (h *hookTx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rows, err := h.conn.QueryContext(ctx, query, args...)
	if err == nil {
		h.rows = append(h.rows, rows)
	}
	return rows, err
}

func (h *hookTx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	row := h.conn.QueryRowContext(ctx, query, args...)
	h.row = append(h.row, row)
	return row
}

func (h *hookTx) close() {
	for _, rows := range h.rows {
		rows.Close()
	}
	for _, row := range h.row {
		_ = row.Scan() // it closes, whatever it returns
	}
}

func (tx *stopTx) bindings(ctx context.Context, seq int64) ([]string, error) {
	rows, err := tx.query(ctx, tx.store.sql.readBindings, seq)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var keys []string
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, rows.Err()
}
