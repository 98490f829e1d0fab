package main

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"time"
)

const waitP99 = "ms-wait-p99"

// writer is another program that writes into the file of a pass. It measures how
// long it waits for its turn.
type writer struct {
	db    *sql.DB
	waits []time.Duration
	ended chan error
	stop  context.CancelFunc
}

func startWriter(ctx context.Context, file string) (*writer, error) {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS hosts (at INTEGER)"); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	w := &writer{db: db, ended: make(chan error, 1)}
	ctx, w.stop = context.WithCancel(ctx)
	go func() { w.ended <- w.run(ctx) }()
	return w, nil
}

// run writes about 200 times a second.
func (w *writer) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(5 * time.Millisecond):
		}
		began := time.Now()
		tx, err := w.db.Begin()
		if err != nil {
			return err
		}
		w.waits = append(w.waits, time.Since(began))
		if _, err := tx.Exec("INSERT INTO hosts VALUES (1)"); err != nil {
			return errors.Join(err, tx.Rollback())
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
}

// end returns the 99th of 100 waits in milliseconds.
func (w *writer) end() (float64, error) {
	w.stop()
	if err := errors.Join(<-w.ended, w.db.Close()); err != nil {
		return 0, err
	}
	if len(w.waits) == 0 {
		return 0, errors.New("the writer wrote nothing")
	}
	slices.Sort(w.waits)
	return float64(w.waits[len(w.waits)*99/100]) / float64(time.Millisecond), nil
}
