package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rollcall-go/rollcall/liveness"
)

// Termination ends processes of records that were stopped. The zero value kills
// the process at once.
type Termination struct {
	// Grace is how long a process has to end by itself after it was asked to,
	// before it is killed: see [liveness.Process.Terminate]. Zero is not at
	// all.
	Grace time.Duration
	// Group ends the whole process group, on Windows the tree of processes, if
	// the process leads one: see [liveness.Process.TerminateGroup].
	Group bool
	// Liveness opens the process; nil is [liveness.Open]. Where the Liveness of
	// the Cleaner was made with Options, give it here too.
	Liveness liveness.Opener
}

// End ends the recorded process, and no other: one that is not known to be the
// recorded one is left alone, with an error that matches
// [liveness.ErrUndecided]. A process that is gone is no error, nor is a record
// without one. A process that is still there 10 s after it was killed, as while it
// waits for a broken disk, is left to end when it can: the error matches
// [context.DeadlineExceeded]. End is for [Cleaner.Terminate].
func (t Termination) End(ctx context.Context, record Record) error {
	if record.Identity.IsZero() {
		return nil
	}
	open := liveness.Open
	if t.Liveness != nil {
		open = t.Liveness.Open
	}
	process, err := open(record.Identity)
	if errors.Is(err, liveness.ErrNoProcess) {
		return nil
	}
	if err != nil {
		return err
	}
	defer process.Close() //nolint:errcheck // the process has ended, or the error of that counts
	return t.end(ctx, process)
}

// killTime is how long a process has to be gone after it was killed.
const killTime = 10 * time.Second

// end ends an opened process.
func (t Termination) end(ctx context.Context, process interface {
	Terminate(context.Context, time.Duration) error
	TerminateGroup(context.Context, time.Duration) error
}) error {
	ctx, cancel := context.WithTimeout(ctx, max(0, t.Grace)+killTime)
	defer cancel()
	if t.Group {
		if err := process.TerminateGroup(ctx, t.Grace); !errors.Is(err, liveness.ErrNotLeader) {
			return err
		}
	}
	return process.Terminate(ctx, t.Grace)
}

// Stop stops one record by the store's stop path, for whatever reason the host
// has, and then has Terminate end its process and those of its descendants, if
// the store tells of them, see [TreeStopper]. A record of another owner is
// stopped like any other.
//
// The process that is ended is that of the given record. One that was recorded after
// the record was read, as of a record that was launching then, lives on. With
// IfUnchanged in the cause Stop refuses instead, with an error that matches
// [ErrChanged]: nothing is stopped, and the record is to be read again.
//
// The outcome tells what became of the record: with an error that matches
// [ErrNotEnded] it is Stopped, and a process may live on; with another error
// nothing happened. DryRun does not apply.
func (c Cleaner) Stop(ctx context.Context, record Record, cause Cause) (Outcome, error) {
	if c.Store == nil {
		return 0, fmt.Errorf("lifecycle: %w: Cleaner without a Store", ErrMisconfigured)
	}
	c.DryRun = false
	p := newPass(ctx, newJudge(c))
	defer p.end(nil)
	descendants, outcome, err := p.stopRecord(record, cause)
	if err != nil {
		return 0, fmt.Errorf("lifecycle: stop record %q: %w", record.Name, err)
	}
	if outcome != Stopped {
		return outcome, nil
	}
	w := work{record: record, decision: Decision{Action: Stopping, Reason: cause.Reason, Verdict: cause.Verdict}, outcome: outcome, descendants: descendants}
	if c.OnStopped != nil {
		c.OnStopped(Stop{record, cause})
	}
	p.terminate([]work{w})
	return outcome, p.errs.join()
}

func (p *pass) stopTree(w *work) (outcome Outcome, err error) {
	w.descendants, outcome, err = p.stopRecord(w.record, w.cause())
	return outcome, err
}

func (p *pass) stopRecord(record Record, cause Cause) ([]Record, Outcome, error) {
	if p.tree != nil {
		return p.tree.StopTree(p.ctx, record, cause)
	}
	outcome, err := p.Store.Stop(p.ctx, record, cause)
	return nil, outcome, err
}

func notEnded(record Record, err error) error {
	return fmt.Errorf("lifecycle: end the process of %q: %w: %w", record.Name, ErrNotEnded, err)
}

// mostTerminated is how many processes are ended at the same time.
const mostTerminated = 16

// terminate ends the processes of what was stopped, and returns when they have
// ended.
func (p *pass) terminate(works []work) {
	if p.Terminate == nil || p.DryRun {
		return
	}
	var records []Record
	for _, w := range works {
		if w.err != nil || w.cut || w.outcome != Stopped {
			continue
		}
		if w.decision.Verdict.State != liveness.Dead {
			records = append(records, w.record)
		}
		records = append(records, w.descendants...)
	}
	errs := make([]error, len(records))
	var wg sync.WaitGroup
	free := make(chan struct{}, mostTerminated)
	for i, record := range records {
		free <- struct{}{}
		wg.Go(func() {
			errs[i] = p.Terminate(p.caller, p.asOwn(record)) // also where the store ended the pass
			<-free
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			p.report.NotEnded++
			p.errs.add(notEnded(records[i], err))
		}
	}
}
