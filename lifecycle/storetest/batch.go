package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

// stopsBatch is about the ability to stop many at once: that they end as one by
// one.
func stopsBatch(ctx context.Context, s Subject) error {
	batch, ok := s.(lifecycle.BatchStopper)
	if !ok {
		return nil
	}
	changed := record("changed", "1")
	changed.Heartbeat.Awake++
	child := record("child", "1")
	child.Parent = "a"
	if err := put(ctx, s, record("a", "1"), child, record("b", "2"), changed, record("last", "1")); err != nil {
		return err
	}
	ifUnchanged := cause
	ifUnchanged.IfUnchanged, ifUnchanged.Verdict = true, liveness.Verdict{}
	stops := stopsOf(ifUnchanged, record("a", "1"), record("a", "1"), child, record("b", "1"), record("nobody", "1"), record("changed", "1"), record("last", "1"))
	want := []lifecycle.Outcome{lifecycle.Stopped, lifecycle.AlreadyStopped, lifecycle.AlreadyStopped, lifecycle.AlreadyStopped, lifecycle.AlreadyStopped}
	n, err := batch.StopBatch(ctx, stops)
	if outcomes := outcomesOf(stops, n); !slices.Equal(outcomes, want) || !errors.Is(err, lifecycle.ErrChanged) {
		return fmt.Errorf("StopBatch = %v, %v, want %v, ErrChanged", outcomes, err, want)
	}
	if err := holds(ctx, s, []string{"b", "changed", "last"}, []string{"a", "child"}); err != nil {
		return err
	}
	n, err = batch.StopBatch(ctx, stops[6:])
	if outcomes := outcomesOf(stops[6:], n); !slices.Equal(outcomes, []lifecycle.Outcome{lifecycle.Stopped}) || err != nil {
		return fmt.Errorf("StopBatch of the rest = %v, %v", outcomes, err)
	}
	if n, err = batch.StopBatch(ctx, nil); n != 0 || err != nil {
		return fmt.Errorf("StopBatch of nothing = %v, %v", n, err)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if n, err = batch.StopBatch(over, stopsOf(cause, record("b", "2"))); n != 0 || !errors.Is(err, context.Canceled) {
		return fmt.Errorf("StopBatch with a cancelled context = %v, %v", n, err)
	}
	return holds(ctx, s, []string{"b", "changed"}, []string{"a", "child", "last"})
}

func stopsOf(cause lifecycle.Cause, records ...lifecycle.Record) (stops []lifecycle.Stop) {
	for _, r := range records {
		stops = append(stops, lifecycle.Stop{Record: r, Cause: cause})
	}
	return stops
}

// outcomesOf returns the outcomes of the first n stops.
func outcomesOf(stops []lifecycle.Stop, n int) []lifecycle.Outcome {
	outcomes := make([]lifecycle.Outcome, min(n, len(stops)))
	for i := range outcomes {
		outcomes[i] = stops[i].Outcome
	}
	return outcomes
}

// tellsDescendants is about the same ability: that it tells what was stopped along
// with each.
func tellsDescendants(ctx context.Context, s Subject) error {
	batch, ok := s.(lifecycle.BatchStopper)
	if !ok {
		return nil
	}
	parent, child, grandchild, other := record("parent", "p-1"), record("child", "c-1"), record("grandchild", "g-1"), record("other", "o-1")
	child.Parent, grandchild.Parent = parent.Name, child.Name
	second, secondChild := record("second", "s-1"), record("second's child", "s-2")
	secondChild.Parent = second.Name
	if err := put(ctx, s, grandchild, child, parent, other, secondChild, second); err != nil {
		return err
	}
	stops := stopsOf(cause, parent, parent, child, other, second)
	if n, err := batch.StopBatch(ctx, stops); n != len(stops) || err != nil {
		return fmt.Errorf("StopBatch = %d, %w, want %d", n, err, len(stops))
	}
	for i, want := range []struct {
		outcome lifecycle.Outcome
		along   []lifecycle.Record
	}{
		{lifecycle.Stopped, []lifecycle.Record{child, grandchild}},
		{lifecycle.AlreadyStopped, nil},
		{lifecycle.AlreadyStopped, nil},
		{lifecycle.Stopped, nil},
		{lifecycle.Stopped, []lifecycle.Record{secondChild}},
	} {
		name, along := stops[i].Record.Name, slices.Clone(stops[i].Descendants)
		slices.SortFunc(along, func(a, b lifecycle.Record) int { return len(a.Name) - len(b.Name) })
		if stops[i].Outcome != want.outcome || len(along) != len(want.along) {
			return fmt.Errorf("StopBatch: %q is %v with %d descendants, want %v with %d", name, stops[i].Outcome, len(along), want.outcome, len(want.along))
		}
		for j, want := range want.along {
			if got := along[j]; got.Name != want.Name || got.Incarnation != want.Incarnation || got.Identity.String() != want.Identity.String() {
				return fmt.Errorf("StopBatch of %q tells of %v, want %v", name, got, want)
			}
		}
	}
	events, err := s.Events(ctx)
	if err != nil || len(events) != 6 {
		return fmt.Errorf("%d events, %w, want 6", len(events), err)
	}
	return nil
}
