package postgresstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// LeaseOptions are the choices of [Store.Join]. The zero value is usable.
type LeaseOptions struct {
	// TTL is how long the lease holds after a beat; zero is 30 seconds. It is
	// how soon a lost machine is known to be lost, at the earliest, and how
	// long a machine may be cut off without being taken for lost.
	TTL time.Duration

	// OnBeat is called by [Lease.Run] after each beat, with its error or nil,
	// in the goroutine that beats. That the lease was taken over is what Run
	// returns.
	OnBeat func(error)

	// OnTakeOver is called by [Lease.Run] after it has looked for lost
	// machines and found some, with how many records this machine has
	// stopped, in a goroutine of its own.
	OnTakeOver func(stopped int, err error)
}

const (
	defaultTTL = 30 * time.Second
	// beatsPerTTL is how many beats may be tried while the lease holds.
	beatsPerTTL = 3
)

// Lease says that a machine lives. All processes of a machine share the one
// lease of its [Options.Owner]; each of them that writes joins, and one of them
// at least beats. It is safe for concurrent use.
type Lease struct {
	store   *Store
	options LeaseOptions
}

// since is the beginning of the time in which a machine has beaten without a
// gap. A gap is more than half of its TTL: then the machine cannot say that it was
// another one that did not beat. A server whose clock was set back counts from then
// on.
const since = `CASE WHEN clock_timestamp() BETWEEN beat_at AND beat_at + ttl / 2 THEN since ELSE clock_timestamp() END`

const lockEpochQuery = `SELECT value FROM rollcall_counters WHERE name = 'epoch' FOR UPDATE`

const leaseQuery = `SELECT epoch FROM rollcall_leases WHERE owner = $1 FOR NO KEY UPDATE`

const updateLeaseQuery = `UPDATE rollcall_leases SET ttl = $3, beat_at = clock_timestamp(), since = ` + since + ` WHERE owner = $1 AND epoch = $2`

const insertLeaseQuery = `INSERT INTO rollcall_leases AS l (owner, epoch, ttl, beat_at, since)
	VALUES ($1, $2, $3, clock_timestamp(), clock_timestamp())
	ON CONFLICT (owner) DO UPDATE SET epoch = excluded.epoch, ttl = excluded.ttl, beat_at = excluded.beat_at, since = excluded.since`

// Join takes the lease of this machine: the one that it holds, which counts as a
// beat, or a new one. A machine that has been taken for lost gets a new one, and
// can register records at once, while those of its past are still being stopped.
//
// Without a lease nobody ever says that this machine is lost. With one, all its
// processes must write through [Lease.Store]. A beat takes a connection of the
// pool like any other call, and waits for one when all are in use: a host whose
// own work may use all of them for long gives the lease a pool of its own.
//
// The error matches [ErrOwner] for a store without an owner.
func (s *Store) Join(ctx context.Context, options LeaseOptions) (*Lease, error) {
	if options.TTL < 0 {
		return nil, fmt.Errorf("postgresstore: join: %w: TTL %v", ErrInvalidOptions, options.TTL)
	}
	if options.TTL == 0 {
		options.TTL = defaultTTL
	}
	owner := s.options.Owner
	if owner == "" {
		return nil, fmt.Errorf("postgresstore: join: %w: the store has none", ErrOwner)
	}
	var epoch int64
	err := s.write(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		// One at a time: there may be no lease yet that could be locked.
		if _, err := tx.Exec(ctx, s.sql(lockEpochQuery)); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, s.sql(leaseQuery), owner).Scan(&epoch)
		switch {
		case err != nil && !errors.Is(err, pgx.ErrNoRows):
			return err
		case err == nil && epoch > 0:
			_, err = tx.Exec(ctx, s.sql(updateLeaseQuery), owner, epoch, options.TTL)
			return err
		}
		if epoch, _, err = s.next(ctx, tx, "epoch", 1); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, s.sql(insertLeaseQuery), owner, epoch, options.TTL)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("postgresstore: join as %q: %w", owner, unstorable(err))
	}
	leased := *s
	leased.epoch = epoch
	return &Lease{store: &leased, options: options}, nil
}

// Store returns the store with which this machine writes as long as it holds
// the lease. Once the lease was taken over every write fails with an error that
// matches [ErrFenced], for ever: a new lease has a new store.
func (l *Lease) Store() *Store { return l.store }

// Epoch is the number of the lease. A later lease of any machine has a higher
// one.
func (l *Lease) Epoch() int64 { return l.store.epoch }

const beatQuery = `UPDATE rollcall_leases SET beat_at = clock_timestamp(), since = ` + since + ` WHERE owner = $1 AND epoch = $2`

// Beat says that this machine lives, for all its records at once: the lease holds
// for another TTL. A lease that has run out is renewed as long as nobody has
// taken it over.
//
// The error matches [ErrFenced] when others have taken this machine for lost:
// its records are stopped, or will be. What still runs here has no record any
// more. It tries for a third of TTL at most; the error then matches
// [lifecycle.ErrUnavailable].
func (l *Lease) Beat(ctx context.Context) error {
	s := *l.store
	// A connection that was cut without a word must not take up the whole TTL.
	s.options.BusyTimeout = min(s.options.BusyTimeout, l.interval())
	err := s.attempt(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		// A batch is one round trip and one transaction. What was acknowledged
		// must survive a crash: this machine relies on it.
		var batch pgx.Batch
		batch.Queue(durableQuery)
		batch.Queue(s.sql(beatQuery), s.options.Owner, s.epoch)
		results := conn.SendBatch(ctx, &batch)
		_, err := results.Exec()
		if err != nil {
			return errors.Join(err, results.Close())
		}
		result, err := results.Exec()
		if err := errors.Join(err, results.Close()); err != nil {
			return err
		}
		if result.RowsAffected() == 0 {
			return ErrFenced
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("postgresstore: beat of %q: %w", s.options.Owner, err)
	}
	return nil
}

func (l *Lease) interval() time.Duration { return max(l.options.TTL/beatsPerTTL, time.Millisecond) }

// Run beats three times in each TTL, and looks as often for machines that are
// lost, until ctx ends or the lease was taken over. It returns the error of ctx,
// or one that matches [ErrFenced]. Every other error goes to OnBeat and
// OnTakeOver, and is tried again: a server that is away does not end it.
func (l *Lease) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	// Apart from the beats, which no amount of work may delay.
	wg.Go(func() {
		l.every(ctx, func() error {
			stopped, err := l.TakeOver(ctx)
			if l.options.OnTakeOver != nil && ctx.Err() == nil && !errors.Is(err, ErrFenced) && (stopped > 0 || err != nil) {
				l.options.OnTakeOver(stopped, err)
			}
			return err
		}, cancel)
	})
	l.every(ctx, func() error {
		err := l.Beat(ctx)
		if l.options.OnBeat != nil && ctx.Err() == nil && !errors.Is(err, ErrFenced) {
			l.options.OnBeat(err)
		}
		return err
	}, cancel)
	if err := context.Cause(ctx); errors.Is(err, ErrFenced) {
		return err
	}
	return fmt.Errorf("postgresstore: lease of %q: %w", l.store.options.Owner, ctx.Err())
}

// every calls f at each interval until ctx ends, and ends it when f says that
// the lease was taken over.
func (l *Lease) every(ctx context.Context, f func() error, end context.CancelCauseFunc) {
	ticker := time.NewTicker(l.interval())
	defer ticker.Stop()
	for {
		if err := f(); errors.Is(err, ErrFenced) {
			end(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
