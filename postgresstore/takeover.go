package postgresstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// TakeOver stops the records of lost machines: those whose lease has run out
// while this one, for just as long, had no trouble to beat. It returns how many
// records it has stopped. Other machines that do so at the same time share the
// work. All records of a lost machine are stopped, also launching and inactive
// ones: nobody else would ever judge them. Descendants on other machines are
// not.
//
// It goes on until there is nothing left to do, or four others are at it: more at
// once would only wait for each other, and keep the server from answering beats.
// One record's error, which only OnStop can cause, keeps neither the others from
// being stopped nor the next call from trying again; the errors are returned
// joined. The error matches [ErrFenced] when this machine itself was taken for
// lost.
func (l *Lease) TakeOver(ctx context.Context) (stopped int, err error) {
	owners, err := l.gone(ctx)
	if err == nil && len(owners) > 0 {
		stopped, err = l.stopLost(ctx)
	}
	if err != nil {
		return stopped, fmt.Errorf("postgresstore: take over: %w", err)
	}
	return stopped, nil
}

const goneQuery = `SELECT owner FROM rollcall_leases WHERE lost > 0 OR epoch > 0 AND clock_timestamp() > beat_at + ttl`

// gone returns the machines that may be lost, or were found to be. It is a
// reading, and cheap: most of the time there are none.
func (l *Lease) gone(ctx context.Context) (owners []string, err error) {
	s := l.store
	err = s.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		rows, err := conn.Query(ctx, s.sql(goneQuery))
		if err == nil {
			owners, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		return err
	})
	return owners, err
}

// errNoSlot says that others are at it, and enough of them.
var errNoSlot = errors.New("others are taking over")

const slotQuery = `SELECT FROM rollcall_slots LIMIT 1 FOR UPDATE SKIP LOCKED`

// takeSlot returns an error if the lease was taken over, or errNoSlot. Before
// the end of the transaction neither changes.
func (l *Lease) takeSlot(ctx context.Context, tx pgx.Tx) error {
	s := l.store
	if err := s.checkFence(ctx, tx); err != nil {
		return err
	}
	result, err := tx.Exec(ctx, s.sql(slotQuery))
	if err == nil && result.RowsAffected() == 0 {
		return errNoSlot
	}
	return err
}

// lostMachine is one with records up to an epoch that are to be stopped.
type lostMachine struct {
	Owner string
	Epoch int64
}

// declareLostQuery lets a machine declare another one lost if it has itself been
// beating, without a gap up to now, for as long as the other has been silent. Gaps
// of up to half of its own TTL do not count, see since; the other gets that much
// more time. SKIP LOCKED: a machine that is beating or writing right now is not
// lost.
const declareLostQuery = `WITH me AS (SELECT since, ttl FROM rollcall_leases WHERE owner = $1 AND epoch = $2
		AND clock_timestamp() BETWEEN beat_at AND beat_at + ttl / 2),
	gone AS (SELECT l.owner FROM rollcall_leases AS l, me WHERE l.owner <> $1 AND l.epoch > 0
		AND clock_timestamp() > greatest(l.beat_at, me.since) + greatest(l.ttl, (l.ttl + me.ttl) / 2)
		FOR UPDATE OF l SKIP LOCKED)
	UPDATE rollcall_leases AS l SET lost = l.epoch, epoch = -1 FROM gone WHERE l.owner = gone.owner`

const lostQuery = `SELECT owner, lost FROM rollcall_leases WHERE lost > 0`

