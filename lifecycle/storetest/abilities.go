package storetest

import (
	"context"
	"fmt"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// tellsRegistrations is about the ability to tell for little whether to read.
func tellsRegistrations(ctx context.Context, s Subject) error {
	registry, ok := s.(interface {
		Registrations(context.Context) (int64, error)
	})
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
