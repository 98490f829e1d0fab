package postgresstore

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall-go/rollcall/internal/storekit"
)

//go:embed schema.sql
var schema string

const (
	product       = "github.com/rollcall-go/rollcall/postgresstore"
	schemaVersion = 1
)

// querier is what a transaction and a connection have in common.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// open finds the tables or makes them. It writes only if there is something to
// make.
func (s *Store) open(ctx context.Context) error {
	var found bool
	err := s.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) (err error) {
		if s.options.Schema == "" {
			if s.options.Schema, err = currentSchema(ctx, conn); err != nil {
				return err
			}
		}
		s.statements = storekit.NewStatements(defaultPrefix, pgx.Identifier{s.options.Schema}.Sanitize()+"."+s.options.Prefix)
		found, err = s.findTables(ctx, conn)
		return err
	})
	if found || err != nil {
		return err
	}
	return s.write(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error { return s.makeTables(ctx, tx) })
}

// currentSchema returns the first schema of the search path that exists.
func currentSchema(ctx context.Context, from querier) (string, error) {
	var current *string
	if err := from.QueryRow(ctx, "SELECT current_schema()::text").Scan(&current); err != nil {
		return "", err
	}
	if current == nil {
		return "", fmt.Errorf("%w: no schema of the search path exists", ErrInvalidOptions)
	}
	return *current, nil
}

// makeTables makes the tables, and their schema where it does not exist.
func (s *Store) makeTables(ctx context.Context, tx pgx.Tx) error {
	// Without the lock, processes that make the same table would fail.
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", product); err != nil {
		return err
	}
	if found, err := s.findTables(ctx, tx); found || err != nil {
		return err // another process was quicker
	}
	name := pgx.Identifier{s.options.Schema}.Sanitize()
	// CREATE SCHEMA IF NOT EXISTS would need the right to create one even if it
	// exists.
	var exists bool
	if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", s.options.Schema).Scan(&exists); err != nil {
		return err
	}
	if !exists {
		if _, err := tx.Exec(ctx, "CREATE SCHEMA "+name); err != nil {
			return err
		}
	}
	// Without arguments, one Exec may have several statements.
	_, err := tx.Exec(ctx, "SET LOCAL search_path = "+name+"; "+strings.ReplaceAll(schema, defaultPrefix, s.options.Prefix))
	return err
}

// made are the names that the schema makes, without the prefix.
var made = []string{"schema", "counters", "records", "records_owner", "records_parent", "registrations", "bindings", "events", "gate", "leases", "slots"}

// findTables reports whether the tables are there, and refuses those that this
// package did not make or that a newer version made. The host may have other tables
// that start with the prefix.
func (s *Store) findTables(ctx context.Context, from querier) (bool, error) {
	var names []string
	for _, name := range made {
		names = append(names, s.options.Prefix+name)
	}
	rows, err := from.Query(ctx, `SELECT c.relname::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relname = ANY($2::text[]) ORDER BY 1`, s.options.Schema, names)
	if err != nil {
		return false, err
	}
	taken, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(taken) == 0 {
		return false, err
	}
	if !slices.Contains(taken, s.options.Prefix+"schema") {
		return false, fmt.Errorf("%w: %s exists without %sschema", ErrForeignSchema, taken[0], s.options.Prefix)
	}
	if err := s.checkVersion(ctx, from); err != nil {
		return false, err
	}
	return true, nil
}

// checkVersion returns an error unless this version of the package, or an earlier
// one, made the tables.
func (s *Store) checkVersion(ctx context.Context, from querier) error {
	var version int
	err := from.QueryRow(ctx, s.sql(`SELECT version::integer FROM rollcall_schema WHERE product = $1`), product).Scan(&version)
	var failed *pgconn.PgError
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return fmt.Errorf("%w: %sschema is that of another product", ErrForeignSchema, s.options.Prefix)
	// No such column, an operator that does not fit its type, not a number, or
	// not a table at all.
	case errors.As(err, &failed) && slices.Contains([]string{"42703", "42883", "22P02", "42809"}, failed.Code):
		return fmt.Errorf("%w: %sschema is no table of this package: %w", ErrForeignSchema, s.options.Prefix, err)
	case err != nil:
		return err
	case version > schemaVersion:
		return fmt.Errorf("%w: %d, this package knows %d", ErrNewerSchema, version, schemaVersion)
	case version < 1:
		return fmt.Errorf("%w: version %d", ErrForeignSchema, version)
	}
	return nil
}
