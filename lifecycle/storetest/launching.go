package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

// only returns the one record that is registered.
func only(ctx context.Context, s lifecycle.Registrar) (lifecycle.Record, error) {
	records, err := s.Records(ctx)
	if err != nil {
		return lifecycle.Record{}, fmt.Errorf("Records: %w", err)
	}
	if len(records) != 1 {
		return lifecycle.Record{}, fmt.Errorf("Records = %q, want one", namesOf(records))
	}
	return records[0], nil
}

var uuidV7 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func fillsIn(ctx context.Context, h Harness) error {
	world := livenesstest.New()
	stores, err := openTwo(ctx, h, Options{Clock: world})
	if err != nil {
		return err
	}
	if got := stores[0].Owner(); got != owner {
		return fmt.Errorf("Owner = %q, want %q", got, owner)
	}
	before := time.Now()
	r, err := stores[0].Launch(ctx, lifecycle.Record{Name: "a"})
	if err != nil {
		return fmt.Errorf("Launch: %w", err)
	}
	if !uuidV7.MatchString(r.Incarnation) {
		return fmt.Errorf("Launch made the incarnation %q, want a UUIDv7", r.Incarnation)
	}
	if r.Name != "a" || r.Owner != owner || r.Phase != lifecycle.Launching || !r.Identity.IsZero() || r.Data != nil {
		return fmt.Errorf("Launch = %+v, want it of the store's owner, launching, and without an identity", r)
	}
	if r.CreatedAt.Before(before.Add(-time.Second)) || r.CreatedAt.After(time.Now().Add(time.Second)) {
		return fmt.Errorf("Launch at %v: CreatedAt is %v", before, r.CreatedAt)
	}
	if r.Heartbeat.Awake != time.Minute || r.Heartbeat.Wall.IsZero() || r.Heartbeat.Boot != lifecycle.Beat(world).Boot {
		return fmt.Errorf("Launch: the heartbeat is %+v, want one minute by the clock of the store", r.Heartbeat)
	}
	second, err := stores[0].Launch(ctx, lifecycle.Record{Name: "b", Phase: lifecycle.Launching})
	if err != nil || second.Incarnation == r.Incarnation || second.Phase != lifecycle.Launching {
		return fmt.Errorf("Launch of another name: incarnation %q, %v, %v", second.Incarnation, second.Phase, err)
	}
	stored, err := stores[1].Record(ctx, "a")
	if err != nil {
		return fmt.Errorf("Record: %w", err)
	}
	return sameRecord(stored, r)
}

func keepsGiven(ctx context.Context, h Harness) error {
	stores, err := openTwo(ctx, h, Options{Clock: livenesstest.New()})
	if err != nil {
		return err
	}
	for _, at := range []time.Time{created, time.Date(1969, 12, 31, 23, 59, 59, 999999999, time.FixedZone("east", 5*3600+1800))} {
		given := lifecycle.Record{
			Name: "of " + at.String(), Incarnation: "the host's own", Parent: "boss", CreatedAt: at,
			Data: json.RawMessage(`{"argv":["sh","-c","exit 1"]}`),
		}
		r, err := stores[0].Launch(ctx, given)
		if err != nil {
			return fmt.Errorf("Launch: %w", err)
		}
		want := given
		want.Owner, want.Phase, want.Heartbeat = owner, lifecycle.Launching, r.Heartbeat
		stored, err := stores[1].Record(ctx, given.Name)
		if err != nil {
			return fmt.Errorf("Record: %w", err)
		}
		if err := errors.Join(sameRecord(r, want), sameRecord(stored, want)); err != nil {
			return err
		}
	}
	return nil
}

func keepsOwner(ctx context.Context, h Harness) error {
	s, err := openOne(ctx, h, Options{})
	if err != nil {
		return err
	}
	r, err := s.Launch(ctx, lifecycle.Record{Name: "a", Owner: "elsewhere"})
	if err != nil { // a store may have records of its owner alone
		return holds(ctx, subject{s}, []string{}, []string{})
	}
	stored, err := s.Record(ctx, "a")
	if err != nil || r.Owner != "elsewhere" || stored.Owner != "elsewhere" {
		return fmt.Errorf("Launch of a record of another owner: %q, and %q when read, %v", r.Owner, stored.Owner, err)
	}
	return nil
}

