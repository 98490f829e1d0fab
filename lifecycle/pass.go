package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/rollcall-go/rollcall/liveness"
)

// pass is one pass of a Cleaner over the records of its store: it decides about
// them, stops those that are due and counts what became of each.
type pass struct {
	*decider
	batch   BatchStopper            // nil where the store stops records one by one
	caller  context.Context         // of the call of Clean, which pass does not outlive
	ctx     context.Context         // ends with caller's, and when the store is unavailable
	end     context.CancelCauseFunc // ends ctx
	started time.Time
	report  Report
	errs    errorList
	stops   []Stop // the memory of a batch
	// retry are the records that changed while they were judged, and are to be
	// judged once more; nil in that second round.
	retry map[string]string // name → incarnation
	// unread is an error of the second round that may be about any of them.
	unread error
	// unstopped says that a record that was due was not stopped.
	unstopped bool
	// skipped is the owner of a record that was skipped.
	skipped string
	// alive is told of records that were kept because they live, and between is
	// called between two groups of records. A Watcher sets them; both may be nil.
	alive   func(Record)
	between func()
}

func newPass(ctx context.Context, d *decider) *pass {
	p := &pass{decider: d, caller: ctx, started: time.Now()}
	p.batch, _ = d.Store.(BatchStopper)
	p.report = Report{DryRun: d.DryRun, StoppedBy: map[string]int{}, KeptBy: map[string]int{}}
	p.ctx, p.end = context.WithCancelCause(ctx)
	return p
}

// work is one record on its way through a pass.
type work struct {
	record      Record
	decision    Decision
	outcome     Outcome
	descendants []Record // that were stopped along with it
	err         error
	cut         bool // the pass ended before it was done with this one
}

func (w *work) due() bool { return w.err == nil && w.decision.Stop }

// stop is the stop of a record that is due, with what came of it so far.
func (w *work) stop() Stop {
	return Stop{Record: w.record, Cause: w.decision.cause(), Outcome: w.outcome, Descendants: w.descendants}
}

// stopped takes what the store has made of a stop.
func (w *work) stopped(stop *Stop) {
	w.outcome, w.descendants = stop.Outcome, stop.Descendants
	w.err = w.outcome.check()
}

// progressEvery is the number of records between two calls of OnProgress. The
// others are how many records are taken at a time: batchSize where the store
// stops many at once, so that what it does for each batch is little beside the
// work; groupSize where several are stopped or ended at the same time.
const (
	progressEvery = 1000
	batchSize     = 1024
	groupSize     = 256
)

// size is how many records are taken at a time.
func (p *pass) size() int {
	switch {
	case p.Terminate != nil:
		return groupSize // all are ended before the next are stopped
	case p.batch != nil:
		return batchSize
	case p.Concurrency > 1:
		return groupSize
	default:
		return 1
	}
}

// run makes a round over all records, and one over those that changed.
func (p *pass) run() {
	p.retry = map[string]string{}
	p.round(func(Record) bool { return true })
	again := p.retry
	if len(again) == 0 || p.ctx.Err() != nil {
		return
	}
	p.retry = nil
	p.round(func(record Record) bool {
		incarnation, ok := again[record.Name]
		if ok = ok && incarnation == record.Incarnation; ok {
			delete(again, record.Name)
		}
		return ok
	})
	if p.ctx.Err() == nil {
		p.leftOver(again)
	}
}

// leftOver accounts for the records that changed and did not come again: they
// were stopped meanwhile, unless not all could be read.
func (p *pass) leftOver(again map[string]string) {
	p.report.Examined += len(again)
	if p.unread == nil {
		p.report.AlreadyStopped += len(again)
		return
	}
	for name, incarnation := range again {
		p.fail(Record{Name: name, Incarnation: incarnation}, "read", p.unread)
	}
}

// round decides about the records of the store that are wanted.
func (p *pass) round(wanted func(Record) bool) {
	works := make([]work, 0, p.size())
	for record, err := range p.Store.Candidates(p.ctx) {
		if p.ctx.Err() != nil {
			break
		}
		switch want := wanted(record); {
		case want && err == nil:
			works = append(works, work{record: record})
		case want:
			p.report.Examined++
			p.fail(record, "read", err)
		case err != nil && record.Name == "":
			p.unread = err
		} // the second round would only say again what the first one said of others
		if len(works) == cap(works) {
			p.do(works)
			works = works[:0]
			if p.between != nil {
				p.between()
			}
		}
		p.endIfUnavailable(err)
	}
	p.do(works)
}

func (p *pass) endIfUnavailable(err error) {
	if errors.Is(err, ErrUnavailable) {
		p.end(err)
	}
}

// do decides about some records, stops those that are due, accounts for all that
// came of it, and ends processes.
func (p *pass) do(works []work) {
	n := p.parallel(works, p.decideAndStop)
	works = works[:n]
	if p.batch != nil && !p.DryRun {
		p.stopBatch(works)
	}
	var stopped []Stop
	for i := range works {
		w := &works[i]
		p.account(w)
		if p.Terminate != nil && w.err == nil && w.outcome == Stopped {
			stopped = append(stopped, w.stop())
		}
	}
	for _, err := range p.endProcesses(p.caller, stopped) { // also where the store ended the pass
		p.report.NotEnded++
		p.errs.add(err)
	}
}

