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
// waits for more. It misses none and yields none twice, even if its connection is
// cut. It goes on until ctx ends or the server has been away for longer than
// BusyTimeout; that error comes last. An event whose snapshot cannot be decoded is
// yielded as by [Store.Events], together with its error.
//
// While it waits, Follow keeps a connection of its own, which it takes out of the
// pool. A notification (LISTEN) only wakes it, to read the events. It needs the
// primary server: a standby does not notify. Behind a pooler that does not give each
// client a session of its own it reads once in each BusyTimeout.
func (s *Store) Follow(ctx context.Context, after int64) iter.Seq2[lifecycle.Event, error] {
	return func(yield func(lifecycle.Event, error) bool) {
		f := follower{store: s, after: after}
		defer f.hangUp()
		for f.yieldNew(ctx, yield) {
			f.wait(ctx)
		}
	}
}

// follower is a reader of events, with a connection that listens, or without one.
type follower struct {
	store *Store
	after int64 // the last event that was yielded
	conn  *pgx.Conn
}

// yieldNew yields the events that it has not yielded yet. It reports whether there
// may be more to come.
func (f *follower) yieldNew(ctx context.Context, yield func(lifecycle.Event, error) bool) bool {
	// Listen before reading: what commits after the reading wakes.
	err := f.listen(ctx)
	for full := true; full && err == nil; {
		var page []readEvent
		page, err = f.store.eventsAfter(ctx, f.after)
		for _, e := range page {
			f.after = e.event.Seq
			if !yield(e.event, e.garbled) {
				return false
			}
		}
		full = len(page) == storekit.MaxEvents
	}
	if err != nil {
		yield(lifecycle.Event{}, fmt.Errorf("postgresstore: follow events: %w", err))
	}
	return err == nil
}

// listen makes sure that there is a connection that listens.
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

// wait returns when there may be news: at a notification, or after BusyTimeout
// without one. It then gives up a connection that does not answer.
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

// hangUp closes the connection.
func (f *follower) hangUp() {
	if f.conn == nil {
		return
	}
	// Close frees it even if the server does not hear of it.
	ctx, cancel := context.WithTimeout(context.Background(), f.store.options.BusyTimeout)
	defer cancel()
	_ = f.conn.Close(ctx)
	f.conn = nil
}
