package lifecycle_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/pinned"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

// terminated notes what it was asked to end.
type terminated struct {
	mu    sync.Mutex
	names []string
	err   error
}

func (t *terminated) end(_ context.Context, record lifecycle.Record) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.names = append(t.names, record.Name)
	return t.err
}

func (t *terminated) sorted() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Sorted(slices.Values(t.names))
}

// family is a stale parent with two living descendants, a dead process with a
// living child, and one that is left alone.
func family(c *qt.C, w *livenesstest.World) *memstore.Store {
	c.Helper()
	store := new(memstore.Store)
	stale := newRecord(w, "stale")
	w.Advance(2 * time.Hour)
	child, grandchild := tracking(w, "child", w.Start()), tracking(w, "grandchild", w.Start())
	child.Parent, grandchild.Parent = "stale", "child"
	dead := newDead(w, "dead")
	left := tracking(w, "left", w.Start())
	left.Parent = "dead"
	put(c, store, stale, child, grandchild, dead, left, tracking(w, "alive", w.Start()))
	return store
}

func TestProcessesOfWhatIsStoppedAreEnded(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	store, ended := family(c, w), &terminated{}
	cleaner := newCleaner(w, store)
	cleaner.StaleAfter, cleaner.Terminate = time.Hour, &lifecycle.Termination{End: ended.end}
	report, err := cleaner.Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Check(report.Stopped, qt.Equals, 2)
	c.Check(ended.sorted(), qt.DeepEquals, []string{"child", "grandchild", "left", "stale"},
		qt.Commentf("all that was stopped but the one that is dead"))
	c.Check(names(c, store), qt.DeepEquals, []string{"alive"})
}

// A store that stops batches tells of descendants; one that does not leaves them
// to live.
func TestDescendantsAreEndedWhereTheStoreTellsOfThem(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	store := &batchStore{}
	parent, child := newRecord(w, "parent"), tracking(w, "child", w.Start())
	child.Parent = "parent"
	put(c, &store.Store, parent, child, newRecord(w, "another"))
	w.Advance(2 * time.Hour)
	ended := &terminated{}
	var told []string
	cleaner := newCleaner(w, store)
	cleaner.StaleAfter, cleaner.Terminate = time.Hour, &lifecycle.Termination{End: ended.end}
	cleaner.OnStopped = func(stop lifecycle.Stop) {
		for _, descendant := range stop.Descendants {
			told = append(told, stop.Record.Name+" with "+descendant.Name)
		}
	}
	_, err := cleaner.Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Check(store.batches, qt.DeepEquals, [][]string{{"parent", "another"}})
	c.Check(ended.sorted(), qt.DeepEquals, []string{"another", "child", "parent"})
	c.Check(told, qt.DeepEquals, []string{"parent with child"})

	plain := new(memstore.Store)
	put(c, plain, parent, child)
	alone := &terminated{}
	cleaner.Store, cleaner.Terminate = oneByOneStore{plain}, &lifecycle.Termination{End: alone.end}
	_, err = cleaner.Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Check(alone.sorted(), qt.DeepEquals, []string{"parent"})
}

// grouped is a process whose group cannot be ended.
type grouped struct {
	err   error
	ended []string
}

func (g *grouped) Terminate(context.Context, time.Duration) error {
	g.ended = append(g.ended, "process")
	return nil
}

func (g *grouped) TerminateGroup(context.Context, time.Duration) error {
	g.ended = append(g.ended, "group")
	return g.err
}

func TestProcessIsEndedAloneWhereItsGroupIsNotItsOwn(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		err  error
		want []string
	}{
		{nil, []string{"group"}},
		{liveness.ErrNoGroup, []string{"group", "process"}},
		{pinned.ErrOwnGroup, []string{"group"}}, // the caller may be that process
		{os.ErrPermission, []string{"group"}},
	} {
		process := &grouped{err: test.err}
		err := lifecycle.Termination{Group: true}.EndOpened(c.Context(), process)
		c.Check(process.ended, qt.DeepEquals, test.want, qt.Commentf("%v", test.err))
		if len(test.want) == 1 {
			c.Check(err, qt.Equals, test.err)
		} else {
			c.Check(err, qt.IsNil)
		}
	}
}

func TestProcessThatCannotBeEndedIsAnErrorAndStaysStopped(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	failed := errors.New("failed")
	store, ended := family(c, w), &terminated{err: failed}
	cleaner := newCleaner(w, store)
	cleaner.StaleAfter, cleaner.Terminate = time.Hour, &lifecycle.Termination{End: ended.end}
	report, err := cleaner.Clean(c.Context())
	c.Check(err, qt.ErrorIs, lifecycle.ErrNotEnded)
	c.Check(err, qt.ErrorIs, failed)
	c.Check(err, qt.ErrorMatches, `(?s).*lifecycle: end the process of "stale": the record is stopped, but its process was not ended: failed.*`)
	c.Check(report.NotEnded, qt.Equals, 4)
	c.Check(report.Failed, qt.Equals, 0)
	c.Check(report.String(), qt.Matches, ".*, 4 not ended in .*")
	c.Check(len(stopped(c, store)), qt.Equals, 5)
}

