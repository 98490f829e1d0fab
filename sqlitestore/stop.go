package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
)

// SQLite has no queue of writers. One that waits tries again after 1, 2, 5, 10, 15 ms
// and so on, and gets the lock only if it tries between two transactions of a batch. So
// StopBatch keeps transactions short and looks rows up before it takes the lock. If
// another connection has written in the meantime, it looks them up again with the lock,
// few at a time.
// For a second from then on its transactions are shorter, and it pauses after each for
// as long as it held the lock.
const (
	// maxWriteTime is how long a transaction goes on to stop more records.
	maxWriteTime = 20 * time.Millisecond
	// maxSharedWriteTime is maxWriteTime while there are other writers.
	maxSharedWriteTime = 8 * time.Millisecond
	// sharedTime is how long StopBatch goes on to expect another writer.
	sharedTime = time.Second
	// maxLookedUp is how many rows are looked up for a transaction.
	maxLookedUp = 1024
	// maxSet is how many records, and how many of their descendants, are stopped
	// between two looks at the clock; maxSharedSet while there are other writers, or
	// where the host has a hook. A hook may take long: there a transaction begins with
	// minHookSet. SQLite before 3.32 takes at most 999 values.
	maxSet       = 256
	maxSharedSet = 64
	minHookSet   = 8
	// maxSetBytes is about how much Data is put into sets before they are stopped.
	maxSetBytes = 1 << 20
)

// Stop implements [lifecycle.Store].
func (s *Store) Stop(ctx context.Context, record lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	return storekit.StopOne(ctx, s, record, cause)
}

// StopBatch implements [lifecycle.BatchStopper], in transactions of about 20 ms at
// most. While other connections write too, it takes shorter ones and pauses between
// them.
func (s *Store) StopBatch(ctx context.Context, stops []lifecycle.Stop) (done int, err error) {
	suspects := 0
	for done < len(stops) {
		rest := stops[done:]
		var n int
		var pause time.Duration
		n, suspects, pause, err = s.stopSome(ctx, rest, suspects)
		done += n
		if err != nil {
			for i := range rest { // what was undone must not look done
				rest[i].Outcome, rest[i].Descendants = 0, nil
			}
			return done, fmt.Errorf("sqlitestore: stop %q: %w", stops[done].Record.Name, err)
		}
		if done < len(stops) {
			giveWay(ctx, pause)
		}
	}
	return done, nil
}

// stopSome stops at least the first of the given records, and returns how many, and
// for how long to let others write. With an error it stopped none, and the error is
// about the first. The suspects are the first records that were in a set which failed,
// and are not done: one of them is why.
func (s *Store) stopSome(ctx context.Context, stops []lifecycle.Stop, suspects int) (n, stillSuspects int, pause time.Duration, err error) {
	how := inSets
	if suspects > 0 {
		stops, how = stops[:suspects], oneByOne
	}
	for {
		n, pause, err = s.stopInOne(ctx, stops, how)
		failed, ok := errors.AsType[*stopError](err)
		switch {
		case ok && failed.index > 0: // stop those before it, and return its error next time
			stops = stops[:failed.index]
		case ok && failed.inSets > 0: // find out which record it was
			suspects = failed.inSets
			stops, how = stops[:suspects], oneByOne
		default:
			return n, max(0, suspects-n), pause, err
		}
	}
}

// stopError is the error of the record at an index, or of one of those that were in
// sets from there on. It undoes the transaction.
type stopError struct {
	index  int
	inSets int
	err    error
}

func (e *stopError) Error() string { return e.err.Error() }
func (e *stopError) Unwrap() error { return e.err }

type manner bool

const (
	// inSets stops many records with each statement, where they are simple.
	inSets manner = true
	// oneByOne stops each record with statements of its own.
	oneByOne manner = false
)

// stopInOne stops as many of the first records as one transaction can in maxWriteTime.
func (s *Store) stopInOne(ctx context.Context, stops []lifecycle.Stop, how manner) (n int, pause time.Duration, err error) {
	stops = stops[:min(len(stops), maxLookedUp)]
	var tx *stopTx
	err = s.attempt(ctx, durable, func(ctx context.Context, conn *sql.Conn) error {
		tx = &stopTx{store: s, conn: conn, how: how}
		if len(stops) == 1 || !s.canStopSets(ctx, conn) {
			tx.how = oneByOne
		}
		version, err := dataVersion(ctx, conn)
		if err != nil {
			return err
		}
		err = tx.lookUp(ctx, stops)
		tx.close() // see stopFound
		if err != nil {
			return err
		}
		return transact(ctx, conn, func(ctx context.Context, _ *sql.Conn) error {
			return tx.stopFound(ctx, stops, version)
		})
	})
	if err != nil {
		return 0, 0, err
	}
	if tx.shared {
		pause = min(time.Since(tx.began), maxWriteTime)
	}
	return tx.done, pause, nil
}

