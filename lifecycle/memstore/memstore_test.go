package memstore_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"
	"github.com/google/uuid"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/lifecycle/storetest"
)

// harness is a place in memory: one store.
type harness struct{ store *memstore.Store }

func (h *harness) Open(_ context.Context, options storetest.Options) (lifecycle.Registrar, error) {
	if h.store == nil {
		h.store = memstore.New(memstore.Options(options))
	}
	return exact{h.store}, nil
}

// exact has the Put of [storetest.Putter].
type exact struct{ *memstore.Store }

func (s exact) Put(ctx context.Context, record lifecycle.Record) error {
	_, err := s.Store.Put(ctx, record)
	return err
}

func TestStoreKeepsTheRulesOfItsInterface(t *testing.T) {
	t.Parallel()
	storetest.RunRegistrar(t, func(*testing.T, string) storetest.Harness { return new(harness) })
}

func TestTheZeroStoreIsEmptyAndReady(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	var store memstore.Store
	records, err := store.Records(c.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(records, qt.HasLen, 0)
	events, err := store.Events(c.Context(), 0)
	c.Assert(err, qt.IsNil)
	c.Assert(events, qt.HasLen, 0)
	outcome, err := store.Stop(c.Context(), lifecycle.Record{Name: "a", Incarnation: "1"}, lifecycle.Cause{})
	c.Assert(err, qt.IsNil)
	c.Assert(outcome, qt.Equals, lifecycle.AlreadyStopped)
	value, err := store.Gate().Get(c.Context(), "key")
	c.Assert(err, qt.IsNil)
	c.Assert(value, qt.Equals, "")
	c.Assert(store.Bind(c.Context(), lifecycle.Record{Name: "a"}, "key"), qt.ErrorIs, lifecycle.ErrNotRegistered)
}

func TestPutFillsDefaults(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	var store memstore.Store
	before := time.Now()
	got, err := store.Put(c.Context(), lifecycle.Record{Name: "a"})
	c.Assert(err, qt.IsNil)
	id, err := uuid.Parse(got.Incarnation)
	c.Assert(err, qt.IsNil)
	c.Assert(id.Version(), qt.Equals, uuid.Version(7))
	c.Assert(got.CreatedAt.Before(before), qt.IsFalse)
	c.Assert(got.Heartbeat.Wall.Before(before), qt.IsFalse)
	records, err := store.Records(c.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(records, qt.HasLen, 1)
	c.Assert(records[0].Incarnation, qt.Equals, got.Incarnation)

	given := lifecycle.Record{Name: "b", Incarnation: "1", CreatedAt: before.Add(-time.Hour), Heartbeat: lifecycle.Heartbeat{Wall: before}}
	got, err = store.Put(c.Context(), given)
	c.Assert(err, qt.IsNil)
	c.Assert(got.Incarnation, qt.Equals, "1")
	c.Assert(got.CreatedAt, qt.Equals, given.CreatedAt)
	c.Assert(got.Heartbeat, qt.Equals, given.Heartbeat)
}

func TestANameIsTakenUntilItsRecordIsStopped(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	var store memstore.Store
	first, err := store.Put(c.Context(), lifecycle.Record{Name: "a"})
	c.Assert(err, qt.IsNil)
	_, err = store.Put(c.Context(), lifecycle.Record{Name: "a"})
	c.Assert(err, qt.ErrorIs, lifecycle.ErrNameTaken)
	c.Assert(err, qt.ErrorMatches, `memstore: put "a": name is taken`)
	first.Data = json.RawMessage("1")
	_, err = store.Put(c.Context(), first)
	c.Assert(err, qt.IsNil)
	_, err = store.Stop(c.Context(), first, lifecycle.Cause{})
	c.Assert(err, qt.IsNil)
	_, err = store.Put(c.Context(), lifecycle.Record{Name: "a"})
	c.Assert(err, qt.IsNil)
}

func TestDataIsNoRegistration(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	var store memstore.Store
	record, err := store.Launch(c.Context(), lifecycle.Record{Name: "a"})
	c.Assert(err, qt.IsNil)
	before, err := store.Registrations(c.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(store.SetData(c.Context(), record, json.RawMessage("1")), qt.IsNil)
	after, err := store.Registrations(c.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(after, qt.Equals, before)
}

func TestInvalidRecordsAreRefused(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	var store memstore.Store
	for _, record := range []lifecycle.Record{{}, {Name: "a", Phase: 9}, {Name: "a", Data: json.RawMessage("{")}} {
		_, err := store.Put(c.Context(), record)
		c.Assert(err, qt.ErrorIs, lifecycle.ErrInvalidRecord)
		c.Assert(err, qt.ErrorMatches, `memstore: put ".*": .*`)
	}
	records, err := store.Records(c.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(records, qt.HasLen, 0)
}

func TestARecordThatMovesToAnotherParentIsStoppedWithThat(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	var store memstore.Store
	parent := func(name string) lifecycle.Record { return lifecycle.Record{Name: name, Incarnation: "1"} }
	child := lifecycle.Record{Name: "child", Incarnation: "1", Parent: "first"}
	for _, record := range []lifecycle.Record{parent("first"), parent("second"), child} {
		_, err := store.Put(c.Context(), record)
		c.Assert(err, qt.IsNil)
	}
	child.Parent = "second"
	_, err := store.Put(c.Context(), child)
	c.Assert(err, qt.IsNil)
	for i, name := range []string{"first", "second"} {
		_, err := store.Stop(c.Context(), parent(name), lifecycle.Cause{})
		c.Assert(err, qt.IsNil)
		records, err := store.Records(c.Context())
		c.Assert(err, qt.IsNil)
		c.Assert(records, qt.HasLen, 2-2*i)
	}
}
