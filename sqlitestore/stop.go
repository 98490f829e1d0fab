package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
)

// groupSize is how many records one statement is about. What database/sql and a
// driver add to a statement is then little beside the work itself, and SQLite
// before 3.32, which takes 999 values, takes the 8 of each event.
const groupSize = 64

// A batch is stopped by transactions. Other writers of the file wait for each, and
// get their turn between two of them only if they happen to try then: SQLite has
// no queue, and who waits for its write lock looks again after 1, 2, 5, 10, 15 ms
// and so on. So what can be done without the lock is done before: reading, for
// planned records, takes about as long as the writing, and leaves the lock alone
// for as long. But what another writer changed meanwhile has to be read again, with
// the lock. Where another writer is seen, the pass then pauses for half as long as
// it held the lock, so that this one gets its turn.
const (
	planned = 512
	// writeTime is how long one transaction of a batch goes on taking records in.
	writeTime = 20 * time.Millisecond
)

// Stop implements [lifecycle.Store].
func (s *Store) Stop(ctx context.Context, record lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	return storekit.StopOne(ctx, s, record, cause)
}

// StopBatch implements [lifecycle.BatchStopper], in transactions of at most about
// 20 ms. After one that found that another connection had written it pauses for 20 ms
// at most.
func (s *Store) StopBatch(ctx context.Context, stops []lifecycle.Stop) (done int, err error) {
	for done < len(stops) {
		rest := stops[done:]
		n, err := s.stopSome(ctx, rest, groupSize)
		if _, ok := errors.AsType[*stopError](err); ok && len(rest) > 1 {
			// Something was wrong with one of a group, and undid the
			// transaction: find out which. Those before it are good by
			// themselves.
			n, err = s.stopSome(ctx, rest, 1)
			if failed, ok := errors.AsType[*stopError](err); ok && failed.index > 0 {
				n, err = s.stopSome(ctx, rest[:failed.index], groupSize)
			}
		}
		done += n
		if err != nil {
			return done, fmt.Errorf("sqlitestore: stop %q: %w", stops[done].Record.Name, err)
		}
	}
	return done, nil
}

// stopError is the error of a group of records, which begins at index.
type stopError struct {
	index int
	err   error
}

func (e *stopError) Error() string { return e.err.Error() }
func (e *stopError) Unwrap() error { return e.err }

// stopSome stops the first of the given records in one transaction, by groups: at
// least one group, and as many as it gets to in writeTime. With an error, none.
func (s *Store) stopSome(ctx context.Context, stops []lifecycle.Stop, size int) (n int, err error) {
	stops = stops[:min(planned, len(stops))]
	var forOthers time.Duration
	err = s.attempt(ctx, durable, func(ctx context.Context, conn *sql.Conn) error {
		n, forOthers = 0, 0
		tx := &stopTx{store: s, conn: conn}
		defer tx.close()
		version, err := tx.version(ctx)
		if err != nil {
			return err
		}
		var plans []*plan
		for group := range slices.Chunk(stops, size) {
			plan, err := tx.plan(ctx, group)
			if err != nil {
				return &stopError{len(plans) * size, err}
			}
			plans = append(plans, plan)
		}
		var locked time.Time
		outdated := false // somebody else has written since
		// A transaction that cannot be ended takes the connection along, and no
		// statement may be closed after that.
		tx.close()
		err = transact(ctx, conn, func(ctx context.Context, conn *sql.Conn) error {
			defer tx.close()
			locked = time.Now()
			now, err := tx.version(ctx)
			if err != nil {
				return err
			}
			if outdated = now != version; outdated {
				tx.gone = nil
			}
			for i, group := range plans {
				if i > 0 && time.Since(locked) > writeTime {
					break
				}
				if outdated {
					group, err = tx.plan(ctx, group.stops)
				}
				if err == nil {
					err = tx.carryOut(ctx, group)
				}
				if err != nil {
					return &stopError{n, err}
				}
				n += len(group.stops)
			}
			return nil
		})
		if outdated {
			forOthers = min(time.Since(locked)/2, writeTime)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	if forOthers > 0 {
		select {
		case <-time.After(forOthers):
		case <-ctx.Done(): // what was stopped is stopped
		}
	}
	return n, nil
}
