package lifecycle_test

import (
	"context"
	"iter"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

// newRecord is a running record of the world's present that tracks no process.
func newRecord(world *livenesstest.World, name string) lifecycle.Record {
	return lifecycle.Record{
		Name: name, Incarnation: name + "-1",
		CreatedAt: time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC),
		Heartbeat: lifecycle.Beat(world),
	}
}

// tracking is a running record of a process.
func tracking(world *livenesstest.World, name string, process liveness.Identity) lifecycle.Record {
	record := newRecord(world, name)
	record.Identity = process
	return record
}

// newDead is a running record whose process has exited.
func newDead(world *livenesstest.World, name string) lifecycle.Record {
	process := world.Start()
	world.Exit(process.PID)
	return tracking(world, name, process)
}

// newCleaner judges by the world.
func newCleaner(world *livenesstest.World, store lifecycle.Store) lifecycle.Cleaner {
	return lifecycle.Cleaner{Store: store, Liveness: world, Clock: world}
}

func put(c *qt.C, store *memstore.Store, records ...lifecycle.Record) {
	c.Helper()
	for _, record := range records {
		_, err := store.Put(context.Background(), record)
		c.Assert(err, qt.IsNil)
	}
}

// names lists the records that a store still has, in the order of their registration.
func names(c *qt.C, store *memstore.Store) []string {
	c.Helper()
	records, err := store.Records(context.Background())
	c.Assert(err, qt.IsNil)
	list := make([]string, len(records))
	for i, record := range records {
		list[i] = record.Name
	}
	return list
}

// stopped lists the events of a store as "name reason".
func stopped(c *qt.C, store *memstore.Store) []string {
	c.Helper()
	events, err := store.Events(context.Background(), 0)
	c.Assert(err, qt.IsNil)
	list := make([]string, len(events))
	for i, event := range events {
		list[i] = event.Name + " " + event.Reason
	}
	return list
}

// scripted is a Store that yields what it is told to. A nil onStop stops all.
type scripted struct {
	yields []yielded
	onStop func(context.Context, lifecycle.Record, lifecycle.Cause) (lifecycle.Outcome, error)
}

type yielded struct {
	record lifecycle.Record
	err    error
}

func yielding(records ...lifecycle.Record) *scripted {
	s := &scripted{}
	for _, record := range records {
		s.yields = append(s.yields, yielded{record: record})
	}
	return s
}

func (s *scripted) Candidates(context.Context) iter.Seq2[lifecycle.Record, error] {
	return func(yield func(lifecycle.Record, error) bool) {
		for _, y := range s.yields {
			if !yield(y.record, y.err) {
				return
			}
		}
	}
}

func (s *scripted) Stop(ctx context.Context, record lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	if s.onStop == nil {
		return lifecycle.Stopped, nil
	}
	return s.onStop(ctx, record, cause)
}

// oneByOneStore hides what else a store can do.
type oneByOneStore struct{ lifecycle.Store }

// intercepted is a memstore in which something happens just before a Stop.
type intercepted struct {
	*memstore.Store
	before func(lifecycle.Record)
}

func (s *intercepted) Stop(ctx context.Context, record lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	s.before(record)
	return s.Store.Stop(ctx, record, cause)
}

func (s *intercepted) StopBatch(ctx context.Context, stops []lifecycle.Stop) (int, error) {
	for i := range stops {
		s.before(stops[i].Record)
		if _, err := s.Store.StopBatch(ctx, stops[i:i+1]); err != nil {
			return i, err
		}
	}
	return len(stops), nil
}

// always is a Liveness that gives one answer.
type always liveness.Verdict

func (a always) Check(liveness.Identity) liveness.Verdict { return liveness.Verdict(a) }

// livenessFunc is a function as a Liveness.
type livenessFunc func(liveness.Identity) liveness.Verdict

func (f livenessFunc) Check(id liveness.Identity) liveness.Verdict { return f(id) }
