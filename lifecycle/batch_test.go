package lifecycle_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

// batchStore is a memstore that stops in batches, and fails at some records:
// in a batch, or also one by one.
type batchStore struct {
	memstore.Store
	failInBatch map[string]error
	failAlone   map[string]error
	atMost      int // how many records a batch comes to; 0 is all

	batches [][]string // the names in each call of StopBatch with several
	alone   []string   // the names in each call with one
}

func (s *batchStore) StopBatch(ctx context.Context, stops []lifecycle.Stop) (n int, err error) {
	if len(stops) == 1 {
		s.alone = append(s.alone, stops[0].Record.Name)
		if err := s.failAlone[stops[0].Record.Name]; err != nil {
			return 0, err
		}
		return s.Store.StopBatch(ctx, stops)
	}
	var batch []string
	for _, stop := range stops {
		batch = append(batch, stop.Record.Name)
	}
	s.batches = append(s.batches, batch)
	for i, stop := range stops {
		if s.atMost > 0 && i == s.atMost {
			return i, nil
		}
		if err := s.failInBatch[stop.Record.Name]; err != nil {
			return i, err
		}
		if _, err := s.Store.StopBatch(ctx, stops[i:i+1]); err != nil {
			return i, err
		}
	}
	return len(stops), nil
}

func newBatchStore(c *qt.C, w *world, names ...string) *batchStore {
	store := new(batchStore)
	for _, name := range names {
		put(c, &store.Store, newDead(w, name))
	}
	return store
}

func TestABatchHoldsOnlyWhatIsDue(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	store := newBatchStore(c, w, "a")
	put(c, &store.Store, tracking(w, "runs", w.Start()), newDead(w, "b"))
	report, err := newCleaner(w, store).Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(store.batches, qt.DeepEquals, [][]string{{"a", "b"}})
	c.Assert(store.alone, qt.HasLen, 0)
	c.Assert(report.Stopped, qt.Equals, 2)
	c.Assert(report.Kept, qt.Equals, 1)
}

func TestARecordThatFailsABatchIsTriedAlone(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	store := newBatchStore(c, w, "a", "b", "c", "d")
	store.failInBatch = map[string]error{"b": errDisk}
	report, err := newCleaner(w, store).Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(store.batches, qt.DeepEquals, [][]string{{"a", "b", "c", "d"}, {"c", "d"}})
	c.Assert(store.alone, qt.DeepEquals, []string{"b"})
	c.Assert(report.Stopped, qt.Equals, 4)
	c.Assert(names(c, &store.Store), qt.HasLen, 0)
}

func TestARecordThatCannotBeStoppedDoesNotHoldUpItsBatch(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	for _, bad := range []string{"a", "b", "d"} {
		store := newBatchStore(c, w, "a", "b", "c", "d")
		store.failInBatch = map[string]error{bad: errors.New("the batch failed")}
		store.failAlone = map[string]error{bad: errDisk}
		report, err := newCleaner(w, store).Clean(c.Context())
		c.Assert(err, qt.ErrorMatches, fmt.Sprintf(`lifecycle: stop record %q: disk on fire`, bad))
		c.Assert(report.Stopped, qt.Equals, 3)
		c.Assert(report.Failed, qt.Equals, 1)
		c.Assert(names(c, &store.Store), qt.DeepEquals, []string{bad})
	}
}

func TestAShortBatchIsFinished(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	store := newBatchStore(c, w, "a", "b", "c", "d", "e")
	store.atMost = 2
	report, err := newCleaner(w, store).Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(report.Stopped, qt.Equals, 5)
	c.Assert(store.alone, qt.DeepEquals, []string{"c"})
	c.Assert(stopped(c, &store.Store), qt.HasLen, 5)
}

// tooMany says that it came to more records than it was given.
type tooMany struct{ *batchStore }

func (s tooMany) StopBatch(ctx context.Context, stops []lifecycle.Stop) (int, error) {
	n, err := s.batchStore.StopBatch(ctx, stops)
	return n + 2, err
}

func TestOutcomesBeyondTheBatchAreIgnored(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	report, err := newCleaner(w, tooMany{newBatchStore(c, w, "a", "b")}).Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(report.Stopped, qt.Equals, 2)
}

func TestAChangedRecordOfABatchIsKept(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	store := newBatchStore(c, w, "a", "b", "c")
	changed := fmt.Errorf("somebody was here: %w", lifecycle.ErrChanged)
	store.failInBatch = map[string]error{"b": changed}
	store.failAlone = store.failInBatch
	report, err := newCleaner(w, store).Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(report.Stopped, qt.Equals, 2)
	c.Assert(report.KeptBy, qt.DeepEquals, map[string]int{"changed": 1})
}

func TestABatchCountsWhatItsParentTookAlong(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	store := newBatchStore(c, w, "parent")
	child := newDead(w, "child")
	child.Parent = "parent"
	put(c, &store.Store, child)
	report, err := newCleaner(w, store).Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(report.Stopped, qt.Equals, 1)
	c.Assert(report.AlreadyStopped, qt.Equals, 1)
}

// cancelling cancels the pass when a batch comes to a record.
type cancelling struct {
	*batchStore
	at     string
	cancel func()
}

func (s cancelling) StopBatch(ctx context.Context, stops []lifecycle.Stop) (int, error) {
	i := slices.IndexFunc(stops, func(stop lifecycle.Stop) bool { return stop.Record.Name == s.at })
	if i < 0 || len(stops) == 1 {
		return s.batchStore.StopBatch(ctx, stops)
	}
	n, err := s.batchStore.StopBatch(ctx, stops[:i])
	s.cancel()
	return n, cmp.Or(err, ctx.Err())
}

func TestABatchThatIsCancelledMidwayEndsThePass(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	var all []string
	for i := range 300 { // more than one batch
		all = append(all, fmt.Sprint(i))
	}
	store := newBatchStore(c, w, all...)
	ctx, cancel := context.WithCancel(c.Context())
	report, err := newCleaner(w, cancelling{store, "2", cancel}).Clean(ctx)
	c.Assert(err, qt.ErrorIs, context.Canceled)
	c.Assert(report.Stopped, qt.Equals, 2)
	c.Assert(report.Examined, qt.Equals, 2)
	c.Assert(stopped(c, &store.Store), qt.DeepEquals, []string{"0 exit:died", "1 exit:died"})
	c.Assert(store.batches, qt.HasLen, 1, qt.Commentf("nothing but the record that failed is tried after that"))
	c.Assert(store.alone, qt.DeepEquals, []string{"2"})
}

func TestBatchesAreBounded(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	var all []string
	for i := range 3000 {
		all = append(all, fmt.Sprint(i))
	}
	store := newBatchStore(c, w, all...)
	cleaner := newCleaner(w, store)
	cleaner.Concurrency = 4 // judges in parallel, stops in order
	report, err := cleaner.Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(report.Stopped, qt.Equals, 3000)
	c.Assert(slices.Concat(store.batches...), qt.DeepEquals, all)
	for _, batch := range store.batches {
		c.Assert(len(batch) <= 1024, qt.IsTrue)
	}
}
