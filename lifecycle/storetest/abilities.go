package storetest

import (
	"context"
	"fmt"
	"slices"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// stopsTree is about the ability to tell what was stopped along with a record.
func stopsTree(ctx context.Context, s Subject) error {
	tree, ok := s.(lifecycle.TreeStopper)
	if !ok {
		return nil
	}
	parent, child, grandchild, other := record("parent", "p-1"), record("child", "c-1"), record("grandchild", "g-1"), record("other", "o-1")
	child.Parent, grandchild.Parent = parent.Name, child.Name
	if err := put(ctx, s, grandchild, child, parent, other); err != nil {
		return err
	}
	for _, step := range []struct {
		record  lifecycle.Record
		outcome lifecycle.Outcome
		along   []lifecycle.Record
	}{
		{parent, lifecycle.Stopped, []lifecycle.Record{child, grandchild}},
		{parent, lifecycle.AlreadyStopped, nil},
		{child, lifecycle.AlreadyStopped, nil},
		{other, lifecycle.Stopped, nil},
	} {
		along, outcome, err := tree.StopTree(ctx, step.record, cause)
		if err != nil || outcome != step.outcome {
			return fmt.Errorf("StopTree(%q) = %v, %w, want %v", step.record.Name, outcome, err, step.outcome)
		}
		slices.SortFunc(along, func(a, b lifecycle.Record) int { return len(a.Name) - len(b.Name) })
		if len(along) != len(step.along) {
			return fmt.Errorf("StopTree(%q) tells of %d descendants, want %d", step.record.Name, len(along), len(step.along))
		}
		for i, got := range along {
			if want := step.along[i]; got.Name != want.Name || got.Incarnation != want.Incarnation || got.Identity.String() != want.Identity.String() {
				return fmt.Errorf("StopTree(%q) tells of %v, want %v", step.record.Name, got, want)
			}
		}
	}
	changed := record("changed", "1")
	if err := put(ctx, s, changed); err != nil {
		return err
	}
	stale := changed
	stale.Phase = lifecycle.Inactive
	why := cause
	why.IfUnchanged = true
	if along, outcome, err := tree.StopTree(ctx, stale, why); err == nil {
		return fmt.Errorf("StopTree of a record that changed = %v, %v, want an error", along, outcome)
	}
	events, err := s.Events(ctx)
	if err != nil || len(events) != 4 {
		return fmt.Errorf("%d events, %w, want 4", len(events), err)
	}
	return nil
}

// tellsRegistrations is about the ability to tell for little whether to read.
func tellsRegistrations(ctx context.Context, s Subject) error {
	registry, ok := s.(lifecycle.Registry)
	if !ok {
		return nil
	}
	a, b := record("a", "1"), record("b", "1")
	activated := a
	activated.Phase = lifecycle.Inactive
	seen := map[int64]string{}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"nothing", func() error { return nil }},
		{"the first record", func() error { return put(ctx, s, a) }},
		{"the second record", func() error { return put(ctx, s, b) }},
		{"another phase", func() error { return put(ctx, s, activated) }},
	} {
		if err := step.do(); err != nil {
			return err
		}
		n, err := registry.Registrations(ctx)
		if err != nil {
			return fmt.Errorf("Registrations after %s: %w", step.name, err)
		}
		if before, again := seen[n]; again {
			return fmt.Errorf("Registrations after %s = %d, as after %s", step.name, n, before)
		}
		seen[n] = step.name
		if same, err := registry.Registrations(ctx); err != nil || same != n {
			return fmt.Errorf("Registrations once more = %d, %w, want %d", same, err, n)
		}
	}
	return nil
}