// stopLost says of machines that they are lost, and stops the records of all
// that are.
func (l *Lease) stopLost(ctx context.Context) (stopped int, err error) {
	s := l.store
	var lost []lostMachine
	err = s.write(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		if err := l.takeSlot(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, s.sql(declareLostQuery), s.options.Owner, s.epoch); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, s.sql(lostQuery))
		if err == nil {
			lost, err = pgx.CollectRows(rows, pgx.RowToStructByPos[lostMachine])
		}
		return err
	})
	if err == errNoSlot { //nolint:errorlint // joined to another error it must not get lost
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	// Every survivor begins with another machine.
	rand.Shuffle(len(lost), func(i, j int) { lost[i], lost[j] = lost[j], lost[i] })
	var errs []error
	for _, machine := range lost {
		n, err := l.stopMachine(ctx, machine)
		stopped += n
		if err == errNoSlot { //nolint:errorlint // joined to another error it must not get lost
			break
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("records of %q: %w", machine.Owner, err))
			if ctx.Err() != nil || errors.Is(err, ErrFenced) || errors.Is(err, lifecycle.ErrUnavailable) {
				break
			}
		}
	}
	return stopped, errors.Join(errs...)
}

const drainedQuery = `DELETE FROM rollcall_leases WHERE owner = $1 AND lost = $2 AND epoch = -1
	AND NOT EXISTS (SELECT FROM rollcall_records WHERE owner = $1 AND epoch <= $2)`

const regainedQuery = `UPDATE rollcall_leases SET lost = 0 WHERE owner = $1 AND lost = $2 AND epoch > 0
	AND NOT EXISTS (SELECT FROM rollcall_records WHERE owner = $1 AND epoch <= $2)`

// stopMachine stops the records of a lost machine that nobody else is at.
func (l *Lease) stopMachine(ctx context.Context, machine lostMachine) (stopped int, err error) {
	s := l.store
	var errs []error
	// Not from the beginning each time: there the rows lie that were deleted.
	for after, size := int64(0), batchSize; ; {
		n, last, err := l.stopBatch(ctx, machine, after, size)
		stopped += n
		var failed *hookError
		switch {
		case errors.As(err, &failed) && size > 1:
			size = max(1, failed.index) // those before it are good by themselves
			continue
		case failed != nil:
			errs = append(errs, err)
		case len(errs) > 0 && err != nil:
			return stopped, errors.Join(append(errs, err)...)
		case err != nil:
			return stopped, err
		}
		if last == 0 {
			break
		}
		after, size = last, batchSize
	}
	// Those whose lock somebody else held are stopped by now, or will be by
	// whoever calls next.
	err = s.write(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		for _, statement := range []string{drainedQuery, regainedQuery} {
			if _, err := tx.Exec(ctx, s.sql(statement), machine.Owner, machine.Epoch); err != nil {
				return err
			}
		}
		return nil
	})
	return stopped, errors.Join(append(errs, err)...)
}

const lostRecordsQuery = `SELECT ` + columns + ` FROM rollcall_records
	WHERE owner = $1 AND epoch <= $2 AND seq > $3 ORDER BY seq LIMIT $4 FOR UPDATE SKIP LOCKED`

// stopBatch stops the next records of a lost machine that are not locked. last
// is where to go on, 0 at the end.
func (l *Lease) stopBatch(ctx context.Context, machine lostMachine, after int64, size int) (stopped int, last int64, err error) {
	s, call := l.store, uuid.New()
	var stops []lifecycle.Stop // of the attempt whose commit may have taken place
	err = s.write(ctx, func(ctx context.Context, tx pgx.Tx, again bool) error {
		if err := l.takeSlot(ctx, tx); err != nil {
			return err
		}
		done := 0
		last = 0
		if again {
			ours, err := s.ours(ctx, tx, call, stops)
			if err != nil {
				return err
			}
			done = len(ours)
		}
		rows, err := collect(ctx, tx, s.sql(lostRecordsQuery), machine.Owner, machine.Epoch, after, size)
		if err != nil {
			return err
		}
		removals := make([]removal, len(rows))
		for i, r := range rows {
			removals[i] = newRemoval(&rows[i], lifecycle.Cause{By: lifecycle.BySystem, Reason: lifecycle.ReasonHostLost}, i)
			stops = append(stops, lifecycle.Stop{Record: lifecycle.Record{Name: r.Name, Incarnation: r.Incarnation}})
			last = r.Seq
		}
		stopped = len(rows) + done
		return s.remove(ctx, tx, call, removals)
	})
	if err != nil {
		stopped = 0
	}
	return stopped, last, err
}
