package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/rollcall-go/rollcall/liveness"
)

// Orphans lists the living processes that carry a marker, see [liveness.Plant],
// which no record of the store has: what a program has started and not
// recorded before it died, and what lives on after its record was stopped. The
// host adopts one by registering a record with its Identity, or ends it by
// [liveness.Open].
//
// Children inherit a marker, so those of an orphan are listed too, see
// [liveness.MarkedProcess]; those of a recorded process are not. A process that
// is just being started, whose record does not have its Identity yet, looks like
// an orphan: look again after a while before ending one. Markers of programs that
// keep another store look so too, unless each uses a MarkerVariable of its own.
//
// Errors are those of [liveness.Marked], such as one for each process whose
// environment may not be read; and that of a record that could not be read, after
// which the listing ends, since its process would look like an orphan.
func (c Cleaner) Orphans(ctx context.Context) iter.Seq2[liveness.MarkedProcess, error] {
	return func(yield func(liveness.MarkedProcess, error) bool) {
		d, err := c.decider()
		if err != nil {
			yield(liveness.MarkedProcess{}, err)
			return
		}
		// The processes first: what is recorded while they are listed has a
		// record by the time that the records are read.
		type listed struct {
			process liveness.MarkedProcess
			err     error
		}
		var all []listed
		for process, err := range marked(ctx, d.Liveness) {
			all = append(all, listed{process, err})
		}
		recorded, err := c.markers(ctx)
		if err != nil {
			yield(liveness.MarkedProcess{}, err)
			return
		}
		for _, one := range all {
			if one.err == nil && recorded[one.process.Identity.Marker] {
				continue
			}
			if !yield(one.process, one.err) {
				return
			}
		}
	}
}

// marked lists the marked processes, if the Liveness can as [liveness.System] can.
func marked(ctx context.Context, l liveness.Liveness) iter.Seq2[liveness.MarkedProcess, error] {
	lister, ok := l.(interface {
		Marked(context.Context) iter.Seq2[liveness.MarkedProcess, error]
	})
	if !ok {
		return func(yield func(liveness.MarkedProcess, error) bool) {
			yield(liveness.MarkedProcess{}, fmt.Errorf("lifecycle: list orphans: by a %T: %w", l, errors.ErrUnsupported))
		}
	}
	return lister.Marked(ctx)
}

// markers returns the markers on record.
func (c Cleaner) markers(ctx context.Context) (map[string]bool, error) {
	var errs errorList
	markers := map[string]bool{}
	for record, err := range c.Store.Candidates(ctx) {
		switch {
		case err != nil:
			errs.add(fmt.Errorf("lifecycle: list orphans: read record %q: %w", record.Name, err))
		case record.Identity.Marker != "":
			markers[record.Identity.Marker] = true
		}
	}
	return markers, errors.Join(errs.join(), ctx.Err())
}
