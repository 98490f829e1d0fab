package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/rollcall-go/rollcall/liveness"
)

// Watcher stops records within moments of their process's death, for a host that
// goes on running. It makes passes of its Cleaner, and between two passes waits
// for the processes that the last one found alive. Cleaner.Store is required; the
// zero value of every other field is usable. A Watcher is not changed by its
// methods.
//
// Nothing is lost with a Watcher that dies: the next pass, of whatever program,
// finds what it would have found. Several may watch one store.
type Watcher struct {
	// Cleaner judges and stops. Its DryRun is not for a Watcher. Processes are
	// ended beside the watching, so that a grace holds up nothing; the ctx for that
	// is the one of Run, which waits for it.
	Cleaner Cleaner

	// Notify says, each time that something is received from it, that the store
	// has a new record or that one has become Running. Its process is then watched
	// at once, rather than after Poll. Give the channel a buffer of one, and send
	// without waiting:
	//
	//	select {
	//	case notify <- struct{}{}:
	//	default: // one is waiting already
	//	}
	//
	// Nil is never.
	Notify <-chan struct{}

	// Poll is how often the store is looked at for new records; zero is a
	// second. A store that has the method Registrations of a [Registrar] is
	// only read when it has some; another one is read, and all its records are
	// judged, each time.
	//
	// A living process that cannot be waited for is judged as often: on a
	// system without a way, see [liveness.NewWatch], or when there are not
	// enough descriptors. So is a record whose stop failed. A Watcher needs a
	// descriptor for each process. When there are none left it gives an eighth
	// of its own back, for the store and the host, uses no more than the rest
	// from then on, and polls.
	Poll time.Duration

	// Every is how often there is a pass in any case, for limits such as
	// StaleAfter, and for processes of which it is not known whether they
	// live. Zero is a minute.
	Every time.Duration

	// OnReport is called after each pass or stop by which something was
	// stopped or failed, in the goroutine that calls Run. Nil ignores it. A pass
	// that stopped nothing before Run ended is not reported.
	OnReport func(Report, error)
}

const (
	defaultPoll  = time.Second
	defaultEvery = time.Minute
	// deathsAtOnce is how many deaths are stopped together, where many
	// processes die at the same time.
	deathsAtOnce = 256
)

// Run watches until ctx is done, and then returns an error that wraps that of
// ctx. Errors of passes and of single records go to OnReport, and to no log; Run
// goes on. It returns early with an error that matches [ErrMisconfigured] when
// the Cleaner cannot be used, or when no Liveness can be made. Call it once at a
// time.
func (w Watcher) Run(ctx context.Context) error {
	if w.Cleaner.DryRun {
		return fmt.Errorf("lifecycle: %w: Watcher with a Cleaner that is a DryRun", ErrMisconfigured)
	}
	d, err := w.Cleaner.decider() // with one Liveness for all passes
	if err != nil {
		return err
	}
	r := &watching{
		Watcher: w, cleaner: d.Cleaner, watch: newWatch(d.Liveness), records: map[string][]Record{},
		again: make(chan struct{}, 1), notEnded: make(chan error),
	}
	ctx, cancel := context.WithCancel(ctx)
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer cancel()
	if d.Terminate != nil {
		// Beside the loop: a grace must not hold up other deaths.
		r.cleaner.Terminate = &Termination{End: func(_ context.Context, record Record) error {
			waiting.Go(func() {
				if err := d.EndProcess(ctx, record); err != nil {
					select {
					case r.notEnded <- notEnded(record, err):
					case <-ctx.Done():
					}
				}
			})
			return nil
		}}
	}
	if r.watch != nil {
		defer r.watch.Close() //nolint:errcheck // nothing is lost with it
		r.deaths = make(chan liveness.Identity, deathsAtOnce)
		waiting.Go(func() { r.wait(ctx) })
	}
	return r.run(ctx)
}

// newWatch returns nil if the Liveness cannot watch processes as [liveness.System] can:
// all is polled then.
func newWatch(l liveness.Liveness) *liveness.Watch {
	watcher, ok := l.(interface {
		NewWatch() (*liveness.Watch, error)
	})
	if !ok {
		return nil
	}
	watch, err := watcher.NewWatch()
	if err != nil {
		return nil
	}
	return watch
}

// watching is one Run.
type watching struct {
	Watcher
	cleaner Cleaner
	watch   *liveness.Watch // nil where there is none
	deaths  chan liveness.Identity
	// again has something where there is to be a pass at once.
	again chan struct{}
	// notEnded are the errors of Terminate.
	notEnded chan error
	// records are those whose process is watched, by the text of its identity.
	records map[string][]Record
	// alive are those that the pass under way has found.
	alive map[string][]Record
	// unwatched says that something must be polled.
	unwatched bool
	// maxWatched is how many processes are watched, once there were no
	// descriptors for more; 0 is any number.
	maxWatched    int
	registrations int64
}

// wait hands deaths on.
func (r *watching) wait(ctx context.Context) {
	for {
		id, _, err := r.watch.Next(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil: // the kernel does not let us wait: passes find the dead
			select {
			case <-time.After(or(r.Poll, defaultPoll)):
				r.passAgain()
			case <-ctx.Done():
				return
			}
			continue
		}
		select {
		case r.deaths <- id:
		case <-ctx.Done():
			return
		}
	}
}

// passAgain has a pass made at once.
func (r *watching) passAgain() {
	select {
	case r.again <- struct{}{}:
	default:
	}
}

