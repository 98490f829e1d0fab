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

// Cleaner stops the records whose process is gone. Store is required; the zero
// value of every other field is usable. A Cleaner is not changed by its
// methods, and safe for concurrent use if its callbacks are.
type Cleaner struct {
	// Store holds the records.
	Store Store

	// Liveness judges processes; nil is liveness.New(liveness.Options{}). If it
	// is a [liveness.BootComparer], it also judges whether a heartbeat is of this
	// boot.
	Liveness liveness.Liveness

	// Clock is the clock of ages; nil is that of the running system.
	Clock Clock

	// Owner is the machine or device whose records are judged. Records
	// without an owner belong to it too; all others are skipped. A record that
	// names this owner is of this machine, whatever its machine ID was when the
	// record was written. Where it is empty and all records have an owner, Clean
	// skips them all and returns an error that matches [ErrMisconfigured]: a host
	// that keeps records of others names itself here.
	Owner string

	// LaunchTimeout is how much awake time a launching record has to come up.
	// Zero is no limit. A record that was launching in an earlier boot has
	// failed, whatever the limit.
	LaunchTimeout time.Duration

	// StaleAfter is the age in awake time above which a heartbeat is stale.
	// It decides about running records whose process cannot be judged or is
	// not tracked; a heartbeat of an earlier boot of this machine is stale.
	// Zero is no limit: such records are kept, and reported.
	StaleAfter time.Duration

	// InactiveAfter is how much awake time an inactive record is kept, counted
	// from its last heartbeat. Of one from an earlier boot only the time that
	// this boot has been awake counts. Zero is no limit.
	InactiveAfter time.Duration

	// Concurrency is how many records are judged, and stopped one by one, at
	// the same time. Zero and 1 do everything in the goroutine that calls
	// Clean.
	Concurrency int

	// DryRun decides and reports, and stops nothing.
	DryRun bool

	// Terminate is called after the store has stopped a record whose process
	// is not known to be dead: one that was stale, inactive, a descendant, or
	// stopped by [Cleaner.Stop]. [Termination.End] is one, which ends the
	// process or its group. An error does not undo the stop; it is returned,
	// and matches [ErrNotEnded]. Nil leaves processes alone.
	//
	// A program that dies before the call has left a process without a record:
	// [Cleaner.Orphans] finds it, if it carries a marker.
	//
	// Clean calls it for up to 16 records at once, and waits for them. Records
	// are stopped one by one then, in a transaction each. A record that names Owner
	// is given without the machine IDs of its Identity and Heartbeat, as it was
	// judged.
	Terminate func(context.Context, Record) error

	// OnStopped is called after the store has stopped a record, once for
	// each in Report.Stopped, in the goroutine that calls Clean; also in a dry
	// run, for what would have been stopped. It is not called for descendants
	// that the store stopped along with their parent: the store's events have
	// them. A process that dies before the call never makes it: what must not
	// be lost belongs into the store's own step.
	OnStopped func(Stop)

	// OnProgress is called now and then during a long pass, and once at its
	// end, in the goroutine that calls Clean.
	OnProgress func(Progress)

	// Logger gets a line for each stop, at level Info, and for each record
	// that is kept without a verdict, at level Debug. Nil is silence.
	Logger *slog.Logger
}

// Progress tells how far a pass has come.
type Progress struct {
	// Examined and Stopped count as in [Report].
	Examined, Stopped int
}

// progressEvery is the number of records between two calls of OnProgress.
// groupSize is that of the records judged at a time where several are stopped or
// ended at once, and batchSize where the store stops many for less: the store
// bounds its transactions itself, and what it does for each should be little
// beside the work.
const (
	progressEvery = 1000
	groupSize     = 256
	batchSize     = 1024
)

// Clean judges every record of the store once and stops those that are due.
//
// One record's error never keeps the others from being judged: Clean goes on
// and returns all errors joined, each naming its record. A record that could
// not be read or judged is kept. A cancelled ctx ends the pass between two
// records; the error then matches that of ctx, and the report tells what was
// done until then. So does a store that is not to be had: see
// [ErrUnavailable].
//
// A record that changed while it was judged is read and judged once more; if
// it changed again it is kept, with [ReasonChanged]. A process that was found
// alive is not asked for again in the same pass, for another of its records.
//
// Several processes may clean one store at once. Each record is stopped by one
// of them.
func (c Cleaner) Clean(ctx context.Context) (Report, error) {
	started := time.Now()
	j, err := c.judge()
	if err != nil {
		return Report{}, err
	}
	p := newPass(ctx, j)
	defer p.end(nil)
	p.run()
	return p.finish(ctx, started)
}

