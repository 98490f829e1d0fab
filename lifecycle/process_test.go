package lifecycle_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

// The tests of this file are on real processes, on every system that has a
// Liveness.

// running starts a process that carries a marker, and records it.
func running(c *qt.C, store *memstore.Store, name string) (*proctest.Child, lifecycle.Record) {
	c.Helper()
	cmd := proctest.Command("hold")
	marker := liveness.Plant(cmd)
	child := proctest.Start(c, cmd)
	id, err := liveness.CaptureProcess(child.Process)
	if errors.Is(err, errors.ErrUnsupported) {
		proctest.Skip(c, "no Liveness for this system")
	}
	c.Assert(err, qt.IsNil)
	id.Marker = marker
	record, err := store.Put(c.Context(), lifecycle.Record{Name: name, Phase: lifecycle.Running, Identity: id})
	c.Assert(err, qt.IsNil)
	return child, record
}

func TestWatcherStopsWhatDies(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store := new(memstore.Store)
	first, _ := running(c, store, "first")
	second, _ := running(c, store, "second")
	running(c, store, "lives")
	reports := make(chan lifecycle.Report, 10)
	notify := make(chan struct{}, 1)
	watcher := lifecycle.Watcher{
		Notify:   notify,
		Cleaner:  lifecycle.Cleaner{Store: store},
		Poll:     10 * time.Millisecond, // where it cannot wait for processes
		OnReport: func(report lifecycle.Report, err error) { c.Check(err, qt.IsNil); reports <- report },
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- watcher.Run(ctx) }()
	stops := func(name string) {
		c.Helper()
		report := <-reports
		c.Assert(report.Stops, qt.HasLen, 1)
		c.Check(report.Stops[0].Record.Name, qt.Equals, name)
		c.Check(report.Stops[0].Cause.Verdict.State, qt.Equals, liveness.Dead)
	}
	beating, err := store.Records(t.Context())
	c.Assert(err, qt.IsNil)
	for _, record := range beating { // since they were read
		record.Heartbeat = lifecycle.Beat(nil)
		put(c, store, record)
	}
	second.Kill()
	stops("second")
	first.Kill()
	stops("first")
	third, _ := running(c, store, "third")
	notify <- struct{}{}
	third.Kill()
	stops("third")
	c.Check(names(c, store), qt.DeepEquals, []string{"lives"})
	cancel()
	c.Check(<-ended, qt.ErrorIs, context.Canceled)
}

func TestStopEndsTheProcess(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store := new(memstore.Store)
	child, record := running(c, store, "web")
	other, _ := running(c, store, "other")
	cleaner := lifecycle.Cleaner{Store: store, Terminate: &lifecycle.Termination{Grace: time.Minute}}
	outcome, err := cleaner.Stop(t.Context(), record, lifecycle.Cause{By: "test", Reason: "asked"})
	if errors.Is(err, errors.ErrUnsupported) {
		proctest.Skip(c, "processes cannot be opened on this system")
	}
	c.Assert(err, qt.IsNil)
	c.Check(outcome, qt.Equals, lifecycle.Stopped)
	c.Check(child.Wait(), qt.ErrorMatches, "signal: terminated|exit status .*")
	system, err := liveness.New(liveness.Options{})
	c.Assert(err, qt.IsNil)
	id, err := liveness.CaptureProcess(other.Process)
	c.Assert(err, qt.IsNil)
	c.Check(system.Check(id).State, qt.Equals, liveness.Alive)

	outcome, err = cleaner.Stop(t.Context(), record, lifecycle.Cause{By: "test", Reason: "asked"})
	c.Check(err, qt.IsNil, qt.Commentf("once more"))
	c.Check(outcome, qt.Equals, lifecycle.AlreadyStopped)
}

// orphans are the markers of processes without a record, as far as this test
// has started them: other tests start processes at the same time.
func orphans(c *qt.C, cleaner lifecycle.Cleaner, markers ...string) []string {
	c.Helper()
	found := map[string]bool{}
	for process, err := range cleaner.Orphans(c.Context()) {
		if errors.Is(err, errors.ErrUnsupported) {
			proctest.Skip(c, "processes cannot be listed on this system")
		}
		if err == nil { // other users' cannot be read
			c.Check(process.Identity.PID, qt.Not(qt.Equals), os.Getpid())
			found[process.Identity.Marker] = true
		}
	}
	var list []string
	for _, marker := range markers {
		if found[marker] {
			list = append(list, marker)
		}
	}
	return list
}

func TestProcessWithoutARecordIsAnOrphan(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store := new(memstore.Store)
	_, recorded := running(c, store, "recorded")
	child, lost := running(c, store, "lost")
	cleaner := lifecycle.Cleaner{Store: store}
	markers := []string{recorded.Identity.Marker, lost.Identity.Marker}
	c.Check(orphans(c, cleaner, markers...), qt.HasLen, 0)

	_, err := store.Stop(t.Context(), lost, lifecycle.Cause{By: "test", Reason: "asked"})
	c.Assert(err, qt.IsNil)
	c.Check(orphans(c, cleaner, markers...), qt.DeepEquals, []string{lost.Identity.Marker})
	child.Kill()
	c.Check(orphans(c, cleaner, markers...), qt.HasLen, 0)
}

// A record that cannot be read may be that of any process.
func TestWithoutAllRecordsNobodyIsCalledAnOrphan(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	failed := errors.New("failed")
	store := &scripted{yields: []yielded{{lifecycle.Record{Name: "a"}, failed}}}
	var errs []error
	for process, err := range (lifecycle.Cleaner{Store: store}).Orphans(t.Context()) {
		c.Check(process, qt.Equals, liveness.MarkedProcess{})
		errs = append(errs, err)
	}
	c.Assert(errs, qt.HasLen, 1)
	c.Check(errs[0], qt.ErrorIs, failed)
	c.Check(errs[0], qt.ErrorMatches, `lifecycle: list orphans: read record "a": failed`)
}

// The scripted Liveness lists no processes.
func TestOrphansOfALivenessThatListsNone(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	var errs []error
	for process, err := range newCleaner(livenesstest.New(), new(memstore.Store)).Orphans(t.Context()) {
		c.Check(process, qt.Equals, liveness.MarkedProcess{})
		errs = append(errs, err)
	}
	c.Assert(errs, qt.HasLen, 1)
	c.Check(errs[0], qt.ErrorIs, errors.ErrUnsupported)
	c.Check(errs[0], qt.ErrorMatches, `lifecycle: list orphans: by a \*livenesstest.World: unsupported operation`)
}
