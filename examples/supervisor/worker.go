package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

type worker struct {
	name     string
	state    string // what is shown; empty until it is known
	since    time.Time
	pid      int    // of its last process
	marker   string // likewise
	restarts int
	due      time.Time // of its next start; zero while it has a record
	quick    int       // how many of its processes in a row have ended soon
}

// data is what the supervisor keeps with a record, and so in its snapshot.
type data struct {
	// Marker is planted in the worker. It is on record before the process exists,
	// so that a process can be found whose start was all that its supervisor came
	// to.
	Marker   string `json:"marker"`
	Restarts int    `json:"restarts"`
}

func dataOf(record lifecycle.Record) (d data) {
	json.Unmarshal(record.Data, &d) //nolint:errcheck // what cannot be read is empty
	return d
}

// pause has a worker that has ended wait for its next start.
func (s *supervisor) pause(w *worker, why string) {
	const soon, mostDoublings = 10 * time.Second, 7
	if w.due.IsZero() && time.Since(w.since) > soon {
		w.quick = 0
	}
	w.due = time.Now().Add(s.backoff << min(w.quick, mostDoublings))
	w.quick++
	s.set(w, why, time.Now())
}

// start starts a worker: registered first, then started, then recorded as running.
// Wherever this is cut short, the next supervisor finds enough to go on.
func (s *supervisor) start(ctx context.Context, w *worker) error {
	output, err := os.OpenFile(filepath.Join(s.dir, w.name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer output.Close() // the worker has its own
	cmd := exec.Command(s.command[0], s.command[1:]...)
	cmd.Stdout, cmd.Stderr = output, output
	liveness.Detach(cmd) // Ctrl-C is for the supervisor, which then ends its workers
	d := data{Marker: liveness.Plant(cmd), Restarts: w.restarts}
	if w.pid > 0 {
		d.Restarts++
	}
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	record, err := s.store.Launch(ctx, lifecycle.Record{Name: w.name, Data: text})
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, s.stop(ctx, record, lifecycle.ReasonLaunchFailed))
	}
	record.Identity, err = liveness.CaptureProcess(cmd.Process)
	if err == nil {
		record.Identity.Marker = d.Marker
		err = s.store.Activate(ctx, record, record.Identity)
	}
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return errors.Join(err, s.stop(ctx, record, lifecycle.ReasonLaunchFailed))
	}
	go cmd.Wait() // leaves no zombie; the Watcher tells of the end
	s.has(w, record, "running")
	return nil
}

// adopt takes note of a worker that an earlier supervisor has started. It takes no
// more: the Watcher watches whatever is on record, and stops what is dead.
func (s *supervisor) adopt(w *worker, record lifecycle.Record) {
	state := "adopted"
	if verdict := s.judge.Check(record.Identity); verdict.State != liveness.Alive {
		state = verdict.State.String()
	}
	s.has(w, record, state)
}

// has says that the worker has this record.
func (s *supervisor) has(w *worker, record lifecycle.Record, state string) {
	d := dataOf(record)
	w.pid, w.marker, w.restarts, w.due = record.Identity.PID, d.Marker, d.Restarts, time.Time{}
	s.set(w, state, record.CreatedAt)
	select {
	case s.notify <- struct{}{}:
	default: // the Watcher has not yet looked since the last one
	}
}

func (s *supervisor) set(w *worker, state string, since time.Time) {
	w.state, w.since = state, since
	s.table.show(s.workers, w)
}

// resolve takes a worker that was started and not recorded as that of this record,
// or stops the record. A process that has not executed its program yet does not
// carry its marker: endLeft looks for it once more before the worker is started
// anew, which is after a pause.
func (s *supervisor) resolve(ctx context.Context, w *worker, record lifecycle.Record) error {
	found := s.left(ctx, dataOf(record).Marker)
	// Not the children of the worker, which have inherited its marker.
	found = slices.DeleteFunc(found, func(p liveness.MarkedProcess) bool { return p.Inherited })
	if len(found) != 1 {
		err := s.stop(ctx, record, lifecycle.ReasonLaunchFailed)
		s.pause(w, lifecycle.ReasonLaunchFailed)
		return err
	}
	record.Identity = found[0].Identity
	if err := s.store.Activate(ctx, record, record.Identity); err != nil {
		return err
	}
	s.adopt(w, record)
	return nil
}

// left lists the processes that carry one of the markers and are on no record.
func (s *supervisor) left(ctx context.Context, markers ...string) (found []liveness.MarkedProcess) {
	if len(markers) == 0 {
		return nil
	}
	for process, err := range s.watcher.Cleaner.Orphans(ctx) {
		switch {
		case errors.Is(err, fs.ErrPermission), errors.Is(err, errors.ErrUnsupported):
			// Another user's process; or a system that does not tell.
		case err != nil:
			s.table.error(err)
		case slices.Contains(markers, process.Identity.Marker):
			found = append(found, process)
		}
	}
	return found
}

// endLeft ends what is left of workers whose records were stopped: a worker whose
// supervisor died before it could record it, or end it, and what a dead worker had
// started. It looks at all names up to one that this supervisor does not use and no
// other has used.
func (s *supervisor) endLeft(ctx context.Context) error {
	var markers []string
	var err error
	for i := 0; i < len(s.workers) || err == nil; i++ {
		var snapshot lifecycle.Snapshot
		switch snapshot, err = s.store.Snapshot(ctx, workerName(i)); {
		case err == nil:
			markers = append(markers, dataOf(snapshot.Record).Marker)
		case !errors.Is(err, lifecycle.ErrNoSnapshot):
			return err
		}
	}
	found := s.left(ctx, markers...)
	errs := make([]error, len(found))
	var wg sync.WaitGroup
	for i, process := range found {
		wg.Go(func() { errs[i] = s.watcher.Cleaner.EndProcess(ctx, lifecycle.Record{Identity: process.Identity}) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
