package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// supervisor sees to it that there is a record of each worker. The Watcher sees to
// it that a record without a living process is stopped. Workers are started in one
// goroutine, that of run.
type supervisor struct {
	options
	command []string
	store   *sqlitestore.Store
	judge   liveness.Liveness
	watcher lifecycle.Watcher
	notify  chan struct{} // wakes the watcher
	workers []*worker
	table   table
}

func newSupervisor(o options, command []string, store *sqlitestore.Store, judge liveness.Liveness) *supervisor {
	s := &supervisor{options: o, command: command, store: store, judge: judge, notify: make(chan struct{}, 1)}
	s.watcher.Notify = s.notify
	// There is no LaunchTimeout: only fill can find the process of a start that was
	// cut short.
	s.watcher.Cleaner = lifecycle.Cleaner{
		Store: store, Liveness: judge,
		Terminate: &lifecycle.Termination{Grace: o.grace, Group: true}, // of the recorded process and its group, and no other
	}
	for i := range o.n {
		s.workers = append(s.workers, &worker{name: workerName(i)})
	}
	info, err := os.Stdout.Stat()
	s.table.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	return s
}

func (s *supervisor) run(ctx context.Context) error {
	keep := context.WithoutCancel(ctx)
	s.table.print(columnNames)
	s.table.error(s.end(keep, "too many", func(record lifecycle.Record) bool { return s.worker(record) == nil }))
	next := s.fill(ctx)
	type news struct {
		report lifecycle.Report
		err    error
	}
	reports := make(chan news)
	s.watcher.OnReport = func(report lifecycle.Report, err error) {
		select {
		case <-ctx.Done():
		case reports <- news{report, err}:
		}
	}
	watching := make(chan error, 1)
	go func() { watching <- s.watcher.Run(ctx) }()
	for {
		timer := time.NewTimer(time.Until(next))
		select {
		case err := <-watching:
			if ctx.Err() == nil {
				return err
			}
			return s.end(keep, "shutdown", func(lifecycle.Record) bool { return true })
		case n := <-reports:
			if ctx.Err() == nil { // which may be the error
				s.table.error(n.err)
			}
			for _, stop := range n.report.Stops {
				if w := s.worker(stop.Record); w != nil && w.marker == dataOf(stop.Record).Marker && w.due.IsZero() {
					s.pause(w, stop.Cause.Reason)
				}
			}
		case <-timer.C:
		}
		timer.Stop()
		next = s.fill(ctx)
	}
}

// fill looks at the records: it adopts the workers of an earlier supervisor, and
// starts those that have no record and are due. It returns when it is to be called
// again at the latest.
func (s *supervisor) fill(ctx context.Context) (next time.Time) {
	keep := context.WithoutCancel(ctx) // what is begun is done
	records, err := s.store.Records(keep)
	if err != nil {
		s.table.error(err)
		return time.Now().Add(s.backoff)
	}
	recorded := map[*worker]lifecycle.Record{}
	for _, record := range records {
		recorded[s.worker(record)] = record
	}
	due := s.due(keep, recorded)
	if len(due) > 0 {
		s.table.error(s.endLeft(keep))
	}
	for _, w := range due {
		if ctx.Err() != nil {
			break
		}
		if err := s.start(keep, w); err != nil {
			s.table.error(fmt.Errorf("start %s: %w", w.name, err))
			s.pause(w, lifecycle.ReasonLaunchFailed)
		}
	}
	next = time.Now().Add(time.Minute)
	for _, w := range s.workers {
		if !w.due.IsZero() && w.due.Before(next) {
			next = w.due
		}
	}
	return next
}

// due takes in what is on record, and returns the workers that are to be started.
func (s *supervisor) due(ctx context.Context, recorded map[*worker]lifecycle.Record) (due []*worker) {
	for _, w := range s.workers {
		record, ok := recorded[w]
		switch {
		case ok && record.Phase == lifecycle.Launching:
			s.table.error(s.resolve(ctx, w, record))
		case ok && w.state == "":
			s.adopt(w, record)
		case !ok && w.state == "":
			w.due = time.Now()
		case !ok && w.due.IsZero():
			s.pause(w, "stopped") // by somebody else
		}
		if !w.due.IsZero() && !time.Now().Before(w.due) {
			due = append(due, w)
		}
	}
	return due
}

// end stops the records that are to be stopped, ends their processes, and what
// stopped workers have left.
func (s *supervisor) end(ctx context.Context, reason string, which func(lifecycle.Record) bool) error {
	records, err := s.store.Records(ctx)
	errs := make([]error, len(records))
	var wg sync.WaitGroup
	for i, record := range records {
		if !which(record) {
			continue
		}
		if w := s.worker(record); w != nil {
			s.set(w, "ending", time.Now())
		}
		wg.Go(func() { errs[i] = s.stop(ctx, record, reason) })
	}
	wg.Wait()
	return errors.Join(err, errors.Join(errs...), s.endLeft(ctx))
}

// stop stops the record of a worker, and then ends its process.
func (s *supervisor) stop(ctx context.Context, record lifecycle.Record, reason string) error {
	_, err := s.watcher.Cleaner.Stop(ctx, record, lifecycle.Cause{By: "supervisor", Reason: reason})
	return err
}

func workerName(i int) string { return "worker-" + strconv.Itoa(i+1) }

// worker returns the worker of a record, or nil if it is one too many.
func (s *supervisor) worker(record lifecycle.Record) *worker {
	for _, w := range s.workers {
		if w.name == record.Name {
			return w
		}
	}
	return nil
}