func newPass(ctx context.Context, j *judge) *pass {
	p := &pass{judge: j, report: Report{DryRun: j.DryRun, StoppedBy: map[string]int{}, KeptBy: map[string]int{}}}
	if p.Terminate == nil {
		p.batch, _ = j.Store.(BatchStopper)
	} else {
		p.tree, _ = j.Store.(TreeStopper)
	}
	p.caller = ctx
	p.ctx, p.end = context.WithCancelCause(ctx)
	return p
}

// finish returns what a pass came to.
func (p *pass) finish(ctx context.Context, started time.Time) (Report, error) {
	switch err := ctx.Err(); {
	case err != nil:
		p.errs.end = fmt.Errorf("lifecycle: clean ended early: %w", err)
	case p.ctx.Err() != nil:
		p.errs.end = fmt.Errorf("lifecycle: clean ended early: %w", context.Cause(p.ctx))
	}
	if p.Owner == "" && p.report.Skipped > 0 && p.report.Skipped == p.report.Examined {
		p.errs.add(fmt.Errorf("lifecycle: %w: the Cleaner has no Owner, and each of the %d records has one, such as %q",
			ErrMisconfigured, p.report.Skipped, p.skipped))
	}
	p.report.Took = time.Since(started)
	if p.OnProgress != nil {
		p.OnProgress(Progress{p.report.Examined, p.report.Stopped})
	}
	return p.report, p.errs.join()
}

// CleanOncePerBoot is Clean behind a gate: the first call of a boot cleans, and
// every later one returns at once with Report.GateClosed. It is the line for a
// host's main.
//
// A pass that returns an error, also that of a single record, or that kept a
// record because it changed, leaves the gate open: the next start tries again.
// A dry run ignores the gate. Where the gate
// has no Liveness or Clock of its own, those of the Cleaner are used.
func (c Cleaner) CleanOncePerBoot(ctx context.Context, gate *BootGate) (Report, error) {
	if c.DryRun {
		return c.Clean(ctx)
	}
	if gate == nil {
		return Report{}, fmt.Errorf("lifecycle: %w: no gate", ErrMisconfigured)
	}
	g := *gate
	if g.Liveness == nil {
		g.Liveness = c.Liveness
	}
	if g.Clock == nil {
		g.Clock = c.Clock
	}
	var report Report
	ran, claimer, err := g.do(ctx, func(ctx context.Context) (err error) {
		if report, err = c.Clean(ctx); err == nil && report.KeptBy[ReasonChanged] > 0 {
			return errUndecided
		}
		return err
	})
	if !claimer.IsZero() {
		report.GateClaimer = &claimer
	}
	if err == errUndecided { //nolint:errorlint // joined to another error it must not get lost
		return report, nil
	}
	report.GateClosed = !ran && err == nil
	if ran && report.GateClaimer != nil && c.Logger != nil {
		c.Logger.Log(ctx, slog.LevelWarn, "boot gate claimed for too long", "claimer", claimer.String())
	}
	return report, err
}

// errUndecided keeps a gate open after a pass without an error.
var errUndecided = errors.New("a record changed while it was judged")

// Judge says what Clean would make of a record now, and touches nothing. Its
// error is about the record alone: it names what is wrong with it.
func (c Cleaner) Judge(record Record) (Decision, error) {
	j, err := c.judge()
	if err != nil {
		return Decision{}, err
	}
	decision, err := j.decide(&record)
	if err != nil {
		return decision, fmt.Errorf("lifecycle: judge record: %w", err)
	}
	return decision, nil
}

func (c Cleaner) judge() (*judge, error) {
	if c.Store == nil {
		return nil, fmt.Errorf("lifecycle: %w: Cleaner without a Store", ErrMisconfigured)
	}
	if c.Liveness == nil {
		var err error
		if c.Liveness, err = liveness.New(liveness.Options{}); err != nil {
			return nil, fmt.Errorf("lifecycle: %w", err)
		}
	}
	return newJudge(c), nil
}

// pass is one run of Clean.
type pass struct {
	*judge
	ctx    context.Context         // of the call of Clean, which pass does not outlive
	end    context.CancelCauseFunc // ends the pass early
	batch  BatchStopper            // not where processes are ended
	tree   TreeStopper             // only there
	due    []*work                 // of the batch, kept for the next one
	stops  []Stop
	caller context.Context // of the call, and not ended with the pass
	// unstopped says that a record that was due was not stopped.
	unstopped bool
	alive     func(Record) // is told of records that were kept because they live; may be nil
	between   func()       // is called between two batches; may be nil
	report    Report
	errs      errorList
	// changed are the incarnations by name that changed while they were
	// judged; nil in the second round, which is about them.
	changed map[string]string
	// unread is an error of the second round that may be about any of them.
	unread error
	// skipped is the owner of a record that was skipped.
	skipped string
}