func or(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

func (r *watching) run(ctx context.Context) error {
	poll := time.NewTicker(or(r.Poll, defaultPoll))
	defer poll.Stop()
	every := time.NewTicker(or(r.Every, defaultEvery))
	defer every.Stop()
	r.pass(ctx)
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("lifecycle: watcher: %w", ctx.Err())
		case id := <-r.deaths:
			r.stop(ctx, r.dead(id))
		case err := <-r.notEnded:
			r.report(ctx, Report{NotEnded: 1}, err)
		case _, open := <-r.Notify:
			if !open {
				r.Notify = nil
				continue
			}
			r.pass(ctx)
		case <-r.again:
			r.pass(ctx)
		case <-every.C:
			r.pass(ctx)
		case <-poll.C:
			if r.unwatched || r.registered(ctx) {
				r.pass(ctx)
			}
		}
	}
}

// registered reports whether there may be something new in the store.
func (r *watching) registered(ctx context.Context) bool {
	store, ok := r.cleaner.Store.(registrations)
	if !ok {
		return true
	}
	n, err := store.Registrations(ctx)
	return err != nil || n != r.registrations
}

// registrations is the method of a Registrar that tells whether there is anything
// new.
type registrations interface {
	Registrations(context.Context) (int64, error)
}

// pass judges all records, and watches the processes of those that live.
func (r *watching) pass(ctx context.Context) {
	if store, ok := r.cleaner.Store.(registrations); ok {
		// Before the pass: what is registered meanwhile counts as new.
		n, err := store.Registrations(ctx)
		if err == nil {
			r.registrations = n
		}
	}
	d, err := r.cleaner.decider()
	if err != nil {
		r.report(ctx, Report{}, err)
		return
	}
	r.alive, r.unwatched = map[string][]Record{}, false
	p := newPass(ctx, d)
	defer p.end(nil)
	p.alive = r.add
	p.between = func() { r.stopDead(ctx) }
	p.run()
	ended := p.ctx.Err() != nil
	report, err := p.finish()
	switch {
	case ended || report.Failed > 0:
		r.unwatched = ended || p.unstopped || r.unwatched
		for text, records := range r.records { // some may not have been read
			if r.alive[text] == nil {
				r.alive[text] = records
			}
		}
	case report.KeptBy[ReasonChanged] > 0:
		r.unwatched = true
	}
	for text, records := range r.records {
		if r.watch != nil && r.alive[text] == nil {
			r.watch.Remove(records[0].Identity)
		}
	}
	r.records = r.alive
	r.report(ctx, report, err)
}

// add watches the process of a record that lives.
func (r *watching) add(record Record) {
	text := record.Identity.String()
	watched := r.records[text] != nil || r.alive[text] != nil
	if !watched && (r.watch == nil || !r.watchIt(record.Identity)) {
		r.unwatched = true
		return
	}
	r.alive[text] = append(r.alive[text], record)
}

// watchIt reports whether the process is watched.
func (r *watching) watchIt(id liveness.Identity) bool {
	if r.maxWatched > 0 && r.watch.Len() >= r.maxWatched {
		return false
	}
	err := r.watch.Add(id)
	if errors.Is(err, syscall.EMFILE) {
		n := r.watch.Len()
		r.maxWatched = max(1, n-n/8-1)
		r.giveBack(r.records)
		r.giveBack(r.alive)
	}
	return err == nil
}

// giveBack ends the watch over some processes, until no more than maxWatched
// are left.
func (r *watching) giveBack(from map[string][]Record) {
	for text, records := range from {
		if r.watch.Len() <= r.maxWatched {
			return
		}
		r.watch.Remove(records[0].Identity)
		delete(r.records, text)
		delete(r.alive, text)
	}
}

// dead returns the records of a process that has died, and of those that have
// died with it, as work to be done.
func (r *watching) dead(id liveness.Identity) (works []work) {
	for {
		text := id.String()
		records := r.alive[text]
		if records == nil {
			records = r.records[text]
		}
		for _, record := range records {
			works = append(works, work{record: record})
		}
		delete(r.records, text)
		delete(r.alive, text)
		if len(works) >= deathsAtOnce {
			return works
		}
		select {
		case id = <-r.deaths:
		default:
			return works
		}
	}
}

// stopDead stops the records of processes that have died by now.
func (r *watching) stopDead(ctx context.Context) {
	select {
	case id := <-r.deaths:
		r.stop(ctx, r.dead(id))
	default:
	}
}

// stop judges the records, whose processes have died, and stops them.
func (r *watching) stop(ctx context.Context, works []work) {
	d, err := r.cleaner.decider()
	if err != nil {
		r.unwatched = true
		r.report(ctx, Report{}, err)
		return
	}
	p := newPass(ctx, d)
	defer p.end(nil)
	p.do(works)
	switch {
	case p.report.KeptBy[ReasonChanged] > 0:
		r.passAgain() // it has another process since it was read: a pass reads it again
	case p.report.Failed > 0 || p.report.Kept > 0 || p.ctx.Err() != nil:
		r.unwatched = true
	}
	report, err := p.finish()
	r.report(ctx, report, err)
}

func (r *watching) report(ctx context.Context, report Report, err error) {
	if r.OnReport == nil {
		return
	}
	if report.Stopped > 0 || (err != nil && ctx.Err() == nil) {
		r.OnReport(report, err)
	}
}
