package sqlitestore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/rollcall-go/rollcall/lifecycle"
)

type durability bool

const (
	// durable makes the commit wait until the transaction is on disk.
	durable durability = true
	// quick leaves synchronous as the host has set it.
	quick durability = false
)

// attemptTimeout is the busy_timeout of one attempt. It is short because SQLite does
// not look at the context while it waits; attempts are repeated until
// Options.BusyTimeout is over.
const attemptTimeout = 250 * time.Millisecond

// synchronousExtra is the value of PRAGMA synchronous with which a commit survives a
// loss of power in every journal mode that keeps its journal in a file
// (https://www.sqlite.org/pragma.html#pragma_synchronous). In WAL mode it does what
// FULL does. With a rollback journal a commit is the deletion of the journal, and FULL
// does not sync the directory after it.
const synchronousExtra = 3

// write runs f in a transaction, and again after SQLITE_BUSY.
func (s *Store) write(ctx context.Context, d durability, f func(context.Context, *sql.Conn) error) error {
	return s.attempt(ctx, d, func(ctx context.Context, conn *sql.Conn) error { return transact(ctx, conn, f) })
}

// transact runs f in a transaction. It takes the write lock first (BEGIN IMMEDIATE): a
// transaction that reads first and then finds another writer fails at once, whatever
// the timeout.
func transact(ctx context.Context, conn *sql.Conn, f func(context.Context, *sql.Conn) error) error {
	// A cancelled context ends f, whose error rolls back. It must not interrupt
	// COMMIT or ROLLBACK: the outcome would be unknown.
	end := context.WithoutCancel(ctx)
	ours := true
	defer func() {
		if ours {
			rollback(end, conn)
		}
	}()
	// A BEGIN that fails may still have begun a transaction: a driver returns the
	// error of a context that was cancelled in the meantime. The transaction is not
	// ours, however, if the host left one of its own open on the connection.
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		ours = !inTransaction(err)
		return err
	}
	if err := f(ctx, conn); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := conn.ExecContext(end, "COMMIT"); err != nil {
		return err
	}
	ours = false
	return nil
}

// inTransaction reports whether SQLite refused a statement because the connection is
// in a transaction. There is no code for that, only a text.
func inTransaction(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "within a transaction") || strings.Contains(err.Error(), "inside a transaction"))
}

// rollback ends the transaction of a connection, or else closes the connection.
func rollback(ctx context.Context, conn *sql.Conn) {
	if _, err := conn.ExecContext(ctx, "ROLLBACK"); err == nil {
		return
	}
	// Either there is no transaction, because none was begun or SQLite ended it by
	// itself (https://www.sqlite.org/lang_transaction.html), or there is one that
	// stays. In the first case BEGIN succeeds; in both a ROLLBACK that succeeds proves
	// that none is left. Closing the connection is the last resort, because a database
	// in memory goes with it.
	_, _ = conn.ExecContext(ctx, "BEGIN")
	if _, err := conn.ExecContext(ctx, "ROLLBACK"); err != nil {
		discard(conn)
	}
}

// read runs f on one connection, and again after SQLITE_BUSY.
func (s *Store) read(ctx context.Context, f func(context.Context, *sql.Conn) error) error {
	return s.attempt(ctx, quick, f)
}

// attempt calls f with a connection that is set up, and repeats that after SQLITE_BUSY
// until Options.BusyTimeout is over.
func (s *Store) attempt(ctx context.Context, d durability, f func(context.Context, *sql.Conn) error) error {
	deadline := time.Now().Add(s.options.BusyTimeout)
	for {
		err := s.borrow(ctx, d, f)
		if ctxErr := ctx.Err(); ctxErr != nil && err != nil && !errors.Is(err, ctxErr) {
			return fmt.Errorf("%w: %w", ctxErr, err)
		}
		if !isBusy(err) {
			return err
		}
		if !time.Now().Before(deadline) {
			return fmt.Errorf("%w: %w", lifecycle.ErrUnavailable, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond + rand.N(4*time.Millisecond)):
		}
	}
}

// borrow calls f with a connection that is set up, and restores its settings after.
func (s *Store) borrow(ctx context.Context, d durability, f func(context.Context, *sql.Conn) error) (err error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	var timeout, synchronous int
	if err := conn.QueryRowContext(ctx, "PRAGMA busy_timeout").Scan(&timeout); err != nil {
		return err
	}
	// A timeout of 0 is left alone: the host may have a busy handler, which setting a
	// timeout would remove. Without one an attempt fails at once, and is repeated.
	if want := int(min(attemptTimeout, s.options.BusyTimeout) / time.Millisecond); timeout != 0 && timeout != want {
		defer restore(ctx, conn, "busy_timeout", timeout)
		if err := setPragma(ctx, conn, "busy_timeout", want); err != nil {
			return err
		}
	}
	if d == durable {
		if err := conn.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&synchronous); err != nil {
			return err
		}
		if synchronous < synchronousExtra {
			// A PRAGMA that fails may still have taken effect, except in a
			// transaction of the host's.
			err := setPragma(ctx, conn, "synchronous", synchronousExtra)
			if !inTransaction(err) {
				defer restore(ctx, conn, "synchronous", synchronous)
			}
			if err != nil {
				return err
			}
		}
	}
	return f(ctx, conn)
}

func setPragma(ctx context.Context, conn *sql.Conn, name string, value int) error {
	// Some pragmas return a row, some do not.
	rows, err := conn.QueryContext(ctx, fmt.Sprintf("PRAGMA %s = %d", name, value))
	if err != nil {
		return err
	}
	for rows.Next() {
	}
	return errors.Join(rows.Err(), rows.Close())
}

// restore restores a setting of the host's, or else closes the connection.
func restore(ctx context.Context, conn *sql.Conn, name string, value int) {
	if err := setPragma(context.WithoutCancel(ctx), conn, name, value); err != nil {
		discard(conn)
	}
}

// discard makes the pool close the connection instead of using it again.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
}

// isBusy reports whether err is SQLITE_BUSY or SQLITE_LOCKED, in any of their extended
// forms. Each driver has its own error type; what they have in common is a method Code
// or SQLite's English text (https://www.sqlite.org/rescode.html).
func isBusy(err error) bool {
	if err == nil {
		return false
	}
	var coded interface{ Code() int }
	if errors.As(err, &coded) {
		code := coded.Code() & 0xff
		return code == 5 || code == 6
	}
	text := err.Error()
	return strings.Contains(text, "database is locked") || strings.Contains(text, "table is locked") || strings.Contains(text, "SQLITE_BUSY")
}
