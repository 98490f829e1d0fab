package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	// has the method CompareBoot of [liveness.System], it also judges whether a
	// heartbeat is of this boot, and if it is a [liveness.Opener], processes are
	// ended by it.
	Liveness liveness.Liveness

	// Clock is the clock of ages; nil is that of the running system.
	Clock Clock

	// Owner is the machine or device whose records are judged; empty is the
	// owner of the Store, if it is a [Registrar] that has one. Records without an
	// owner belong to it too; all others are skipped. A record that names this
	// owner is of this machine, whatever its machine ID was when the record was
	// written. Without any owner, where all records have one, Clean skips them all
	// and returns an error that matches [ErrMisconfigured]: a host that keeps
	// records of others names itself.
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
	// from its last heartbeat, or from the start of this boot if the heartbeat is
	// of an earlier one. Zero is no limit.
	InactiveAfter time.Duration

	// Concurrency is how many records are judged, and stopped one by one, at
	// the same time. Zero and 1 do everything in the goroutine that calls
	// Clean.
	Concurrency int

	// DryRun decides and reports, and stops nothing.
	DryRun bool

	// Terminate says how to end the process of a record that was stopped, if
	// the process is not known to be dead: the record was stale, inactive, a
	// descendant, or stopped by [Cleaner.Stop]. The process is ended after the
	// stop. An error does not undo the stop; it is returned, and matches
	// [ErrNotEnded]. Nil leaves processes alone.
	//
	// A program that dies between the two has left a process without a record:
	// [Cleaner.Orphans] finds it, if it carries a marker.
	//
	// Clean ends up to 16 processes at once, and waits for them.
	Terminate *Termination

	// OnStopped is called after the store has stopped a record, once for
	// each in Report.Stopped, in the goroutine that calls Clean; also in a dry
	// run, for what would have been stopped. It is not called for descendants
	// that the store stopped along with their parent: they are in
	// [Stop.Descendants], and the store's events have them. A process that dies
	// before the call never makes it: what must not be lost belongs in the
	// store's own step.
	OnStopped func(Stop)

	// OnProgress is called now and then during a long pass, and once at its
	// end, in the goroutine that calls Clean. The counts are those of [Report].
	OnProgress func(examined, stopped int)

	// Logger gets a line for each stop, at level Info, and for each record
	// that is kept without a verdict, at level Debug. Nil is silence.
	Logger *slog.Logger
}

// Clean decides about every record of the store once and stops those that are due.
//
// One record's error never keeps the others from being judged: Clean goes on
// and returns all errors joined, each naming its record. A record that could
// not be read or judged is kept. A cancelled ctx ends the pass between two
// records, and so does a store that is unavailable, see [ErrUnavailable]. The
// error then matches that of ctx, or of the store, and the report tells what was
// done until then.
//
// A record that changed while it was judged is read and judged once more; if
// it changed again it is kept, with [ReasonChanged]. A process that was found
// alive is not asked for again in the same pass, for another of its records.
//
// Several processes may clean one store at once. Each record is stopped by one
// of them.
func (c Cleaner) Clean(ctx context.Context) (Report, error) {
	d, err := c.decider()
	if err != nil {
		return Report{}, err
	}
	p := newPass(ctx, d)
	defer p.end(nil)
	p.run()
	return p.finish()
}

// CleanOncePerBoot is Clean behind a gate: the first call of a boot cleans, and
// every later one returns at once with Report.GateClosed. It is the line for a
// host's main.
//
// A pass that returns an error, also that of a single record, or that kept a
// record because it changed, leaves the gate open: the next start tries again.
// A dry run ignores the gate. A gate without a Liveness or a Clock uses those of
// the Cleaner.
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

// Decide says what Clean would make of a record now, and touches nothing. Its
// error is about the record alone: it names what is wrong with it.
func (c Cleaner) Decide(record Record) (Decision, error) {
	d, err := c.decider()
	if err != nil {
		return Decision{}, err
	}
	decision, err := d.decide(&record)
	if err != nil {
		return decision, fmt.Errorf("lifecycle: judge record: %w", err)
	}
	return decision, nil
}

// Stop stops one record by the store's stop path, for whatever reason the host
// has, and then ends its process and those of its descendants, if Terminate is
// set and the store tells of them. It calls StopBatch where the store is a
// [BatchStopper], and the store's Stop otherwise. A record of another owner is
// stopped like any other.
//
// It ends the process of the given record. A process that was recorded since the
// record was read, such as that of a record that was launching then, lives on. With
// IfUnchanged in the cause, Stop refuses instead, with an error that matches
// [ErrChanged]: nothing is stopped; read the record again.
//
// The outcome tells what became of the record: with an error that matches
// [ErrNotEnded] it is Stopped, and a process may live on; with another error
// nothing happened. DryRun does not apply.
func (c Cleaner) Stop(ctx context.Context, record Record, cause Cause) (Outcome, error) {
	if c.Store == nil {
		return 0, fmt.Errorf("lifecycle: %w: Cleaner without a Store", ErrMisconfigured)
	}
	c.Owner = c.owner()
	stop := Stop{Record: record, Cause: cause}
	if err := stopOne(ctx, c.Store, &stop); err != nil {
		return 0, fmt.Errorf("lifecycle: stop record %q: %w", record.Name, err)
	}
	if stop.Outcome != Stopped {
		return stop.Outcome, nil
	}
	if c.OnStopped != nil {
		c.OnStopped(stop)
	}
	var errs errorList
	for _, err := range c.endProcesses(ctx, []Stop{stop}) {
		errs.add(err)
	}
	return stop.Outcome, errs.join()
}

// owner is the Owner, or else that of the store.
func (c Cleaner) owner() string {
	if owned, ok := c.Store.(interface{ Owner() string }); ok && c.Owner == "" {
		return owned.Owner()
	}
	return c.Owner
}
