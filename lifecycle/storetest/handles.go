package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

// exact is a handle that can write records exactly as given.
type exact interface {
	lifecycle.Registrar
	Putter
}

// alternating is a [Subject] that uses another handle at each call: what one
// handle has written the next one has to know.
type alternating struct {
	harness Harness
	handles []exact
	calls   atomic.Int64
}

// alternatingBatch is one whose handles stop many at once.
type alternatingBatch struct{ *alternating }

// subjectOf returns a harness as the cases of Run want it.
func subjectOf(ctx context.Context, h Harness) (Subject, error) {
	s := &alternating{harness: h}
	batch := false
	for range 3 {
		store, err := h.Open(ctx, Options{}) // of records of any owner
		if err != nil {
			return nil, fmt.Errorf("Open: %w", err)
		}
		handle, ok := store.(exact)
		if !ok {
			return nil, fmt.Errorf("%w: %T is no Putter", errNotApplicable, store)
		}
		_, batch = store.(lifecycle.BatchStopper)
		s.handles = append(s.handles, handle)
	}
	if batch {
		return &alternatingBatch{s}, nil
	}
	return s, nil
}

func (s *alternating) next() exact { return s.handles[int(s.calls.Add(1))%len(s.handles)] }

func (s *alternating) Candidates(ctx context.Context) iter.Seq2[lifecycle.Record, error] {
	return s.next().Candidates(ctx)
}

func (s *alternating) Stop(ctx context.Context, record lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	return s.next().Stop(ctx, record, cause)
}

func (s *alternatingBatch) StopBatch(ctx context.Context, stops []lifecycle.Stop) (int, error) {
	return s.next().(lifecycle.BatchStopper).StopBatch(ctx, stops)
}

func (s *alternating) Put(ctx context.Context, record lifecycle.Record) error {
	return s.next().Put(ctx, record)
}

func (s *alternating) Bind(ctx context.Context, record lifecycle.Record, key string) error {
	return s.next().Bind(ctx, record, key)
}

func (s *alternating) Records(ctx context.Context) ([]lifecycle.Record, error) {
	return s.next().Records(ctx)
}

func (s *alternating) Events(ctx context.Context) ([]lifecycle.Event, error) {
	return allEvents(ctx, s.next())
}

func (s *alternating) Reopen(ctx context.Context) (Subject, error) { return subjectOf(ctx, s.harness) }

// alternatingKV does the same for a KV.
type alternatingKV struct {
	handles [2]lifecycle.KV
	calls   atomic.Int64
}

func (k *alternatingKV) next() lifecycle.KV { return k.handles[k.calls.Add(1)%2] }

func (k *alternatingKV) Get(ctx context.Context, key string) (string, error) {
	return k.next().Get(ctx, key)
}

func (k *alternatingKV) CompareAndSwap(ctx context.Context, key, old, new string) (bool, error) {
	return k.next().CompareAndSwap(ctx, key, old, new)
}

func sparesRegisteredAgain(ctx context.Context, h Harness) error {
	stores, err := openTwo(ctx, h, Options{})
	if err != nil {
		return err
	}
	cleaning, other := stores[0], stores[1]
	if _, err := launchAll(ctx, cleaning, "worker", "gone"); err != nil {
		return err
	}
	read, err := cleaning.Records(ctx)
	if err != nil {
		return fmt.Errorf("Records: %w", err)
	}
	if err := stop(ctx, other, read[0], lifecycle.Stopped); err != nil {
		return err
	}
	again, err := other.Launch(ctx, lifecycle.Record{Name: "worker"})
	if err != nil {
		return fmt.Errorf("Launch of a name that was stopped: %w", err)
	}
	if err := other.Bind(ctx, again, "session"); err != nil {
		return fmt.Errorf("Bind: %w", err)
	}
	for i, want := range []lifecycle.Outcome{lifecycle.AlreadyStopped, lifecycle.Stopped} {
		if err := stop(ctx, cleaning, read[i], want); err != nil {
			return err
		}
	}
	bound, err := cleaning.Bound(ctx, "session")
	if err != nil || bound.Incarnation != again.Incarnation {
		return fmt.Errorf("Bound = incarnation %q, %v, want %q", bound.Incarnation, err, again.Incarnation)
	}
	return holds(ctx, subject{cleaning}, []string{"worker"}, []string{"gone", "worker"})
}

// changing is a Liveness of which one process is dead and every other alive. It
// lets something happen between the reading of a record and its stop.
type changing struct {
	dead   liveness.Identity
	change func()
}

func (l changing) Check(id liveness.Identity) liveness.Verdict {
	l.change()
	if id.PID == l.dead.PID && id.Unique == l.dead.Unique { // the Cleaner may know more of its Boot
		return liveness.Verdict{State: liveness.Dead, Reason: liveness.NoProcess}
	}
	return liveness.Verdict{State: liveness.Alive, Reason: liveness.SameProcess}
}

func sparesRevived(ctx context.Context, h Harness) error {
	stores, err := openTwo(ctx, h, Options{})
	if err != nil {
		return err
	}
	cleaning, other := stores[0], stores[1]
	dead, alive := record("", "").Identity, record("", "").Identity
	alive.Unique++
	launched, err := launchAll(ctx, cleaning, "worker")
	if err != nil {
		return err
	}
	if err := cleaning.Activate(ctx, launched[0], dead); err != nil {
		return fmt.Errorf("Activate: %w", err)
	}
	var changeErr error
	report, err := lifecycle.Cleaner{Store: cleaning, Liveness: changing{dead, func() {
		changeErr = other.Activate(ctx, launched[0], alive)
	}}}.Clean(ctx)
	if err := errors.Join(err, changeErr); err != nil {
		return fmt.Errorf("Clean: %w", err)
	}
	if report.Stopped != 0 || report.KeptBy[lifecycle.ReasonAlive] != 1 {
		return fmt.Errorf("Clean of a record that came to life: %v, want it kept", report)
	}
	if err := holds(ctx, subject{cleaning}, []string{"worker"}, []string{}); err != nil {
		return err
	}
	// A decision of the host itself does not ask what the record looks like.
	return stop(ctx, cleaning, launched[0], lifecycle.Stopped)
}

func stopsOnceThroughHandles(ctx context.Context, h Harness) error {
	const n, cleaners = 60, 4
	store, err := openOne(ctx, h, Options{})
	if err != nil {
		return err
	}
	dead := record("", "").Identity
	var names []string
	for i := range n {
		name := fmt.Sprintf("worker-%02d", i)
		if _, err := launchRunning(ctx, store, name, dead); err != nil {
			return err
		}
		names = append(names, name)
	}
	var wg sync.WaitGroup
	var errs [cleaners]error
	var stopped atomic.Int64
	for i := range cleaners {
		handle, err := openOne(ctx, h, Options{})
		if err != nil {
			return err
		}
		wg.Go(func() {
			report, err := lifecycle.Cleaner{Store: handle, Concurrency: 1 + i%2, Liveness: changing{dead, func() {}}}.Clean(ctx)
			stopped.Add(int64(report.Stopped))
			errs[i] = err
		})
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("Clean: %w", err)
	}
	if stopped.Load() != n {
		return fmt.Errorf("%d cleaners have stopped %d records, want %d", cleaners, stopped.Load(), n)
	}
	return holds(ctx, subject{store}, []string{}, names)
}
