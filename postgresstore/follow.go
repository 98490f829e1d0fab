package postgresstore

import (
	"context"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
)

// Follow yields the stopped events with a Seq above after, oldest first, and
// waits for more, until ctx ends or the server has been away for longer than
// BusyTimeout: that error is yielded last. It misses none, and yields none
// twice, also when its connection is cut. An event whose snapshot cannot be
// decoded is yielded as by [Store.Events], with its error.
//
// While it waits it holds a connection of its own, which it takes out of the
// pool. The notification (LISTEN) only wakes it: what it yields it reads.
func (s *Store) Follow(ctx context.Context, after int64) iter.Seq2[lifecycle.Event, error] {
	return func(yield func(lifecycle.Event, error) bool) {
		f := follower{store: s}
		defer f.hangUp()
		for {
			// Listen before reading: what is committed after the reading wakes.
			if err := f.listen(ctx); err != nil {
				yield(lifecycle.Event{}, fmt.Errorf("postgresstore: follow events: %w", err))
				return
			}
			n := storekit.MaxEvents
			for n == storekit.MaxEvents { // a full page is not the last
				n = 0
				for event, err := range s.page(ctx, after) {
					if event.Seq == 0 {
						yield(event, fmt.Errorf("postgresstore: follow events: %w", err))
						return
					}
					if after = event.Seq; !yield(event, err) {
						return
					}
					n++
				}
			}
			f.wait(ctx)
		}
	}
}

// page yields one page of events, each with the error of its snapshot, or the
// error of the reading with no event.
func (s *Store) page(ctx context.Context, after int64) iter.Seq2[lifecycle.Event, error] {
	return func(yield func(lifecycle.Event, error) bool) {
		var page []readEvent
		err := s.read(ctx, func(ctx context.Context, conn *pgxpool.Conn) (err error) {
			page, err = s.eventsAfter(ctx, conn, after)
			return err
		})
		if err != nil {
			yield(lifecycle.Event{}, err)
			return
		}
		for _, e := range page {
			if !yield(e.event, e.garbled) {
				return
			}
		}
	}
}

// follower is a connection that listens, or none.
type follower struct {
	store *Store
	conn  *pgx.Conn
}

func (f *follower) listen(ctx context.Context) error {
	if f.conn != nil {
		return nil
	}
	return f.store.attempt(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		_, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{f.store.channel}.Sanitize())
		if err == nil {
			f.conn = conn.Hijack()
		}
		return err
	})
}

// wait returns when there may be news: at a notification, and also after
// BusyTimeout without one. A connection that does not answer then is given up.
func (f *follower) wait(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, f.store.options.BusyTimeout)
	defer cancel()
	if _, err := f.conn.WaitForNotification(limited); err == nil {
		return
	}
	ping, cancel := context.WithTimeout(ctx, f.store.options.BusyTimeout)
	defer cancel()
	if err := f.conn.Ping(ping); err != nil {
		f.hangUp()
	}
}

func (f *follower) hangUp() {
	if f.conn == nil {
		return
	}
	// It is closed whether or not the server hears of it.
	ctx, cancel := context.WithTimeout(context.Background(), f.store.options.BusyTimeout)
	defer cancel()
	_ = f.conn.Close(ctx)
	f.conn = nil
}
