package postgresstore

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// checkFence returns ErrFenced unless the store has the current lease of its
// machine, or the machine has none. The answer holds until the transaction ends. A
// store without an owner needs no lease.
func (s *Store) checkFence(ctx context.Context, tx pgx.Tx) error {
	if s.options.Owner == "" {
		return nil
	}
	epoch, err := s.lockLease(ctx, tx, s.options.Owner)
	if err == nil && epoch != s.epoch {
		return ErrFenced
	}
	return err
}

// epochFor returns the epoch of a record that is to be registered for a machine:
// that of the store's lease, or, in a store without an owner, that of the lease that
// the machine has.
func (s *Store) epochFor(ctx context.Context, tx pgx.Tx, owner string) (int64, error) {
	if s.options.Owner != "" {
		return s.epoch, s.checkFence(ctx, tx)
	}
	epoch, err := s.lockLease(ctx, tx, owner)
	if epoch < 0 {
		return 0, ErrFenced
	}
	return epoch, err
}

// lockLeaseQuery takes a lock that lets beats pass, and keeps everybody from taking
// the lease over before the transaction has ended.
const lockLeaseQuery = `SELECT epoch FROM rollcall_leases WHERE owner = $1 FOR KEY SHARE`

// lockLease returns the epoch of the lease of a machine, 0 if it has none, and keeps
// others from taking it over.
func (s *Store) lockLease(ctx context.Context, tx pgx.Tx, owner string) (epoch int64, err error) {
	err = tx.QueryRow(ctx, s.sql(lockLeaseQuery), owner).Scan(&epoch)
	if errors.Is(err, pgx.ErrNoRows) {
		err = nil
	}
	return epoch, err
}