func refusesLaunch(ctx context.Context, h Harness) error {
	s, err := openOne(ctx, h, Options{})
	if err != nil {
		return err
	}
	taken, err := s.Launch(ctx, lifecycle.Record{Name: "taken", Incarnation: "first"})
	if err != nil {
		return fmt.Errorf("Launch: %w", err)
	}
	gone, err := s.Launch(ctx, lifecycle.Record{Name: "gone", Incarnation: `the "first"`})
	if err != nil {
		return fmt.Errorf("Launch: %w", err)
	}
	if err := stop(ctx, s, gone, lifecycle.Stopped); err != nil {
		return err
	}
	before, err := image(ctx, s)
	if err != nil {
		return err
	}
	for _, test := range []struct {
		name   string
		record lifecycle.Record
		want   error
	}{
		{"a name that is taken", lifecycle.Record{Name: "taken"}, lifecycle.ErrNameTaken},
		{"the same registration twice", taken, lifecycle.ErrNameTaken},
		{"an incarnation that was stopped", gone, lifecycle.ErrInvalidRecord},
		{"no name", lifecycle.Record{}, lifecycle.ErrInvalidRecord},
		{"a name that is not UTF-8", lifecycle.Record{Name: "a\xff"}, lifecycle.ErrInvalidRecord},
		{"an incarnation that is not UTF-8", lifecycle.Record{Name: "a", Incarnation: "\xff"}, lifecycle.ErrInvalidRecord},
		{"a parent that is not UTF-8", lifecycle.Record{Name: "a", Parent: "\xff"}, lifecycle.ErrInvalidRecord},
		{"Data that is no JSON", lifecycle.Record{Name: "a", Data: json.RawMessage(`{`)}, lifecycle.ErrInvalidRecord},
		{"Data of no bytes", lifecycle.Record{Name: "a", Data: json.RawMessage{}}, lifecycle.ErrInvalidRecord},
		{"an identity", lifecycle.Record{Name: "a", Identity: record("", "").Identity}, lifecycle.ErrInvalidRecord},
		{"what launches with an identity", lifecycle.Record{Name: "a", Phase: lifecycle.Launching, Identity: liveness.Identity{PID: 1}}, lifecycle.ErrInvalidRecord},
		{"what is inactive", lifecycle.Record{Name: "a", Phase: lifecycle.Inactive}, lifecycle.ErrInvalidRecord},
		{"a phase that does not exist", lifecycle.Record{Name: "a", Phase: 9}, lifecycle.ErrInvalidRecord},
	} {
		r, err := s.Launch(ctx, test.record)
		if !errors.Is(err, test.want) || r.Name != "" || r.Incarnation != "" {
			return fmt.Errorf("Launch of %s = %q, %v, want %w", test.name, r.Name, err, test.want)
		}
	}
	return unchanged(ctx, s, before)
}

// unchanged checks that a store shows what it did.
func unchanged(ctx context.Context, s lifecycle.Registrar, before string, keys ...string) error {
	after, err := image(ctx, s, keys...)
	if err != nil {
		return err
	}
	if after != before {
		return fmt.Errorf("something was written: the store shows\n%.2000s, want\n%.2000s", after, before)
	}
	return nil
}

func followsPhases(ctx context.Context, h Harness) error {
	world := livenesstest.New()
	stores, err := openTwo(ctx, h, Options{Clock: world})
	if err != nil {
		return err
	}
	r, err := stores[0].Launch(ctx, lifecycle.Record{Name: "a", Data: json.RawMessage(`"kept"`)})
	if err != nil {
		return fmt.Errorf("Launch: %w", err)
	}
	process := world.Start()
	for _, step := range []struct {
		name     string
		do       func() error
		phase    lifecycle.Phase
		identity liveness.Identity
	}{
		{"Heartbeat", func() error { return stores[0].Heartbeat(ctx, r) }, lifecycle.Launching, liveness.Identity{}},
		{"Activate", func() error { return stores[0].Activate(ctx, r, process) }, lifecycle.Running, process},
		{"Heartbeat", func() error { return stores[0].Heartbeat(ctx, r) }, lifecycle.Running, process},
		{"Deactivate", func() error { return stores[0].Deactivate(ctx, r) }, lifecycle.Inactive, liveness.Identity{}},
		{"Heartbeat", func() error { return stores[0].Heartbeat(ctx, r) }, lifecycle.Inactive, liveness.Identity{}},
		{"Activate without a process", func() error { return stores[0].Activate(ctx, r, liveness.Identity{}) }, lifecycle.Running, liveness.Identity{}},
	} {
		world.Advance(time.Second + time.Nanosecond)
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		got, err := only(ctx, stores[1])
		if err != nil {
			return err
		}
		now, want := lifecycle.Beat(world), r
		want.Phase, want.Identity, want.Heartbeat = step.phase, step.identity, now
		want.Heartbeat.Wall = got.Heartbeat.Wall // of the real clock
		if err := sameRecord(got, want); err != nil {
			return fmt.Errorf("after %s: %w", step.name, err)
		}
		if got.Heartbeat.Wall.IsZero() {
			return fmt.Errorf("after %s the heartbeat has no wall time", step.name)
		}
	}
	return nil
}

