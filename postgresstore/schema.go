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

// New returns a store over the pool, and makes its tables where there are none
// yet. Several processes may do so at once. A server that cannot be written to,
// such as a standby, is served for reading if it has the tables.
//
// The error matches [ErrNewerSchema], [ErrForeignSchema], [ErrInvalidOptions]
// or [lifecycle.ErrUnavailable], or wraps that of the driver.
func New(ctx context.Context, pool *pgxpool.Pool, options Options) (*Store, error) {
	if options.Prefix == "" {
		options.Prefix = defaultPrefix
	}
	options.Prefix = strings.ToLower(options.Prefix)
	if options.BusyTimeout <= 0 {
		options.BusyTimeout = defaultBusyTimeout
	}
	if pool == nil {
		return nil, fmt.Errorf("postgresstore: %w: no pool", ErrInvalidOptions)
	}
	if !isName(options.Prefix) {
		return nil, fmt.Errorf("postgresstore: %w: prefix %q", ErrInvalidOptions, options.Prefix)
	}
	for _, text := range []string{options.Schema, options.Owner} {
		if err := validateText(text); err != nil {
			return nil, fmt.Errorf("postgresstore: %w: %w", ErrInvalidOptions, err)
		}
	}
	s := &Store{pool: pool, options: options, channel: options.Prefix + "stopped"}
	if err := s.open(ctx); err != nil {
		return nil, fmt.Errorf("postgresstore: open tables %s*: %w", options.Prefix, err)
	}
	return s, nil
}

func isName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '_', 'a' <= c && c <= 'z', i > 0 && '0' <= c && c <= '9':
		default:
			return false
		}
	}
	return s != "" && len(s) <= maxPrefix
}

// open writes only if there is something to make.
func (s *Store) open(ctx context.Context) error {
	var found bool
	err := s.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) (err error) {
		if s.options.Schema == "" {
			var current *string
			if err := conn.QueryRow(ctx, "SELECT current_schema()::text").Scan(&current); err != nil {
				return err
			}
			if current == nil {
				return fmt.Errorf("%w: no schema of the search path exists", ErrInvalidOptions)
			}
			s.options.Schema = *current
		}
		s.statements = storekit.NewStatements(defaultPrefix, pgx.Identifier{s.options.Schema}.Sanitize()+"."+s.options.Prefix)
		found, err = s.findSchema(ctx, conn)
		return err
	})
	if found || err != nil {
		return err
	}
	return s.write(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		// Two that make the same table at once would get in each other's way.
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", product); err != nil {
			return err
		}
		if found, err := s.findSchema(ctx, tx); found || err != nil {
			return err // another process was quicker
		}
		name := pgx.Identifier{s.options.Schema}.Sanitize()
		var exists bool
		if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", s.options.Schema).Scan(&exists); err != nil {
			return err
		}
		if !exists {
			if _, err := tx.Exec(ctx, "CREATE SCHEMA "+name); err != nil {
				return err
			}
		}
		// Without arguments several statements may be run at once.
		_, err := tx.Exec(ctx, "SET LOCAL search_path = "+name+"; "+strings.ReplaceAll(schema, defaultPrefix, s.options.Prefix))
		return err
	})
}

// querier is what a transaction and a connection have in common.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// made are the names that the schema makes, without the prefix.
var made = []string{"schema", "counters", "records", "records_owner", "records_parent", "registrations", "bindings", "events", "gate", "leases", "slots"}

const versionQuery = `SELECT version::integer FROM rollcall_schema WHERE product = $1`

// findSchema reports whether the tables are there, and refuses those that are
// not ours or newer than we are. Other tables of the host may start with the
// prefix too.
func (s *Store) findSchema(ctx context.Context, from querier) (bool, error) {
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
	var version int
	err = from.QueryRow(ctx, s.sql(versionQuery), product).Scan(&version)
	var failed *pgconn.PgError
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, fmt.Errorf("%w: %sschema is that of another product", ErrForeignSchema, s.options.Prefix)
	// No such column, an operator that does not fit its type, no number, or
	// no table at all.
	case errors.As(err, &failed) && slices.Contains([]string{"42703", "42883", "22P02", "42809"}, failed.Code):
		return false, fmt.Errorf("%w: %sschema is no table of this package: %w", ErrForeignSchema, s.options.Prefix, err)
	case err != nil:
		return false, err
	case version > schemaVersion:
		return false, fmt.Errorf("%w: %d, this package knows %d", ErrNewerSchema, version, schemaVersion)
	case version < 1:
		return false, fmt.Errorf("%w: version %d", ErrForeignSchema, version)
	}
	return true, nil
}