// work is one record on its way through a pass.
type work struct {
	record   Record
	decision Decision
	outcome  Outcome
	err      error
	cut      bool // the pass ended before it was done with this one
	// descendants were stopped along with it.
	descendants []Record
}

func (p *pass) run() {
	p.changed = map[string]string{}
	p.round(func(Record) bool { return true })
	if again := p.changed; len(again) > 0 && p.ctx.Err() == nil {
		p.changed = nil
		p.round(func(record Record) bool {
			incarnation, ok := again[record.Name]
			ok = ok && incarnation == record.Incarnation
			if ok {
				delete(again, record.Name)
			}
			return ok
		})
		if p.ctx.Err() == nil {
			p.leftOver(again)
		}
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

// round judges the records of the store that are wanted.
func (p *pass) round(wanted func(Record) bool) {
	size := 1
	switch {
	case p.batch != nil:
		size = batchSize
	case p.Concurrency > 1 || p.Terminate != nil:
		size = groupSize
	}
	works := make([]work, 0, size)
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
		if len(works) == size {
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

// do judges some records, stops those that are due, and accounts for all that
// it came to.
func (p *pass) do(works []work) {
	var done int
	if p.batch != nil && !p.DryRun {
		done = p.parallel(works, p.decide)
		p.stopBatch(works[:done])
	} else {
		done = p.parallel(works, p.decideAndStop)
	}
	for i := range works[:done] {
		p.account(&works[i])
	}
	p.terminate(works[:done])
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

func (p *pass) decide(w *work) { w.decision, w.err = p.judge.decide(&w.record) }

func (p *pass) decideAndStop(w *work) {
	p.decide(w)
	if w.due() && !p.DryRun {
		p.stop(w)
	}
}

func (w *work) due() bool { return w.err == nil && w.decision.Action == Stopping }

func (w *work) cause() Cause {
	return Cause{By: BySystem, Reason: w.decision.Reason, Verdict: w.decision.Verdict, IfUnchanged: true}
}

// stop stops one record by itself. The decision to stop is taken back where
// the store says that it no longer holds.
func (p *pass) stop(w *work) {
	outcome, err := p.stopTree(w)
	switch {
	case err == nil:
		w.found(outcome)
	case p.ctx.Err() != nil:
		w.cut = true
	case errors.Is(err, ErrChanged):
		w.decision.Action, w.decision.Reason = Keep, ReasonChanged
	default:
		w.err = err
		p.endIfUnavailable(err)
	}
}

// found takes the outcome that the store returned without an error.
func (w *work) found(outcome Outcome) {
	w.outcome = outcome
	if outcome != Stopped && outcome != AlreadyStopped {
		w.err = fmt.Errorf("the store returned neither an outcome nor an error: %v", outcome)
	}
}

// stopBatch stops the records that are due by batches. One that fails is tried
// by itself, so that its error is its own, and the rest goes on.
func (p *pass) stopBatch(works []work) {
	due, stops := p.due[:0], p.stops[:0]
	for i := range works {
		if w := &works[i]; w.due() {
			due = append(due, w)
			stops = append(stops, Stop{w.record, w.cause()})
		}
	}
	p.due, p.stops = due, stops
	for len(due) > 0 {
		if p.ctx.Err() != nil {
			for _, w := range due {
				w.cut = true
			}
			return
		}
		outcomes, err := p.batch.StopBatch(p.ctx, stops)
		n := min(len(outcomes), len(due))
		for i, w := range due[:n] {
			w.found(outcomes[i])
		}
		if n < len(due) {
			// The error is about the next record.
			if errors.Is(err, ErrUnavailable) {
				due[n].err = err
				p.end(err)
			} else {
				p.stop(due[n])
			}
			n++
		}
		due, stops = due[n:], stops[n:]
	}
}

func (p *pass) account(w *work) {
	if w.cut {
		return
	}
	if w.decision.Reason == ReasonChanged && p.changed != nil {
		p.changed[w.record.Name] = w.record.Incarnation
		return
	}
	r := &p.report
	r.Examined++
	switch {
	case w.err != nil:
		verb := "judge"
		if w.decision.Action == Stopping {
			verb, p.unstopped = "stop", true
		}
		p.fail(w.record, verb, w.err)
	case w.decision.Action == Skip:
		r.Skipped++
		p.skipped = w.record.Owner
	case w.decision.Action == Keep:
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
		r.Stopped++
		r.StoppedBy[w.decision.Reason]++
		p.log(slog.LevelInfo, "stopped", w)
		stop := Stop{w.record, w.cause()}
		if len(r.Stops) < maxListed {
			r.Stops = append(r.Stops, stop)
		}
		if p.OnStopped != nil {
			p.OnStopped(stop)
		}
	}
	if p.OnProgress != nil && r.Examined%progressEvery == 0 {
		p.OnProgress(Progress{r.Examined, r.Stopped})
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
