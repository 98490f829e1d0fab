package storetest

import (
	"context"
	"fmt"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

// registry is a store that says whether there is something new for a watcher.
type registry interface {
	Registrations(ctx context.Context) (int64, error)
}

type step struct {
	name string
	do   func() error
}

// counts checks that each step has a number of its own.
func counts(ctx context.Context, r registry, steps []step) error {
	seen := map[int64]string{}
	for _, step := range steps {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		n, err := r.Registrations(ctx)
		if err != nil {
			return fmt.Errorf("Registrations after %s: %w", step.name, err)
		}
		if before, again := seen[n]; again {
			return fmt.Errorf("Registrations after %s = %d, as after %s", step.name, n, before)
		}
		seen[n] = step.name
		if same, err := r.Registrations(ctx); err != nil || same != n {
			return fmt.Errorf("Registrations once more = %d, %v, want %d", same, err, n)
		}
	}
	return nil
}

// countsPuts is about a plain store that has the method besides.
func countsPuts(ctx context.Context, s Subject) error {
	r, ok := s.(registry)
	if !ok {
		return nil
	}
	a := record("a", "1")
	changed := a
	changed.Phase = lifecycle.Inactive
	return counts(ctx, r, []step{
		{"nothing", func() error { return nil }},
		{"the first record", func() error { return put(ctx, s, a) }},
		{"the second record", func() error { return put(ctx, s, record("b", "1")) }},
		{"another phase", func() error { return put(ctx, s, changed) }},
	})
}

// countsRegistrations is about what another handle does.
func countsRegistrations(ctx context.Context, h Harness) error {
	stores, err := openTwo(ctx, h, Options{})
	if err != nil {
		return err
	}
	watched, other := stores[0], stores[1]
	var r lifecycle.Record
	launch := func(name string) func() error {
		return func() (err error) {
			r, err = other.Launch(ctx, lifecycle.Record{Name: name})
			return err
		}
	}
	return counts(ctx, watched, []step{
		{"nothing", func() error { return nil }},
		{"the first record", launch("a")},
		{"the second record", launch("b")},
		{"a process", func() error { return other.Activate(ctx, r, record("", "").Identity) }},
		{"another process", func() error { return other.Activate(ctx, r, liveness.Identity{}) }},
		{"the end of it", func() error { return other.Deactivate(ctx, r) }},
	})
}
