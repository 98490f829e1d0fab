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
	// TTL is how long the lease holds after a beat; zero means 30 seconds. For so
	// long a machine may be cut off without being taken for lost, and no lost
	// machine is noticed sooner.
	TTL time.Duration

	// OnBeat is called by [Lease.Run] after each beat, with its error or nil,
	// in the goroutine that beats. It is not called for [ErrFenced], which Run
	// returns.
	OnBeat func(error)

	// OnTakeOver is called by [Lease.Run] after each [Lease.TakeOver] that has
	// stopped records or failed, in a goroutine of its own. stopped is how many
	// records this machine has stopped.
	OnTakeOver func(stopped int, err error)
}

const (
	defaultTTL = 30 * time.Second
	// beatsPerTTL is how many beats may be tried while the lease holds.
	beatsPerTTL = 3
)

// Lease says that a machine lives. All processes of a machine share the lease of its
// [Options.Owner]: each of them that writes joins, and at least one of them beats.
// It is safe for concurrent use.
//
// The lease holds for TTL after each beat, for all records of the machine. Nobody
// takes them over in that time. Once it has run out, the other machines may take it
// over: they stop the records of the machine with reason [lifecycle.ReasonHostLost],
// each once, in batches that they share. Every write locks the lease of its machine,
// so that it either commits before the take-over or fails with [ErrFenced]. All times
// are those of the server's clock: the clocks of the machines decide nothing.
//
// # Faults
//
// A machine that is cut off, or paused, for longer than TTL is taken for lost. Its
// next beat or write fails with [ErrFenced]. Its processes may still run, without a
// record. It joins again and registers anew. If nobody has taken it over yet, its
// next beat renews the lease.
//
// When the server was away, or its clock was set forward, the leases of all machines
// run out at once. A machine therefore takes over another only after it has itself
// been beating for the TTL of the other, without a gap of more than half of its own
// TTL: every machine has a whole TTL to beat first. If its own TTL is longer than
// that of the other, so are the gaps that it overlooks, and it waits for the mean of
// both. A clock that was set back delays a take-over by as much.
//
// The page docs/fleet.md of the repository lists these rules with their tests, and
// says what a fleet costs.
type Lease struct {
	store   *Store
	options LeaseOptions
}

// Join takes the lease of this machine: the one that it holds, which counts as a
// beat, or a new one. A machine that was taken for lost gets a new one. It can
// register records at once, while its earlier ones are still being stopped.
//
// Without a lease, nobody takes this machine for lost. With one, all its processes
// must write through [Lease.Store].
//
// A beat takes a connection of the pool like any other call, and waits for one when
// all are in use. A host whose own work may use all of them for long gives the lease
// a pool of its own.
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
	err := s.write(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) (err error) {
		epoch, err = s.takeLease(ctx, tx, options.TTL)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("postgresstore: join as %q: %w", owner, unstorable(err))
	}
	leased := *s
	leased.epoch = epoch
	return &Lease{store: &leased, options: options}, nil
}

// since is the beginning of the time in which a machine has been beating without a
// gap. A gap is longer than half of its TTL: after one, the machine cannot say that
// another was silent, and not itself. If the clock of the server was set back, the
// time begins anew.
const since = `CASE WHEN clock_timestamp() BETWEEN beat_at AND beat_at + ttl / 2 THEN since ELSE clock_timestamp() END`

const (
	lockEpochQuery   = `SELECT value FROM rollcall_counters WHERE name = 'epoch' FOR UPDATE`
	findLeaseQuery   = `SELECT epoch FROM rollcall_leases WHERE owner = $1 FOR NO KEY UPDATE`
	updateLeaseQuery = `UPDATE rollcall_leases SET ttl = $3, beat_at = clock_timestamp(), since = ` + since + ` WHERE owner = $1 AND epoch = $2`
	insertLeaseQuery = `INSERT INTO rollcall_leases AS l (owner, epoch, ttl, beat_at, since)
		VALUES ($1, $2, $3, clock_timestamp(), clock_timestamp())
		ON CONFLICT (owner) DO UPDATE SET epoch = excluded.epoch, ttl = excluded.ttl, beat_at = excluded.beat_at, since = excluded.since`
)

// takeLease renews the lease of this machine, or takes a new one if it has none or
// has lost it.
func (s *Store) takeLease(ctx context.Context, tx pgx.Tx, ttl time.Duration) (epoch int64, err error) {
	// One machine at a time joins: there may be no lease yet to lock.
	if _, err := tx.Exec(ctx, s.sql(lockEpochQuery)); err != nil {
		return 0, err
	}
	owner := s.options.Owner
	err = tx.QueryRow(ctx, s.sql(findLeaseQuery), owner).Scan(&epoch)
	switch {
	case err != nil && !errors.Is(err, pgx.ErrNoRows):
		return 0, err
	case err == nil && epoch > 0:
		_, err = tx.Exec(ctx, s.sql(updateLeaseQuery), owner, epoch, ttl)
		return epoch, err
	}
	if epoch, _, err = s.next(ctx, tx, "epoch", 1); err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, s.sql(insertLeaseQuery), owner, epoch, ttl)
	return epoch, err
}

// Store returns the store with which this machine writes as long as it holds the
// lease. Once others have taken the lease over, every write fails with an error that
// matches [ErrFenced]. That does not end with a new lease, which has a store of its
// own.
func (l *Lease) Store() *Store { return l.store }

// Epoch is the number of the lease. A later lease of any machine has a higher
// one.
func (l *Lease) Epoch() int64 { return l.store.epoch }

const renewQuery = `UPDATE rollcall_leases SET beat_at = clock_timestamp(), since = ` + since + ` WHERE owner = $1 AND epoch = $2`

// Beat says that this machine lives: the lease holds for another TTL, for all
// records of the machine. Beat also renews a lease that has run out, unless others
// have taken it over.
//
// The error matches [ErrFenced] when others have taken this machine for lost. They
// have stopped its records, or will. What still runs here has no record any more.
//
// The error matches [lifecycle.ErrUnavailable] when a third of TTL was not enough.
func (l *Lease) Beat(ctx context.Context) error {
	s := *l.store
	// One connection that was cut must not use up the whole TTL.
	s.options.BusyTimeout = min(s.options.BusyTimeout, l.interval())
	err := s.attempt(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		// A batch is one round trip and one transaction. It must survive a crash
		// of the server: this machine relies on it.
		var batch pgx.Batch
		batch.Queue(durableQuery)
		batch.Queue(s.sql(renewQuery), s.options.Owner, s.epoch)
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

// Run beats three times in each TTL, and calls [Lease.TakeOver] as often, until ctx
// ends or others have taken the lease over. It returns the error of ctx, or one that
// matches [ErrFenced]. Every other error goes to OnBeat or OnTakeOver, and Run tries
// again: it goes on while the server is away.
func (l *Lease) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	// In another goroutine than the beats: no amount of work may delay them.
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

// every calls f at each interval until ctx ends. It ends ctx when f says that the
// lease was taken over.
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
