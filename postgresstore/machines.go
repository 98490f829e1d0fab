package postgresstore

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Machine describes the lease of a machine.
type Machine struct {
	// Owner is the machine.
	Owner string
	// Epoch is the number of its lease, or 0 if others have taken it over.
	Epoch int64
	// TTL is how long the lease holds after a beat.
	TTL time.Duration
	// Silent is how long ago the last beat was, by the clock of the server.
	Silent time.Duration
	// Past is the highest epoch whose records are still being stopped, or 0. A
	// machine that has come back has a new lease as well.
	Past int64
}

// Expired reports whether the lease has run out. Until others take it over, the
// machine may still renew it.
func (m Machine) Expired() bool { return m.Silent > m.TTL }

const machinesQuery = `SELECT owner, greatest(epoch, 0), ttl, clock_timestamp() - beat_at, lost FROM rollcall_leases ORDER BY owner`

// Machines returns the machines that have a lease, and those that were lost and
// have records left, by owner.
func (s *Store) Machines(ctx context.Context) (machines []Machine, err error) {
	err = s.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		rows, err := conn.Query(ctx, s.sql(machinesQuery))
		if err == nil {
			machines, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Machine])
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("postgresstore: read machines: %w", err)
	}
	return machines, nil
}
