package sqlitestore

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"strings"
)

const (
	product       = "github.com/rollcall-go/rollcall/sqlitestore"
	schemaVersion = 1
)

//go:embed schema.sql
var schema string

// open makes the tables. It takes the write lock only if there are none.
func (s *Store) open(ctx context.Context) error {
	var found bool
	err := s.read(ctx, func(ctx context.Context, conn *sql.Conn) (err error) {
		found, err = s.findSchema(ctx, conn)
		return err
	})
	if found || err != nil {
		return err
	}
	return s.write(ctx, durable, func(ctx context.Context, conn *sql.Conn) error {
		if found, err := s.findSchema(ctx, conn); found || err != nil {
			return err // another process was faster
		}
		_, err := conn.ExecContext(ctx, s.sql(schema))
		return err
	})
}

const (
	selectVersion = `SELECT CAST(version AS INTEGER) FROM rollcall_schema WHERE product = ?`
	countColumns  = `SELECT count(*) FROM pragma_table_info('rollcall_schema') WHERE name IN ('product', 'version')`
)

// findSchema reports whether the tables exist. Its error is about those that this
// package did not make, or that a newer version of it made.
func (s *Store) findSchema(ctx context.Context, conn *sql.Conn) (bool, error) {
	stamped, other, err := s.taken(ctx, conn)
	switch {
	case err != nil:
		return false, err
	case !stamped && other != "":
		return false, fmt.Errorf("%w: %s exists without %sschema", ErrForeignSchema, other, s.options.Prefix)
	case !stamped:
		return false, nil
	}
	var version int
	err = conn.QueryRowContext(ctx, s.sql(selectVersion), product).Scan(&version)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return false, fmt.Errorf("%w: %sschema is that of another product", ErrForeignSchema, s.options.Prefix)
	case err != nil:
		// Either this package did not make the table, or it could not be read.
		var columns int
		if conn.QueryRowContext(ctx, s.sql(countColumns)).Scan(&columns) == nil && columns != 2 {
			err = fmt.Errorf("%w: %sschema is not a table of this package: %w", ErrForeignSchema, s.options.Prefix, err)
		}
		return false, err
	case version > schemaVersion:
		return false, fmt.Errorf("%w: %d, this package knows %d", ErrNewerSchema, version, schemaVersion)
	case version < 1:
		return false, fmt.Errorf("%w: version %d", ErrForeignSchema, version)
	}
	return true, nil
}

// SQL names ignore case.
const selectTaken = `SELECT name FROM sqlite_master WHERE name COLLATE NOCASE IN ('rollcall_schema',
	'rollcall_records', 'rollcall_records_parent', 'rollcall_bindings', 'rollcall_events', 'rollcall_gate')`

// taken looks for the names in the schema: stamped is that of the schema table, other
// is any other. The host may have more tables that start with the prefix.
func (s *Store) taken(ctx context.Context, conn *sql.Conn) (stamped bool, other string, err error) {
	rows, err := conn.QueryContext(ctx, s.sql(selectTaken))
	if err != nil {
		return false, "", err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return false, "", err
		}
		if strings.EqualFold(name, s.options.Prefix+"schema") {
			stamped = true
		} else {
			other = name
		}
	}
	return stamped, other, rows.Err()
}