func TestDryRunEndsNothing(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	store, ended := family(c, w), &terminated{}
	cleaner := newCleaner(w, store)
	cleaner.StaleAfter, cleaner.Terminate, cleaner.DryRun = time.Hour, &lifecycle.Termination{End: ended.end}, true
	_, err := cleaner.Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Check(ended.sorted(), qt.HasLen, 0)
}

// Somebody else has stopped it, and ends its process, or has registered it anew.
func TestWhoDidNotStopItDoesNotEndIt(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	store, ended := new(memstore.Store), &terminated{}
	record := tracking(w, "web", w.Start())
	put(c, store, record)
	cleaner := newCleaner(w, store)
	cleaner.Terminate = &lifecycle.Termination{End: ended.end}
	earlier := record
	earlier.Incarnation = "earlier"
	outcome, err := cleaner.Stop(c.Context(), earlier, lifecycle.Cause{By: "user", Reason: "asked"})
	c.Assert(err, qt.IsNil)
	c.Check(outcome, qt.Equals, lifecycle.AlreadyStopped)
	c.Check(ended.sorted(), qt.HasLen, 0)
	c.Check(names(c, store), qt.DeepEquals, []string{"web"})

	changed := record
	changed.Phase = lifecycle.Inactive
	_, err = cleaner.Stop(c.Context(), changed, lifecycle.Cause{By: "user", Reason: "asked", IfUnchanged: true})
	c.Check(err, qt.ErrorIs, lifecycle.ErrChanged)
	c.Check(err, qt.ErrorMatches, `lifecycle: stop record "web": .*`)
	c.Check(ended.sorted(), qt.HasLen, 0)
}

func TestHostStopsARecordByTheSamePath(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	store, ended := family(c, w), &terminated{}
	var seen []string
	cleaner := newCleaner(w, store)
	cleaner.Terminate = &lifecycle.Termination{End: ended.end}
	cleaner.OnStopped = func(stop lifecycle.Stop) { seen = append(seen, stop.Record.Name+" "+stop.Cause.Reason) }
	records, err := store.Records(c.Context())
	c.Assert(err, qt.IsNil)
	outcome, err := cleaner.Stop(c.Context(), records[1], lifecycle.Cause{By: "user", Reason: "asked"})
	c.Assert(err, qt.IsNil)
	c.Check(outcome, qt.Equals, lifecycle.Stopped)
	c.Check(ended.sorted(), qt.DeepEquals, []string{"child", "grandchild"})
	c.Check(seen, qt.DeepEquals, []string{"child asked"})
	c.Check(stopped(c, store), qt.DeepEquals, []string{"grandchild parent_stopped", "child asked"})

	ended.err = errors.New("failed")
	cleaner.DryRun = true // is not for it
	outcome, err = cleaner.Stop(c.Context(), records[0], lifecycle.Cause{By: "user", Reason: "asked"})
	c.Check(err, qt.ErrorIs, lifecycle.ErrNotEnded)
	c.Check(outcome, qt.Equals, lifecycle.Stopped)

	_, err = lifecycle.Cleaner{}.Stop(c.Context(), records[0], lifecycle.Cause{})
	c.Check(err, qt.ErrorIs, lifecycle.ErrMisconfigured)
}

// opener opens nobody.
type opener struct {
	liveness.Liveness
	err error
}

func (o opener) Open(liveness.Identity) (*liveness.Process, error) { return nil, o.err }

func TestTerminationLeavesWhomItDoesNotKnow(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	record := lifecycle.Record{Identity: liveness.Identity{PID: 4711}}
	for _, test := range []struct {
		name    string
		verdict liveness.Verdict
		want    error
	}{
		{"gone", liveness.Verdict{State: liveness.Dead, Reason: liveness.NoProcess}, nil},
		{"a stranger has its PID", liveness.Verdict{State: liveness.Dead, Reason: liveness.PIDReused}, nil},
		{"not known", liveness.Verdict{}, liveness.ErrUndecided},
	} {
		cleaner := lifecycle.Cleaner{Liveness: opener{always{}, test.verdict.Refusal()}, Terminate: new(lifecycle.Termination)}
		err := cleaner.EndProcess(c.Context(), record)
		if test.want == nil {
			c.Check(err, qt.IsNil, qt.Commentf(test.name))
		} else {
			c.Check(err, qt.ErrorIs, test.want, qt.Commentf(test.name))
		}
	}
	cleaner := lifecycle.Cleaner{Terminate: new(lifecycle.Termination)}
	c.Check(cleaner.EndProcess(c.Context(), lifecycle.Record{}), qt.IsNil, qt.Commentf("no process is recorded"))
}

// undying is a process that a signal does not end, as one that waits for a disk.
type undying struct{}

func (undying) Terminate(ctx context.Context, _ time.Duration) error {
	<-ctx.Done()
	return ctx.Err()
}

func (u undying) TerminateGroup(ctx context.Context, grace time.Duration) error {
	return u.Terminate(ctx, grace)
}

func TestProcessThatCannotDieIsNotWaitedForForEver(t *testing.T) {
	for _, group := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := qt.New(t)
			began := time.Now()
			err := lifecycle.Termination{Grace: time.Minute, Group: group}.EndOpened(t.Context(), undying{})
			c.Check(err, qt.ErrorIs, context.DeadlineExceeded)
			c.Check(time.Since(began), qt.Equals, time.Minute+10*time.Second)
		})
	}
}
