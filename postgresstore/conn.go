package postgresstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// beginQuery begins a transaction, whatever settings the host has made.
//
// READ COMMITTED: each statement sees what was committed before it, and the
// transaction locks everything that must not change. At a higher level each
// conflict would be an error instead of a wait.
//
// The timeouts end a transaction whose client was cut off. Otherwise it would hold
// its locks until TCP notices.
//
// The advisory lock is that of the call. When a call tries again, its earlier
// transaction may still be about to commit, because the server learns later than
// the client that their connection was cut. Taking the lock waits until that
// transaction has ended.
const beginQuery = `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
SELECT set_config('lock_timeout', '%[1]d', true), set_config('statement_timeout', '%[1]d', true),
	set_config('idle_in_transaction_session_timeout', '%[1]d', true);
` + durableQuery + `;
SELECT pg_advisory_xact_lock(%[2]d)`

// durableQuery makes what the transaction acknowledges survive a crash of the server,
// even if the host has turned synchronous_commit off.
const durableQuery = `SELECT set_config('synchronous_commit',
	CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true)`

// write runs f in a transaction of its own, and again after an error that may not
// come again. It passes again if an earlier transaction, whose connection was cut in
// the commit, may have taken place. That transaction has ended by then.
func (s *Store) write(ctx context.Context, f func(ctx context.Context, tx pgx.Tx, again bool) error) error {
	timeout := max(1, s.options.BusyTimeout.Milliseconds()) // 0 would be none
	begin := pgx.TxOptions{BeginQuery: fmt.Sprintf(beginQuery, timeout, rand.Int64())}
	unknown := false
	err := s.attempt(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		tx, err := conn.BeginTx(ctx, begin)
		if err != nil {
			return err
		}
		defer s.rollback(ctx, tx)
		if err := f(ctx, tx, unknown); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		// Canceling ctx interrupts f. It must not interrupt the commit: nobody
		// would know whether the transaction took place.
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.BusyTimeout)
		defer cancel()
		if err := tx.Commit(end); err != nil {
			unknown = unknown || !refused(err)
			return err
		}
		unknown = false
		return nil
	})
	if err != nil && unknown {
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	return err
}

// rollback ends a transaction that was not committed, together with its connection
// if it has to.
func (s *Store) rollback(ctx context.Context, tx pgx.Tx) {
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.BusyTimeout)
	defer cancel()
	_ = tx.Rollback(end) // fails after a commit, by design
}

// refused reports whether an error of COMMIT means that nothing was committed. A
// server that is being shut down says FATAL, and may do so after the commit.
func refused(err error) bool {
	var failed *pgconn.PgError
	return errors.Is(err, pgx.ErrTxCommitRollback) || errors.As(err, &failed) && failed.SeverityUnlocalized == "ERROR"
}

// read runs f on one connection, and again after an error that may not come again.
func (s *Store) read(ctx context.Context, f func(context.Context, *pgxpool.Conn) error) error {
	return s.attempt(ctx, f)
}

// attempt lends f a connection until it succeeds, fails for good, or has used up
// BusyTimeout.
func (s *Store) attempt(ctx context.Context, f func(context.Context, *pgxpool.Conn) error) error {
	limited, cancel := context.WithTimeout(ctx, s.options.BusyTimeout)
	defer cancel()
	for {
		pause, err := s.once(limited, f)
		if err == nil {
			return nil
		}
		if pause > 0 {
			select {
			case <-limited.Done():
			case <-time.After(pause/2 + rand.N(pause)):
			}
		}
		switch ctxErr := ctx.Err(); {
		case ctxErr != nil && errors.Is(err, ctxErr):
			return err
		case ctxErr != nil:
			return fmt.Errorf("%w: %w", ctxErr, err)
		case limited.Err() != nil:
			return fmt.Errorf("%w: %w", lifecycle.ErrUnavailable, err)
		case pause == 0:
			return err
		}
	}
}

// How long to wait before the next attempt: after a conflict with another
// transaction, and for a server that is away.
const (
	conflictPause = 2 * time.Millisecond
	outagePause   = 50 * time.Millisecond
)

// once makes one attempt. With an error it returns how long to wait before the next
// attempt, or 0 if another one would not help.
func (s *Store) once(ctx context.Context, f func(context.Context, *pgxpool.Conn) error) (pause time.Duration, err error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return pauseOf(err, isConnectError(err)), err
	}
	defer conn.Release()
	raw := conn.Conn() // f may take it out of the pool
	err = f(ctx, conn)
	return pauseOf(err, raw.IsClosed()), err
}

func isConnectError(err error) bool {
	var failed *pgconn.ConnectError
	return errors.As(err, &failed)
}

// pauseOf tells errors that may not come again from those that will
// (https://www.postgresql.org/docs/current/errcodes-appendix.html). broken says
// that the connection broke, or never came about.
func pauseOf(err error, broken bool) time.Duration {
	if err == nil {
		return 0
	}
	var failed *pgconn.PgError
	if !errors.As(err, &failed) {
		if broken && !errors.Is(err, errLeftOpen) {
			return outagePause
		}
		return 0
	}
	switch failed.Code {
	case "40001", "40P01", "55P03", // serialization failure, deadlock, lock timeout
		"57014": // statement timeout, or no time to let a client in
		return conflictPause
	case "57P01", "57P02", "57P03", // shutdown, crash, starting up
		"53300", "25P03", "25P04", "57P05": // too many connections, idle or in a transaction for too long
		return outagePause
	}
	if failed.Code[:min(2, len(failed.Code))] == "08" { // connection exceptions
		return outagePause
	}
	return 0
}
