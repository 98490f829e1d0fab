package postgresstore_test

import (
	"context"
	"iter"
	"testing"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/storetest"
	"github.com/rollcall-go/rollcall/postgresstore"
)

// subject is a Store as package storetest wants it. That suite does not say
// whose a record is, which this store asks for: it is this machine's here.
type subject struct {
	*postgresstore.Store
	t  *testing.T
	db database
}

const thisMachine = "this machine"

func owned(record lifecycle.Record) lifecycle.Record {
	if record.Owner == "" {
		record.Owner = thisMachine
	}
	return record
}

func disowned(record lifecycle.Record) lifecycle.Record {
	if record.Owner == thisMachine {
		record.Owner = ""
	}
	return record
}

func newSubject(t *testing.T, d database) subject {
	return subject{d.store(t, postgresstore.Options{}), t, d}
}

func (s subject) Put(ctx context.Context, record lifecycle.Record) error {
	return s.Store.Put(ctx, owned(record))
}

func (s subject) Candidates(ctx context.Context) iter.Seq2[lifecycle.Record, error] {
	return func(yield func(lifecycle.Record, error) bool) {
		for record, err := range s.Store.Candidates(ctx) {
			if !yield(disowned(record), err) {
				return
			}
		}
	}
}

func (s subject) Records(ctx context.Context) ([]lifecycle.Record, error) {
	records, err := s.Store.Records(ctx)
	for i := range records {
		records[i] = disowned(records[i])
	}
	return records, err
}

func (s subject) Events(ctx context.Context) ([]lifecycle.Event, error) {
	events, err := s.Store.Events(ctx, 0)
	for i := range events {
		events[i].Snapshot.Record = disowned(events[i].Snapshot.Record)
	}
	return events, err
}

func (s subject) Reopen(context.Context) (storetest.Subject, error) {
	return newSubject(s.t, s.db.again(s.t)), nil
}

func TestStoreKeepsTheRulesOfItsInterface(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Subject { return newSubject(t, newDatabase(t)) })
}

func TestGateKeepsTheRulesOfItsInterface(t *testing.T) {
	t.Parallel()
	storetest.RunKV(t, func(t *testing.T) lifecycle.KV {
		store, _ := open(t, postgresstore.Options{})
		return store.Gate()
	})
}