// writes are the methods that write about a registered record.
func writes(ctx context.Context, s lifecycle.Registrar, r lifecycle.Record) map[string]func() error {
	return map[string]func() error{
		"Activate":   func() error { return s.Activate(ctx, r, record("", "").Identity) },
		"Deactivate": func() error { return s.Deactivate(ctx, r) },
		"Heartbeat":  func() error { return s.Heartbeat(ctx, r) },
		"SetData":    func() error { return s.SetData(ctx, r, json.RawMessage(`"late"`)) },
		"Bind":       func() error { return s.Bind(ctx, r, "late") },
	}
}

func refusesEarlier(ctx context.Context, h Harness) error {
	s, err := openOne(ctx, h, Options{})
	if err != nil {
		return err
	}
	old, err := s.Launch(ctx, lifecycle.Record{Name: "a"})
	if err != nil {
		return fmt.Errorf("Launch: %w", err)
	}
	refused := func(when string) error {
		before, err := image(ctx, s, "late")
		if err != nil {
			return err
		}
		for method, write := range writes(ctx, s, old) {
			if err := write(); !errors.Is(err, lifecycle.ErrNotRegistered) {
				return fmt.Errorf("%s of an earlier incarnation, %s: %v, want ErrNotRegistered", method, when, err)
			}
		}
		return unchanged(ctx, s, before, "late")
	}
	if err := stop(ctx, s, old, lifecycle.Stopped); err != nil {
		return err
	}
	if err := refused("after the stop"); err != nil {
		return err
	}
	if _, err := launchAll(ctx, s, "a"); err != nil {
		return err
	}
	if err := refused("after the name was registered again"); err != nil {
		return err
	}
	if err := stop(ctx, s, old, lifecycle.AlreadyStopped); err != nil {
		return err
	}
	return holds(ctx, subject{s}, []string{"a"}, []string{"a"})
}

func refusesIdentity(ctx context.Context, h Harness) error {
	s, err := openOne(ctx, h, Options{})
	if err != nil {
		return err
	}
	launched, err := launchAll(ctx, s, "a")
	if err != nil {
		return err
	}
	before, err := image(ctx, s)
	if err != nil {
		return err
	}
	if err := s.Activate(ctx, launched[0], liveness.Identity{PID: -1}); !errors.Is(err, liveness.ErrInvalid) {
		return fmt.Errorf("Activate with a negative PID: %v, want liveness.ErrInvalid", err)
	}
	return unchanged(ctx, s, before)
}

func bindsOnce(ctx context.Context, h Harness) error {
	stores, err := openTwo(ctx, h, Options{})
	if err != nil {
		return err
	}
	s := stores[0]
	launched, err := launchAll(ctx, s, "first", "second")
	if err != nil {
		return err
	}
	first, second := launched[0], launched[1]
	bind := func(r lifecycle.Record, keys ...string) error {
		for _, key := range keys {
			if err := s.Bind(ctx, r, key); err != nil {
				return fmt.Errorf("Bind(%q, %q): %w", r.Name, key, err)
			}
		}
		return nil
	}
	bound := func(key, want string) error {
		fresh, err := openOne(ctx, h, Options{})
		if err != nil {
			return err
		}
		for _, s := range append(stores[:], fresh) {
			r, err := s.Bound(ctx, key)
			if r.Name != want || (want != "") != (err == nil) || want == "" && !errors.Is(err, lifecycle.ErrNotRegistered) {
				return fmt.Errorf("Bound(%q) = %q, %v, want %q", key, r.Name, err, want)
			}
		}
		return nil
	}
	if err := errors.Join(bind(first, "session", "session", "terminal", "a\nkey"), bound("session", "first"), bound("terminal", "first")); err != nil {
		return err
	}
	if err := errors.Join(bind(second, "session"), bound("session", "second"), bound("terminal", "first")); err != nil {
		return err
	}
	if err := s.Bind(ctx, first, "\xff"); !errors.Is(err, lifecycle.ErrInvalidRecord) {
		return fmt.Errorf("Bind of a key that is not UTF-8: %v, want ErrInvalidRecord", err)
	}
	// What is written about a record does not take its keys back.
	if err := errors.Join(s.Heartbeat(ctx, first), s.Activate(ctx, first, liveness.Identity{}), bound("session", "second")); err != nil {
		return err
	}
	// Nor does it get them back when their last holder is gone.
	if err := stop(ctx, s, second, lifecycle.Stopped); err != nil {
		return err
	}
	if err := bound("session", ""); err != nil {
		return err
	}
	if err := stop(ctx, s, first, lifecycle.Stopped); err != nil {
		return err
	}
	for name, want := range map[string][]string{"first": {"a\nkey", "terminal"}, "second": {"session"}} {
		snapshot, err := s.Snapshot(ctx, name)
		if err != nil || !slices.Equal(snapshot.Bindings, want) {
			return fmt.Errorf("Snapshot(%q) has bindings %q, %v, want %q", name, snapshot.Bindings, err, want)
		}
	}
	return errors.Join(bound("terminal", ""), bound("session", ""))
}
