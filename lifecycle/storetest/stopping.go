package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

func stopsFamilies(ctx context.Context, h Harness) error {
	const n = 300 // more than a database takes in one statement
	stores, err := openTwo(ctx, h, Options{})
	if err != nil {
		return err
	}
	s := stores[0]
	if _, err := launchRunning(ctx, s, "stranger", liveness.Identity{}); err != nil {
		return err
	}
	for shape, parentOf := range map[string]func(i int) int{
		"chain":    func(i int) int { return i - 1 },
		"children": func(i int) int { return min(i, 1) - 1 },
		"cycle":    func(i int) int { return (i + 1) % n },
		"own head": func(int) int { return 0 },
	} {
		want := make([]string, n)
		for i := range want {
			want[i] = fmt.Sprintf("%s %03d", shape, i)
		}
		family, err := fill(ctx, h, s, want, func(i int) string {
			if parent := parentOf(i); parent >= 0 {
				return want[parent]
			}
			return ""
		})
		if err != nil {
			return err
		}
		head, key := family[0], want[1]
		if err := s.Bind(ctx, family[1], key); err != nil {
			return fmt.Errorf("Bind: %w", err)
		}
		before, err := allEvents(ctx, s)
		if err != nil {
			return fmt.Errorf("Events: %w", err)
		}
		if err := stop(ctx, stores[1], head, lifecycle.Stopped); err != nil {
			return err
		}
		events, err := allEvents(ctx, s)
		if err != nil {
			return fmt.Errorf("Events: %w", err)
		}
		events = events[len(before):]
		var got []string
		for i, e := range events {
			reason := lifecycle.ReasonParentStopped
			if i == len(events)-1 {
				reason = cause.Reason
			}
			if e.Reason != reason || e.By != cause.By {
				return fmt.Errorf("%s: event %d of %d, of %q, is by %q for %q, want %q", shape, i, len(events), e.Name, e.By, e.Reason, reason)
			}
			got = append(got, e.Name)
		}
		if len(got) == 0 || got[len(got)-1] != head.Name {
			return fmt.Errorf("%s: the events are of %.100q, want the head last", shape, got)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			return fmt.Errorf("%s: %d events, want one of each of %d: %.200q", shape, len(got), n, got)
		}
		if r, err := s.Bound(ctx, key); !errors.Is(err, lifecycle.ErrNotRegistered) {
			return fmt.Errorf("%s: a key of a descendant is bound to %q, %v", shape, r.Name, err)
		}
	}
	r, err := s.Bound(ctx, "session of stranger")
	if err != nil || r.Name != "stranger" {
		return fmt.Errorf("Bound = %q, %v, want the stranger", r.Name, err)
	}
	_, err = only(ctx, s)
	return err
}

func doesNothingCancelled(ctx context.Context, h Harness) error {
	s, err := openOne(ctx, h, Options{})
	if err != nil {
		return err
	}
	r, err := launchRunning(ctx, s, "a", liveness.Identity{})
	if err != nil {
		return err
	}
	stopped, err := launchAll(ctx, s, "stopped")
	if err != nil {
		return err
	}
	if err := stop(ctx, s, stopped[0], lifecycle.Stopped); err != nil {
		return err
	}
	before, err := image(ctx, s, "late", "session of a")
	if err != nil {
		return err
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	calls := writes(over, s, r)
	reads := map[string]func() (any, error){
		"Record":        func() (any, error) { return s.Record(over, "a") },
		"Bound":         func() (any, error) { return s.Bound(over, "session of a") },
		"Records":       func() (any, error) { return s.Records(over) },
		"Events":        func() (any, error) { return s.Events(over, 0) },
		"Snapshot":      func() (any, error) { return s.Snapshot(over, "stopped") },
		"Registrations": func() (any, error) { return s.Registrations(over) },
		"Launch":        func() (any, error) { return s.Launch(over, lifecycle.Record{Name: "b"}) },
		"Stop":          func() (any, error) { return s.Stop(over, r, cause) },
		"Candidates":    func() (any, error) { return candidates(over, s) },
		"Get":           func() (any, error) { return s.Gate().Get(over, "key") },
		"CompareAndSwap": func() (any, error) {
			return s.Gate().CompareAndSwap(over, "key", "", "value")
		},
		"a pass": func() (any, error) { return lifecycle.Cleaner{Store: s}.Clean(over) },
	}
	for method, read := range reads {
		calls[method] = func() error { _, err := read(); return err }
	}
	for method, call := range calls {
		if err := call(); !errors.Is(err, context.Canceled) {
			return fmt.Errorf("%s with a cancelled context: %v, want context.Canceled", method, err)
		}
	}
	if err := kvHas(ctx, s.Gate(), "key", ""); err != nil {
		return err
	}
	return unchanged(ctx, s, before, "late", "session of a")
}

func resumes(ctx context.Context, h Harness) error {
	world := livenesstest.New()
	s, err := openOne(ctx, h, Options{Clock: world})
	if err != nil {
		return err
	}
	if _, err := launchRunning(ctx, s, "boss", world.Start()); err != nil {
		return err
	}
	process := world.Start()
	r, err := s.Launch(ctx, lifecycle.Record{
		Name: "worker", Parent: "boss", CreatedAt: created, Data: json.RawMessage(`{"argv":["make"],"n":1.50}`),
	})
	if err == nil {
		err = errors.Join(s.Bind(ctx, r, "terminal-7"), s.Bind(ctx, r, "session-1"), s.Activate(ctx, r, process))
	}
	if err != nil {
		return fmt.Errorf("registering: %w", err)
	}
	stored, err := s.Record(ctx, "worker")
	if err != nil {
		return fmt.Errorf("Record: %w", err)
	}
	for boot := range 2 {
		world.Reboot()
		for start := range 2 {
			gate := &lifecycle.BootGate{KV: s.Gate(), Self: world.Self, Liveness: world, Clock: world}
			report, err := lifecycle.Cleaner{Store: s, Liveness: world, Clock: world}.CleanOncePerBoot(ctx, gate)
			if err != nil || report.GateClosed != (start == 1) {
				return fmt.Errorf("CleanOncePerBoot, start %d of boot %d: %v, %v", start, boot, report, err)
			}
		}
	}
	if err := holds(ctx, subject{s}, []string{}, []string{"boss", "worker"}); err != nil {
		return err
	}
	snapshot, err := s.Snapshot(ctx, "worker")
	if err != nil {
		return fmt.Errorf("Snapshot: %w", err)
	}
	if err := sameRecord(snapshot.Record, stored); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if want := []string{"session-1", "terminal-7"}; !slices.Equal(snapshot.Bindings, want) {
		return fmt.Errorf("snapshot has bindings %q, want %q", snapshot.Bindings, want)
	}
	was := snapshot.Record
	resumed, err := s.Launch(ctx, lifecycle.Record{Name: was.Name, Owner: was.Owner, Parent: was.Parent, Data: was.Data})
	if err != nil {
		return fmt.Errorf("Launch of what is resumed: %w", err)
	}
	if resumed.Parent != "boss" || resumed.Incarnation == r.Incarnation || string(resumed.Data) != string(r.Data) {
		return fmt.Errorf("Launch of what is resumed = %+v", resumed)
	}
	return holds(ctx, subject{s}, []string{"worker"}, []string{"boss", "worker"})
}
