package sqlitestore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"sync/atomic"
	"testing"

	qt "github.com/frankban/quicktest"
)

// spy is a driver that shows a test every statement of a connection, before
// and after it was executed or, where it is prepared, after that. An error
// that the test returns is the statement's.
type spy struct {
	dsn           string
	before, after func(conn driver.Conn, query string) error
	closed        atomic.Int32 // connections
}

// openSpied opens a database with one connection under the eyes of s.
func openSpied(t testing.TB, s *spy) *sql.DB {
	db := sql.OpenDB(s)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

func (s *spy) Connect(context.Context) (driver.Conn, error) {
	db, err := sql.Open("sqlite", s.dsn)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	conn, err := db.Driver().Open(s.dsn)
	return &spiedConn{conn, s}, err
}

func (s *spy) Driver() driver.Driver { return nil }

type spiedConn struct {
	driver.Conn
	spy *spy
}

func (c *spiedConn) watch(query string, f func() (io.Closer, error)) error {
	if c.spy.before != nil {
		if err := c.spy.before(c.Conn, query); err != nil {
			return err
		}
	}
	closer, err := f()
	if err != nil || c.spy.after == nil {
		return err
	}
	err = c.spy.after(c.Conn, query)
	if err != nil && closer != nil {
		closer.Close()
	}
	return err
}

func (c *spiedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (result driver.Result, err error) {
	err = c.watch(query, func() (_ io.Closer, err error) {
		result, err = c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
		return nil, err
	})
	return result, err
}

func (c *spiedConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (rows driver.Rows, err error) {
	err = c.watch(query, func() (_ io.Closer, err error) {
		rows, err = c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
		return rows, err
	})
	return rows, err
}

func (c *spiedConn) PrepareContext(ctx context.Context, query string) (statement driver.Stmt, err error) {
	err = c.watch(query, func() (_ io.Closer, err error) {
		statement, err = c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
		return statement, err
	})
	return statement, err
}

func (c *spiedConn) Close() error {
	c.spy.closed.Add(1)
	return c.Conn.Close()
}

func (c *spiedConn) ResetSession(ctx context.Context) error {
	return c.Conn.(driver.SessionResetter).ResetSession(ctx)
}

func (c *spiedConn) IsValid() bool { return c.Conn.(driver.Validator).IsValid() }

// pragma reads a setting on a connection of the driver.
func pragma(t testing.TB, conn driver.Conn, name string) any {
	c := qt.New(t)
	rows, err := conn.(driver.QueryerContext).QueryContext(context.Background(), "PRAGMA "+name, nil)
	c.Assert(err, qt.IsNil)
	defer rows.Close()
	value := make([]driver.Value, 1)
	c.Assert(rows.Next(value), qt.IsNil)
	c.Assert(rows.Next(make([]driver.Value, 1)), qt.Equals, io.EOF)
	return value[0]
}
