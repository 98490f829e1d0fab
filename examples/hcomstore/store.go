package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"modernc.org/sqlite"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// Store is a [lifecycle.Store] over the tables of hcom, which stay as they are.
// Its database begins transactions with BEGIN IMMEDIATE, see [open].
type Store struct{ db *sql.DB }

var _ lifecycle.Store = (*Store)(nil)

// open opens a database as hcom does, by the settings of this driver.
func open(path string) (*sql.DB, error) {
	return sql.Open("sqlite", "file:"+path+"?_txlock=immediate"+
		"&_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)&_pragma=journal_mode(WAL)")
}

// Candidates implements [lifecycle.Store]. All rows are read before the first is
// yielded: a Stop in between finds no reader in its way.
func (s *Store) Candidates(ctx context.Context) iter.Seq2[lifecycle.Record, error] {
	return func(yield func(lifecycle.Record, error) bool) {
		now := readClock()
		rows, err := s.db.QueryContext(ctx, selectInstances+" ORDER BY created_at")
		if err != nil {
			yield(lifecycle.Record{}, fmt.Errorf("hcomstore: read instances: %w", busy(err)))
			return
		}
		all, errs, err := scan(rows)
		for i := range all {
			record, rowErr := all[i].record(now)
			if rowErr = errors.Join(errs[i], rowErr); rowErr != nil {
				rowErr = fmt.Errorf("hcomstore: read instance: %w", rowErr)
			}
			if !yield(record, rowErr) {
				return
			}
		}
		if err != nil {
			yield(lifecycle.Record{}, fmt.Errorf("hcomstore: read instances: %w", busy(err)))
		}
	}
}

// Stop implements [lifecycle.Store]: the one transaction in which hcom stops an
// instance, with its children.
func (s *Store) Stop(ctx context.Context, record lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	outcome, err := s.stop(ctx, record, cause)
	if err != nil {
		return 0, fmt.Errorf("hcomstore: stop %q: %w", record.Name, busy(err))
	}
	return outcome, nil
}

func (s *Store) stop(ctx context.Context, record lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	found, err := find(ctx, tx, "i.name = ?1", record.Name)
	switch {
	case err != nil:
		return 0, err
	case len(found) == 0 || found[0].incarnation() != record.Incarnation:
		return lifecycle.AlreadyStopped, nil
	}
	if cause.IfUnchanged {
		spared, err := found[0].spares(record, cause)
		if err != nil {
			return 0, err
		}
		if spared {
			return 0, lifecycle.ErrChanged
		}
	}
	family, err := withDescendants(ctx, tx, found[0])
	if err != nil {
		return 0, err
	}
	for i, member := range slices.Backward(family) { // children before parents
		why := cause
		if i > 0 {
			why = lifecycle.Cause{By: cause.By, Reason: lifecycle.ReasonParentStopped}
		}
		if err := remove(ctx, tx, member, why); err != nil {
			return 0, err
		}
	}
	if err := tx.Commit(); err != nil {
		return 0, err
	}
	return lifecycle.Stopped, nil
}

// withDescendants returns a row and those below it, each once. A child names its
// parent, or the session of its parent.
func withDescendants(ctx context.Context, tx *sql.Tx, root row) ([]row, error) {
	family := []row{root}
	seen := map[string]bool{root.Name: true}
	for i := 0; i < len(family); i++ {
		children, err := find(ctx, tx, "i.parent_name = ?1 OR i.parent_session_id = nullif(?2, '')", family[i].Name, family[i].SessionID)
		if err != nil {
			return nil, err
		}
		for _, child := range children {
			if !seen[child.Name] {
				seen[child.Name] = true
				family = append(family, child)
			}
		}
	}
	return family, nil
}

func find(ctx context.Context, tx *sql.Tx, where string, args ...any) ([]row, error) {
	rows, err := tx.QueryContext(ctx, selectInstances+" WHERE "+where+" ORDER BY i.name", args...)
	if err != nil {
		return nil, err
	}
	all, errs, err := scan(rows)
	return all, errors.Join(append(errs, err)...)
}

// event is what hcom keeps of a stop: a row of events with the type "life".
type event struct {
	Action      string   `json:"action"`
	By          string   `json:"by"`
	Reason      string   `json:"reason"`
	Snapshot    snapshot `json:"snapshot"`
	Placeholder bool     `json:"placeholder,omitempty"` // it had not come up
	// What hcom does not write, and does not mind.
	Verdict  string   `json:"verdict,omitempty"`
	Bindings []string `json:"bindings,omitempty"`
}

// remove turns a row into an event. What goes with it is what hcom's own stop
// deletes; its actor tokens expire by themselves.
func remove(ctx context.Context, tx *sql.Tx, r row, cause lifecycle.Cause) error {
	stopped := cause.Event(lifecycle.Snapshot{})
	e := event{
		Action: stopped.Action, By: stopped.By, Reason: stopped.Reason, Verdict: stopped.Verdict,
		Snapshot: r.snapshot, Placeholder: r.phase() == lifecycle.Launching,
	}
	const bound = ` FROM process_bindings WHERE instance_name = ?1 OR instance_name IS NULL AND session_id = ?2`
	var keys string
	err := tx.QueryRowContext(ctx, `SELECT json_group_array(key) FROM (SELECT process_id AS key`+bound+`
		UNION SELECT session_id FROM session_bindings WHERE instance_name = ?1 ORDER BY key)`, r.Name, r.SessionID).Scan(&keys)
	if err == nil {
		err = json.Unmarshal([]byte(keys), &e.Bindings)
	}
	if err != nil {
		return fmt.Errorf("bindings: %w", err)
	}
	data, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	// Of an instance, its name and created_at are the incarnation.
	result, err := tx.ExecContext(ctx, `DELETE FROM instances WHERE name = ? AND created_at = ?`, r.Name, r.CreatedAt)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); n != 1 || err != nil {
		return errors.Join(fmt.Errorf("deleted %d rows of %q, not one", n, r.Name), err)
	}
	for _, statement := range []string{
		`DELETE FROM session_bindings WHERE instance_name = ?1`,
		`DELETE` + bound,
		`DELETE FROM notify_endpoints WHERE instance = ?1`,
		// Subscriptions go, memberships of threads stay for who has the name next.
		`DELETE FROM kv WHERE key GLOB 'events_sub:*' AND CASE WHEN json_valid(value)
			THEN json_extract(value, '$.caller') = ?1 AND coalesce(json_extract(value, '$.delivery_only'), 0) <> 1 END`,
	} {
		if _, err := tx.ExecContext(ctx, statement, r.Name, r.SessionID); err != nil {
			return err
		}
	}
	const timestamp = "2006-01-02T15:04:05.000000-07:00"
	_, err = tx.ExecContext(ctx, `INSERT INTO events (timestamp, type, instance, data) VALUES (?, 'life', ?, ?)`,
		stopped.At.Format(timestamp), r.Name, string(data))
	return err
}

// busy tells the Cleaner that a record failed for a reason that the next one
// would fail for too.
func busy(err error) error {
	const sqliteBusy = 5
	var coded *sqlite.Error
	if errors.As(err, &coded) && coded.Code()&0xff == sqliteBusy {
		return fmt.Errorf("%w: %w", lifecycle.ErrUnavailable, err)
	}
	return err
}

// seconds is how hcom writes a time.
func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }
