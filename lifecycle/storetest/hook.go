package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

var errRefused = errors.New("refused by the hook")

// hooked is a store whose hook notes the events it is shown, and refuses names
// that contain "refused".
type hooked struct {
	lifecycle.Registrar
	mu    sync.Mutex
	shown []lifecycle.Event
}

func openHooked(ctx context.Context, h Harness) (s *hooked, err error) {
	s = &hooked{}
	s.Registrar, err = openOne(ctx, h, Options{OnStop: func(_ context.Context, e lifecycle.Event) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.shown = append(s.shown, e)
		if strings.Contains(e.Name, "refused") {
			return errRefused
		}
		return nil
	}})
	return s, err
}

// family launches a parent and its child, each with a key.
func (s *hooked) family(ctx context.Context, parent, child string) (root lifecycle.Record, err error) {
	if root, err = launchRunning(ctx, s, parent, record("", "").Identity); err != nil {
		return root, err
	}
	r, err := s.Launch(ctx, lifecycle.Record{Name: child, Parent: parent})
	if err == nil {
		err = s.Bind(ctx, r, "session of "+child)
	}
	if err != nil {
		return root, fmt.Errorf("registering %q: %w", child, err)
	}
	return root, nil
}

func showsHook(ctx context.Context, h Harness) error {
	s, err := openHooked(ctx, h)
	if err != nil {
		return err
	}
	root, err := s.family(ctx, "parent", "child")
	if err != nil {
		return err
	}
	for _, want := range []lifecycle.Outcome{lifecycle.Stopped, lifecycle.AlreadyStopped} {
		if err := stop(ctx, s, root, want); err != nil {
			return err
		}
	}
	events, err := allEvents(ctx, s)
	if err != nil {
		return fmt.Errorf("Events: %w", err)
	}
	if len(events) != 2 || len(s.shown) != 2 {
		return fmt.Errorf("the hook was shown %d events, the log has %d, want 2", len(s.shown), len(events))
	}
	for i, want := range events {
		got := s.shown[i]
		if got.Seq != want.Seq || got.Name != want.Name || got.Incarnation != want.Incarnation || got.Action != want.Action || got.By != want.By ||
			got.Reason != want.Reason || got.Verdict != want.Verdict || !got.At.Equal(want.At) {
			return fmt.Errorf("the hook was shown %+v, the log has %+v", got, want)
		}
		if err := sameRecord(got.Snapshot.Record, want.Snapshot.Record); err != nil {
			return fmt.Errorf("the hook was shown another snapshot than the log has: %w", err)
		}
		if keys := []string{"session of " + got.Name}; !slices.Equal(got.Snapshot.Bindings, keys) {
			return fmt.Errorf("the hook was shown a snapshot with bindings %q, want %q", got.Snapshot.Bindings, keys)
		}
	}
	return nil
}

func undoesRefused(ctx context.Context, h Harness) error {
	s, err := openHooked(ctx, h)
	if err != nil {
		return err
	}
	for _, names := range [][2]string{{"refused parent", "child"}, {"parent", "refused child"}} {
		root, err := s.family(ctx, names[0], names[1])
		if err != nil {
			return err
		}
		keys := []string{"session of " + names[0], "session of " + names[1]}
		before, err := image(ctx, s, keys...)
		if err != nil {
			return err
		}
		if outcome, err := s.Stop(ctx, root, cause); !errors.Is(err, errRefused) || outcome != 0 {
			return fmt.Errorf("Stop of %q with %q = %v, %v, want the error of the hook", names[0], names[1], outcome, err)
		}
		if err := unchanged(ctx, s, before, keys...); err != nil {
			return err
		}
	}
	return nil
}

func stopsBatchUpToRefused(ctx context.Context, h Harness) error {
	s, err := openHooked(ctx, h)
	if err != nil {
		return err
	}
	batch, ok := s.Registrar.(lifecycle.BatchStopper)
	if !ok {
		return fmt.Errorf("%w: it stops records one by one", errNotApplicable)
	}
	launched, err := launchAll(ctx, s, "a", "b", "c refused", "d", "e refused", "f")
	if err != nil {
		return err
	}
	stops := stopsOf(cause, launched...)
	n, err := batch.StopBatch(ctx, stops)
	want := []lifecycle.Outcome{lifecycle.Stopped, lifecycle.Stopped}
	if got := outcomesOf(stops, n); !slices.Equal(got, want) || !errors.Is(err, errRefused) {
		return fmt.Errorf("StopBatch = %v, %v, want %v and the error of the hook", got, err, want)
	}
	return holds(ctx, subject{s}, []string{"c refused", "d", "e refused", "f"}, []string{"a", "b"})
}

func cleansAllButRefused(ctx context.Context, h Harness) error {
	s, err := openHooked(ctx, h)
	if err != nil {
		return err
	}
	dead := record("", "").Identity
	var refused, stopped []string
	for i := range 10 {
		name := fmt.Sprintf("worker-%d", i)
		if i%3 == 1 {
			name = fmt.Sprintf("refused-%d", i)
			refused = append(refused, name)
		} else {
			stopped = append(stopped, name)
		}
		if _, err := launchRunning(ctx, s, name, dead); err != nil {
			return err
		}
	}
	alive, err := launchRunning(ctx, s, "x alive", liveness.Identity{PID: 1})
	if err != nil {
		return err
	}
	report, err := lifecycle.Cleaner{Store: s.Registrar, Liveness: changing{dead, func() {}}}.Clean(ctx)
	if !errors.Is(err, errRefused) || report.Stopped != len(stopped) || report.Failed != len(refused) {
		return fmt.Errorf("Clean: %v, %v, want %d stopped, %d failed, and the error of the hook", report, err, len(stopped), len(refused))
	}
	return holds(ctx, subject{s}, append(refused, alive.Name), stopped)
}
