package postgresstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/postgresstore"
)

// machineTTL is that of the machines of the tests that break things. Half of it
// is a gap: where processes wait longer than that for a CPU, nobody is ever sure
// that another is lost.
const machineTTL = 3 * time.Second

// fact is something that a machine knows because the store has told it. It
// writes each down before it does anything else.
type fact struct {
	What        string // "joined", "beat", "launched", "stopped", "fenced"
	Epoch       int64
	Name        string `json:",omitempty"`
	Incarnation string `json:",omitempty"`
	Began       int64  // of the call, in nanoseconds of wall time
}

// factLog is where a machine writes its facts: one write each, so that a kill
// leaves a line whole or out.
type factLog struct{ mu sync.Mutex }

func (l *factLog) write(f fact) error {
	line, err := json.Marshal(f)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err = os.Stdout.Write(append(line, '\n'))
	return err
}

// expected reports whether an error is one that a machine may see when others
// are killed, the server restarts, or its connection is cut.
func expected(err error) bool {
	return errors.Is(err, lifecycle.ErrUnavailable) || errors.Is(err, postgresstore.ErrFenced)
}

// machineMain is a machine: it joins the fleet, and again each time that it was
// taken for lost, registers records and stops some, until it is killed, or the
// test has ended.
func machineMain(owner, url string) error {
	ctx := context.Background()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	log := &factLog{}
	for {
		err := machineLife(ctx, pool, owner, log)
		if !expected(err) {
			return err
		}
	}
}

// machineLife is what a machine does under one lease.
func machineLife(ctx context.Context, pool *pgxpool.Pool, owner string, log *factLog) error {
	store, err := postgresstore.New(ctx, pool, postgresstore.Options{Owner: owner, BusyTimeout: 2 * time.Second})
	if err != nil {
		return err
	}
	began := time.Now()
	lease, err := store.Join(ctx, postgresstore.LeaseOptions{TTL: machineTTL})
	if err != nil {
		return err
	}
	if err := log.write(fact{What: "joined", Epoch: lease.Epoch(), Began: began.UnixNano()}); err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer end(nil)
	for _, work := range []func(context.Context) error{
		func(ctx context.Context) error { return beatAndSay(ctx, lease, log) },
		func(ctx context.Context) error { return takeOverAgain(ctx, lease) },
		func(ctx context.Context) error { return registerAndStop(ctx, lease, owner, log) },
		func(ctx context.Context) error { return registerAndStop(ctx, lease, owner, log) },
	} {
		wg.Go(func() {
			for ctx.Err() == nil {
				err := work(ctx)
				if errors.Is(err, postgresstore.ErrFenced) || err != nil && !expected(err) && ctx.Err() == nil {
					end(err)
				}
			}
		})
	}
	<-ctx.Done()
	err = context.Cause(ctx)
	if errors.Is(err, postgresstore.ErrFenced) {
		err = errors.Join(err, log.write(fact{What: "fenced", Epoch: lease.Epoch(), Began: time.Now().UnixNano()}))
	}
	return err
}

// beatAndSay is a beat of Run, with the time at which it began.
func beatAndSay(ctx context.Context, lease *postgresstore.Lease, log *factLog) error {
	began := time.Now()
	if err := lease.Beat(ctx); err != nil {
		return err
	}
	if err := log.write(fact{What: "beat", Epoch: lease.Epoch(), Began: began.UnixNano()}); err != nil {
		return err
	}
	return pause(ctx, machineTTL/6)
}

func takeOverAgain(ctx context.Context, lease *postgresstore.Lease) error {
	if _, err := lease.TakeOver(ctx); err != nil {
		return err
	}
	return pause(ctx, machineTTL/6)
}

// registerAndStop registers a record, and stops every second one again, twice at once.
func registerAndStop(ctx context.Context, lease *postgresstore.Lease, owner string, log *factLog) error {
	store := lease.Store()
	name := fmt.Sprintf("%s-%d", owner, rand.Int64())
	began := time.Now().UnixNano()
	record, err := store.Launch(ctx, lifecycle.Record{Name: name, Owner: owner})
	if err != nil {
		return err
	}
	if err := log.write(fact{"launched", lease.Epoch(), name, record.Incarnation, began}); err != nil {
		return err
	}
	// Its lease may be gone by now, and then its record too.
	if err := errors.Join(store.Bind(ctx, record, "session of "+name), store.Activate(ctx, record, liveness.Identity{})); err != nil {
		if errors.Is(err, lifecycle.ErrNotRegistered) {
			return nil
		}
		return err
	}
	if rand.N(2) == 0 {
		errs := make([]error, 2)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				began := time.Now().UnixNano()
				outcome, err := store.Stop(ctx, record, lifecycle.Cause{By: owner, Reason: "exit:test"})
				if outcome == lifecycle.Stopped {
					err = log.write(fact{"stopped", lease.Epoch(), name, record.Incarnation, began})
				}
				errs[i] = err
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	return pause(ctx, 20*time.Millisecond)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d/2 + rand.N(d)):
		return nil
	}
}
