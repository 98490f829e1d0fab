package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rollcall-go/rollcall/internal/pinned"
	"github.com/rollcall-go/rollcall/liveness"
)

// Termination says how the process of a record that was stopped is ended, see
// [Cleaner.Terminate]. The zero value kills the process at once.
//
// Only the recorded process is ended. One that may be another is left alone, with
// an error that matches [liveness.ErrUndecided]. A process that is gone is no
// error, nor is a record without one. A process that is still there 10 s after it
// was killed, such as one that waits for a broken disk, is left to end when it can:
// the error matches [context.DeadlineExceeded].
type Termination struct {
	// Grace is how long a process has to end after it was asked to, before it is
	// killed, see [liveness.Process.Terminate]. Zero kills at once.
	Grace time.Duration
	// Group ends the whole process group, on Windows the tree of processes, if
	// the process leads one: see [liveness.Process.TerminateGroup]. Nothing is
	// ended if the calling process is in that group: the error matches
	// [liveness.ErrNoGroup].
	Group bool
	// End ends the process in another way; nil is by Grace and Group. A record
	// that names the Cleaner's Owner is given without the machine IDs of its
	// Identity and Heartbeat, as it was judged.
	End func(context.Context, Record) error
}

// maxEnded is how many processes are ended at the same time, and killTime how
// long a process has to be gone after it was killed.
const (
	maxEnded = 16
	killTime = 10 * time.Second
)

// endProcesses ends the processes of what was stopped, descendants included, and
// returns when they have ended. The errors are those of the processes that did
// not.
func (c Cleaner) endProcesses(ctx context.Context, stops []Stop) (errs []error) {
	if c.Terminate == nil {
		return nil
	}
	var records []Record
	for _, stop := range stops {
		if stop.Cause.Verdict.State != liveness.Dead {
			records = append(records, stop.Record)
		}
		records = append(records, stop.Descendants...)
	}
	all := make([]error, len(records))
	var wg sync.WaitGroup
	free := make(chan struct{}, maxEnded)
	for i, record := range records {
		free <- struct{}{}
		wg.Go(func() {
			all[i] = c.EndProcess(ctx, record)
			<-free
		})
	}
	wg.Wait()
	for i, err := range all {
		if err != nil {
			errs = append(errs, notEnded(records[i], err))
		}
	}
	return errs
}

func notEnded(record Record, err error) error {
	return fmt.Errorf("lifecycle: end the process of %q: %w: %w", record.Name, ErrNotEnded, err)
}

// EndProcess ends the process of a record as Terminate says, or kills it where
// Terminate is nil, and touches no record: it is for a process that was left
// without one, see [Cleaner.Orphans]. Its errors are those of [Termination].
func (c Cleaner) EndProcess(ctx context.Context, record Record) error {
	var how Termination
	if c.Terminate != nil {
		how = *c.Terminate
	}
	c.Owner = c.owner()
	if record = c.asOwn(record); how.End != nil {
		return how.End(ctx, record)
	}
	if record.Identity.IsZero() {
		return nil
	}
	open := liveness.Open
	if opener, ok := c.Liveness.(liveness.Opener); ok {
		open = opener.Open
	}
	process, err := open(record.Identity)
	if errors.Is(err, liveness.ErrNoProcess) {
		return nil
	}
	if err != nil {
		return err
	}
	defer process.Close() //nolint:errcheck // the process has ended, or the error of that counts
	return how.end(ctx, process)
}

// end ends an opened process.
func (t Termination) end(ctx context.Context, process interface {
	Terminate(context.Context, time.Duration) error
	TerminateGroup(context.Context, time.Duration) error
}) error {
	ctx, cancel := context.WithTimeout(ctx, max(0, t.Grace)+killTime)
	defer cancel()
	if t.Group {
		err := process.TerminateGroup(ctx, t.Grace)
		if !errors.Is(err, liveness.ErrNoGroup) || errors.Is(err, pinned.ErrOwnGroup) {
			return err
		}
	}
	return process.Terminate(ctx, t.Grace)
}
