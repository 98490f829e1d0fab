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

// gone returns the machines that may be lost, or were found to be. It is a
// reading, and cheap: most of the time there are none.
func (l *Lease) gone(ctx context.Context) (owners []string, err error) {
	s := l.store
	err = s.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		rows, err := conn.Query(ctx, s.sql.gone)
		if err == nil {
			owners, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		return err
	})
	return owners, err
}

// errNoSlot says that others are at it, and enough of them.
var errNoSlot = errors.New("others are taking over")

// takeSlot returns an error if the lease was taken over, or errNoSlot. Before
// the end of the transaction neither changes.
func (l *Lease) takeSlot(ctx context.Context, tx pgx.Tx) error {
	if err := l.store.checkFence(ctx, tx); err != nil {
		return err
	}
	result, err := tx.Exec(ctx, l.store.sql.slot)
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

// stopLost says of machines that they are lost, and stops the records of all
// that are.
func (l *Lease) stopLost(ctx context.Context) (stopped int, err error) {
	s := l.store
	var lost []lostMachine
	err = s.write(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		if err := l.takeSlot(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, s.sql.declareLost, s.options.Owner, s.epoch); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, s.sql.lost)
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

// stopMachine stops the records of a lost machine that nobody else is at.
func (l *Lease) stopMachine(ctx context.Context, machine lostMachine) (stopped int, err error) {
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
	err = l.store.write(ctx, func(ctx context.Context, tx pgx.Tx, _ bool) error {
		for _, statement := range []string{l.store.sql.drained, l.store.sql.regained} {
			if _, err := tx.Exec(ctx, statement, machine.Owner, machine.Epoch); err != nil {
				return err
			}
		}
		return nil
	})
	return stopped, errors.Join(append(errs, err)...)
}

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
		rows, err := collect(ctx, tx, s.sql.lostRecords, machine.Owner, machine.Epoch, after, size)
		if err != nil {
			return err
		}
		removals := make([]removal, len(rows))
		for i, r := range rows {
			removals[i] = removal{r, lifecycle.Cause{By: lifecycle.BySystem, Reason: lifecycle.ReasonHostLost}, i}
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