// parallel calls f for the works in order until ctx is cancelled, and returns
// how many it called it for.
func (p *pass) parallel(works []work, f func(*work)) int {
	workers := max(1, min(p.Concurrency, len(works)))
	if workers == 1 {
		for i := range works {
			if p.ctx.Err() != nil {
				return i
			}
			f(&works[i])
		}
		return len(works)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	next := 0
	for range workers {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				if i == len(works) || p.ctx.Err() != nil {
					mu.Unlock()
					return
				}
				next++
				mu.Unlock()
				f(&works[i])
			}
		})
	}
	wg.Wait()
	return next
}

// decideAndStop decides about one record, and stops it if it is due and the store
// stops no batches.
func (p *pass) decideAndStop(w *work) {
	w.decision, w.err = p.decide(&w.record)
	if w.due() && !p.DryRun && p.batch == nil {
		p.stopOne(w)
	}
}

// stopOne stops one record by itself.
func (p *pass) stopOne(w *work) {
	stop := w.stop()
	if err := stopOne(p.ctx, p.Store, &stop); err != nil {
		p.notStopped(w, err)
		return
	}
	w.stopped(&stop)
}

// notStopped takes the error of a stop. The decision to stop is taken back where
// the store says that it no longer holds.
func (p *pass) notStopped(w *work, err error) {
	switch {
	case p.ctx.Err() != nil:
		w.cut = true
	case errors.Is(err, ErrChanged):
		w.decision.Stop, w.decision.Reason = false, ReasonChanged
	default:
		w.err = err
		p.endIfUnavailable(err)
	}
}

// stopBatch stops the records that are due by batches. One that fails is tried
// by itself, so that its error is its own, and the rest goes on.
func (p *pass) stopBatch(works []work) {
	due, stops := make([]*work, 0, len(works)), p.stops[:0]
	for i := range works {
		if w := &works[i]; w.due() {
			due, stops = append(due, w), append(stops, w.stop())
		}
	}
	p.stops = stops
	for len(due) > 0 && p.ctx.Err() == nil {
		n, err := p.batch.StopBatch(p.ctx, stops)
		n = max(0, min(n, len(due)))
		for i, w := range due[:n] {
			w.stopped(&stops[i])
		}
		if n < len(due) { // the error is about the next record
			switch w := due[n]; {
			case errors.Is(err, ErrUnavailable), errors.Is(err, ErrChanged):
				p.notStopped(w, err)
			default:
				p.stopOne(w)
			}
			n++
		}
		due, stops = due[n:], stops[n:]
	}
	for _, w := range due {
		w.cut = true
	}
}

// account counts what came of a record.
func (p *pass) account(w *work) {
	if w.cut {
		return
	}
	if w.decision.Reason == ReasonChanged && p.retry != nil {
		p.retry[w.record.Name] = w.record.Incarnation
		return
	}
	r := &p.report
	r.Examined++
	switch {
	case w.err != nil:
		verb := "judge"
		if w.decision.Stop {
			verb, p.unstopped = "stop", true
		}
		p.fail(w.record, verb, w.err)
	case w.decision.Reason == ReasonOtherOwner:
		r.Skipped++
		p.skipped = w.record.Owner
	case !w.decision.Stop:
		r.Kept++
		r.KeptBy[w.decision.Reason]++
		switch {
		case w.decision.Verdict.State != liveness.Alive:
			p.log(slog.LevelDebug, "kept", w)
		case p.alive != nil:
			p.alive(w.record)
		}
	case w.outcome == AlreadyStopped:
		r.AlreadyStopped++
	default:
		p.accountStopped(w)
	}
	if p.OnProgress != nil && r.Examined%progressEvery == 0 {
		p.OnProgress(r.Examined, r.Stopped)
	}
}

// accountStopped counts a record that was stopped, or would have been in a dry
// run.
func (p *pass) accountStopped(w *work) {
	r := &p.report
	r.Stopped++
	r.StoppedBy[w.decision.Reason]++
	p.log(slog.LevelInfo, "stopped", w)
	stop := w.stop()
	if len(r.Stops) < maxListed {
		r.Stops = append(r.Stops, stop)
	}
	if p.OnStopped != nil {
		p.OnStopped(stop)
	}
}

func (p *pass) log(level slog.Level, message string, w *work) {
	if p.Logger == nil || !p.Logger.Enabled(p.ctx, level) {
		return
	}
	p.Logger.Log(p.ctx, level, message, "record", w.record.Name, "incarnation", w.record.Incarnation,
		"reason", w.decision.Reason, "verdict", w.decision.Verdict.String(), "dry_run", p.DryRun)
}

func (p *pass) fail(record Record, verb string, err error) {
	p.report.Failed++
	if record.Name != "" {
		err = fmt.Errorf("lifecycle: %s record %q: %w", verb, record.Name, err)
	} else {
		err = fmt.Errorf("lifecycle: %s record: %w", verb, err)
	}
	p.errs.add(err)
}

// finish returns what a pass came to.
func (p *pass) finish() (Report, error) {
	switch err := p.caller.Err(); {
	case err != nil:
		p.errs.end = fmt.Errorf("lifecycle: clean ended early: %w", err)
	case p.ctx.Err() != nil:
		p.errs.end = fmt.Errorf("lifecycle: clean ended early: %w", context.Cause(p.ctx))
	}
	if p.Owner == "" && p.report.Skipped > 0 && p.report.Skipped == p.report.Examined {
		p.errs.add(fmt.Errorf("lifecycle: %w: the Cleaner has no Owner, and each of the %d records has one, such as %q",
			ErrMisconfigured, p.report.Skipped, p.skipped))
	}
	p.report.Took = time.Since(p.started)
	if p.OnProgress != nil {
		p.OnProgress(p.report.Examined, p.report.Stopped)
	}
	return p.report, p.errs.join()
}
