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

// TakeOver stops the records of lost machines: those whose lease has run out while
// this one, for just as long, had no trouble beating. It returns how many records it
// has stopped. Machines that do so at the same time share the work.
//
// All records of a lost machine are stopped, launching and inactive ones too: nobody
// else would ever judge them. Unlike [Store.Stop], TakeOver leaves descendants on
// other machines alone.
//
// It goes on until there is nothing left to do, or four others take over: more at
// once would only wait for each other, and keep the server from answering beats.
// When OnStop refuses a record, the others are stopped, and the next call tries that
// one again; the errors are returned joined. The error matches [ErrFenced] when this
// machine itself was taken for lost.
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

// gone returns the machines that may be lost, or were found to be. It only reads, and
// most of the time there are none.
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

// errNoSlot says that enough others are taking over. It is compared with ==: joined
// to another error it must not hide that one.
var errNoSlot = errors.New("others are taking over")

// takeSlot returns an error if the lease was taken over, or errNoSlot. Neither
// changes before the transaction ends.
func (l *Lease) takeSlot(ctx context.Context, tx pgx.Tx) error {
	s := l.store
	if err := s.checkFence(ctx, tx); err != nil {
		return err
	}
	result, err := tx.Exec(ctx, s.sql(`SELECT FROM rollcall_slots LIMIT 1 FOR UPDATE SKIP LOCKED`))
	if err == nil && result.RowsAffected() == 0 {
		return errNoSlot
	}
	return err
}

// stopLost declares machines lost, and stops the records of all lost machines.
func (l *Lease) stopLost(ctx context.Context) (stopped int, err error) {
	lost, err := l.declareLost(ctx)
	if err == errNoSlot { //nolint:errorlint // see errNoSlot
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
		if err == errNoSlot { //nolint:errorlint // see errNoSlot
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

// lostMachine is a machine whose records up to an epoch are to be stopped.
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

// declareLost takes the leases of machines that are lost, and returns all machines
// that have records to be stopped.
func (l *Lease) declareLost(ctx context.Context) (lost []lostMachine, err error) {
	s := l.store
	err = s.write(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		if err := l.takeSlot(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, s.sql(declareLostQuery), s.options.Owner, s.epoch); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, s.sql(`SELECT owner, lost FROM rollcall_leases WHERE lost > 0`))
		if err == nil {
			lost, err = pgx.CollectRows(rows, pgx.RowToStructByPos[lostMachine])
		}
		return err
	})
	return lost, err
}

// stopMachine stops those records of a lost machine that nobody else is stopping.
func (l *Lease) stopMachine(ctx context.Context, machine lostMachine) (stopped int, err error) {
	var errs []error
	// Each batch begins after the last one, not at the beginning, where the deleted
	// rows are.
	for after, size := int64(0), batchSize; ; {
		n, last, err := l.stopBatch(ctx, machine, after, size)
		stopped += n
		var failed *hookError
		switch {
		case errors.As(err, &failed) && size > 1:
			size = max(1, failed.index) // the hook has accepted those before it
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
	// Records that others had locked are stopped by now, or the next call finds
	// them.
	return stopped, errors.Join(append(errs, l.forget(ctx, machine))...)
}

const (
	deleteLostQuery = `DELETE FROM rollcall_leases WHERE owner = $1 AND lost = $2 AND epoch = -1
		AND NOT EXISTS (SELECT FROM rollcall_records WHERE owner = $1 AND epoch <= $2)`
	clearLostQuery = `UPDATE rollcall_leases SET lost = 0 WHERE owner = $1 AND lost = $2 AND epoch > 0
		AND NOT EXISTS (SELECT FROM rollcall_records WHERE owner = $1 AND epoch <= $2)`
)

// forget says that a lost machine is lost no more if it has no such records left. If
// it has not come back meanwhile, its lease is deleted.
func (l *Lease) forget(ctx context.Context, machine lostMachine) error {
	s := l.store
	return s.write(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		for _, query := range []string{deleteLostQuery, clearLostQuery} {
			if _, err := tx.Exec(ctx, s.sql(query), machine.Owner, machine.Epoch); err != nil {
				return err
			}
		}
		return nil
	})
}

const lostRecordsQuery = `SELECT ` + columns + ` FROM rollcall_records
	WHERE owner = $1 AND epoch <= $2 AND seq > $3 ORDER BY seq LIMIT $4 FOR UPDATE SKIP LOCKED`

// stopBatch stops the next records of a lost machine that nobody has locked. last is
// where to go on, 0 at the end.
func (l *Lease) stopBatch(ctx context.Context, machine lostMachine, after int64, size int) (stopped int, last int64, err error) {
	s, call := l.store, uuid.New()
	cause := lifecycle.Cause{By: lifecycle.BySystem, Reason: lifecycle.ReasonHostLost}
	var stops []lifecycle.Stop // of the attempts whose commit may have taken place
	err = s.write(ctx, func(ctx context.Context, tx pgx.Tx, again bool) error {
		if err := l.takeSlot(ctx, tx); err != nil {
			return err
		}
		stopped, last = 0, 0
		if again {
			ours, err := s.ours(ctx, tx, call, stops)
			if err != nil {
				return err
			}
			stopped = len(ours)
		}
		rows, err := collect(ctx, tx, s.sql(lostRecordsQuery), machine.Owner, machine.Epoch, after, size)
		if err != nil {
			return err
		}
		removals := make([]removal, len(rows))
		for i := range rows {
			removals[i] = newRemoval(&rows[i], cause, i)
			stops = append(stops, lifecycle.Stop{Record: removals[i].snapshot.Record})
			last = rows[i].Seq
		}
		stopped += len(rows)
		return s.remove(ctx, tx, call, removals)
	})
	if err != nil {
		stopped = 0
	}
	return stopped, last, err
}