// dataVersion returns a number that changes when another connection writes
// (https://www.sqlite.org/pragma.html#pragma_data_version).
func dataVersion(ctx context.Context, conn *sql.Conn) (n int64, err error) {
	err = conn.QueryRowContext(ctx, "PRAGMA data_version").Scan(&n)
	return n, err
}

// stopTx is a transaction that stops records, in order.
type stopTx struct {
	store    *Store
	conn     *sql.Conn
	how      manner
	began    time.Time
	limit    time.Duration // see maxWriteTime
	size     int           // see maxSet
	shared   bool          // another connection has written lately
	outdated bool          // another connection has written since the rows were looked up
	found    []found       // of the stops that are not done, in order
	prepared map[string]*sql.Stmt
	children map[string][]child // of the next records to be stopped, by their names
	taken    map[int64]bool     // rows that are stopped or in sets
	done     int                // stops that are done
	sets     []set              // the next to be stopped
	pending  int                // stops that are done once sets are
	bytes    int                // of Data in sets
}

// stopFound stops records that were looked up when the database had a version, and
// looks them up again if it has another one.
func (tx *stopTx) stopFound(ctx context.Context, stops []lifecycle.Stop, version int64) error {
	// Close statements before transact has to close the connection: a driver panics
	// otherwise.
	defer tx.close()
	tx.began = time.Now()
	now, err := dataVersion(ctx, tx.conn)
	if err != nil {
		return err
	}
	tx.outdated = now != version
	if tx.outdated {
		tx.store.othersWrote.Store(&tx.began)
	}
	last := tx.store.othersWrote.Load()
	tx.shared = last != nil && tx.began.Sub(*last) < sharedTime
	return tx.stop(ctx, stops)
}

// stop stops records until time is up. It puts simple ones into sets, and stops these
// before the next one that is not.
func (tx *stopTx) stop(ctx context.Context, stops []lifecycle.Stop) error {
	tx.taken = make(map[int64]bool, len(stops))
	tx.limit, tx.size = maxWriteTime, maxSet
	if tx.shared {
		tx.limit, tx.size = maxSharedWriteTime, maxSharedSet
	}
	hasHook := tx.store.options.OnStop != nil
	if hasHook {
		tx.size = minHookSet
	}
	for len(stops) > 0 && (tx.done == 0 || !tx.timeIsUp()) {
		began := time.Now()
		n, err := tx.stopFirst(ctx, stops)
		if err != nil {
			return err
		}
		stops, tx.found = stops[n:], tx.found[n:]
		if hasHook && tx.size < maxSharedSet && time.Since(began) < tx.limit/8 {
			tx.size *= 2
		}
	}
	return nil
}

// stopFirst stops the first records, and returns how many.
func (tx *stopTx) stopFirst(ctx context.Context, stops []lifecycle.Stop) (n int, err error) {
	stops = stops[:min(tx.size, len(stops))]
	if tx.outdated {
		if err := tx.lookUp(ctx, stops); err != nil {
			return 0, err
		}
	}
	if stops, err = tx.lookUpFamilies(ctx, stops, tx.size); err != nil {
		return 0, err
	}
	return len(stops), tx.stopLookedUp(ctx, stops)
}

func (tx *stopTx) timeIsUp() bool { return time.Since(tx.began) >= tx.limit }

// stopLookedUp stops records whose rows are the first in found, until time is up.
func (tx *stopTx) stopLookedUp(ctx context.Context, stops []lifecycle.Stop) error {
	for i := range stops {
		if !tx.put(tx.found[i], &stops[i]) {
			if err := tx.stopOne(ctx, &stops[i]); err != nil || tx.timeIsUp() {
				return err
			}
			continue
		}
		if tx.bytes > maxSetBytes {
			if err := tx.stopSets(ctx); err != nil {
				return err
			}
		}
	}
	return tx.stopSets(ctx)
}

// giveWay pauses to let other writers in.
func giveWay(ctx context.Context, pause time.Duration) {
	select {
	case <-time.After(pause):
	case <-ctx.Done(): // what was stopped is stopped
	}
}

func (tx *stopTx) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if statement := tx.prepared[query]; statement != nil {
		return statement, nil
	}
	statement, err := tx.conn.PrepareContext(ctx, tx.store.sql(query))
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

// execOn executes a statement that must affect n rows.
func (tx *stopTx) execOn(ctx context.Context, n int, query string, args ...any) (sql.Result, error) {
	result, err := tx.exec(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	if affected, err := result.RowsAffected(); affected != int64(n) || err != nil {
		return nil, errors.Join(fmt.Errorf("%d rows affected, not %d", affected, n), err)
	}
	return result, nil
}

// close closes the statements.
func (tx *stopTx) close() {
	for _, statement := range tx.prepared {
		statement.Close()
	}
	tx.prepared = nil
}
