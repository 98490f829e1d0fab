package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// spoiled is a place with one record for each way to garble it.
type spoiled struct {
	lifecycle.Registrar
	ways    []Garbling
	records []lifecycle.Record // as they were
	others  []lifecycle.Record // which are not garbled
}

// spoil registers records, the garbled ones with the parent that parentOf gives them,
// and garbles them.
func spoil(ctx context.Context, h Harness, parentOf func(name string) string) (*spoiled, error) {
	garbler, ok := h.(Garbler)
	if !ok {
		return nil, fmt.Errorf("%w: the harness is no Garbler", errNotApplicable)
	}
	before, err := openOne(ctx, h, Options{})
	if err != nil {
		return nil, err
	}
	s := &spoiled{ways: garbler.Garblings()}
	if len(s.ways) == 0 {
		return nil, errors.New("the Garbler has no way to garble a record")
	}
	dead := record("", "").Identity
	for i, way := range s.ways {
		name := fmt.Sprintf("bad-%d", i)
		if parent := parentOf(name); parent != "" {
			r, err := launchRunning(ctx, before, parent, dead)
			if err != nil {
				return nil, err
			}
			s.others = append(s.others, r)
		}
		r, err := before.Launch(ctx, lifecycle.Record{Name: name, Parent: parentOf(name), Data: record("", "").Data})
		if err == nil {
			err = errors.Join(before.Bind(ctx, r, "session of "+name), before.Activate(ctx, r, dead))
		}
		if err != nil {
			return nil, fmt.Errorf("registering %q: %w", name, err)
		}
		s.records = append(s.records, r)
		if err := way.Spoil(ctx, name); err != nil {
			return nil, fmt.Errorf("spoiling a record by %s: %w", way.Name, err)
		}
	}
	r, err := launchRunning(ctx, before, "last", dead)
	if err != nil {
		return nil, err
	}
	s.others = append(s.others, r)
	s.Registrar, err = openOne(ctx, h, Options{})
	return s, err
}

func noParent(string) string { return "" }

func namesGarbled(ctx context.Context, h Harness) error {
	s, err := spoil(ctx, h, noParent)
	if err != nil {
		return err
	}
	yielded := map[string]error{}
	for r, err := range s.Candidates(ctx) {
		yielded[r.Name] = err
		if i := slices.IndexFunc(s.records, func(want lifecycle.Record) bool { return want.Name == r.Name }); i >= 0 && r.Incarnation != s.records[i].Incarnation {
			return fmt.Errorf("Candidates yields %q with incarnation %q, want %q", r.Name, r.Incarnation, s.records[i].Incarnation)
		}
	}
	records, err := s.Records(ctx)
	if !errors.Is(err, lifecycle.ErrInvalidRecord) || !slices.Equal(namesOf(records), namesOf(s.others)) {
		return fmt.Errorf("Records = %q, %v, want %q and ErrInvalidRecord", namesOf(records), err, namesOf(s.others))
	}
	for i, bad := range s.records {
		way := s.ways[i].Name
		if err, ok := yielded[bad.Name]; !ok || !errors.Is(err, lifecycle.ErrInvalidRecord) {
			return fmt.Errorf("%s: Candidates yields %v, %v, want ErrInvalidRecord", way, ok, err)
		}
		if r, err := s.Record(ctx, bad.Name); !errors.Is(err, lifecycle.ErrInvalidRecord) {
			return fmt.Errorf("%s: Record = %q, %v, want ErrInvalidRecord", way, r.Name, err)
		}
		// Where the key stands beside what is garbled nobody knows that it was bound.
		if r, err := s.Bound(ctx, "session of "+bad.Name); !errors.Is(err, lifecycle.ErrInvalidRecord) && !errors.Is(err, lifecycle.ErrNotRegistered) {
			return fmt.Errorf("%s: Bound = %q, %v, want ErrInvalidRecord", way, r.Name, err)
		}
		if _, err := s.Launch(ctx, lifecycle.Record{Name: bad.Name}); !errors.Is(err, lifecycle.ErrNameTaken) {
			return fmt.Errorf("%s: Launch of its name: %v, want ErrNameTaken", way, err)
		}
	}
	return nil
}

func cleansAroundGarbled(ctx context.Context, h Harness) error {
	s, err := spoil(ctx, h, noParent)
	if err != nil {
		return err
	}
	for pass := range 2 {
		report, err := lifecycle.Cleaner{Store: s.Registrar, Liveness: changing{record("", "").Identity, func() {}}}.Clean(ctx)
		if !errors.Is(err, lifecycle.ErrInvalidRecord) || report.Failed != len(s.records) || report.Stopped != (1-pass)*len(s.others) {
			return fmt.Errorf("Clean: %v, %v, want %d stopped, %d failed, and ErrInvalidRecord", report, err, len(s.others), len(s.records))
		}
		for _, bad := range s.records {
			if !strings.Contains(err.Error(), bad.Name) {
				return fmt.Errorf("Clean: %w, which does not name %q", err, bad.Name)
			}
		}
	}
	for _, bad := range s.records {
		if _, err := s.Record(ctx, bad.Name); !errors.Is(err, lifecycle.ErrInvalidRecord) {
			return fmt.Errorf("Record(%q) after a pass: %v, want ErrInvalidRecord", bad.Name, err)
		}
	}
	events, err := allEvents(ctx, s)
	if err != nil || len(events) != len(s.others) {
		return fmt.Errorf("Events = %d of them, %v, want %d", len(events), err, len(s.others))
	}
	return nil
}

// Nobody judges it, but who knows better may stop it, and finds in the snapshot
// what stood there.
func stopsGarbled(ctx context.Context, h Harness) error {
	s, err := spoil(ctx, h, noParent)
	if err != nil {
		return err
	}
	ifUnchanged := cause
	ifUnchanged.IfUnchanged = true
	for i, bad := range s.records {
		way := s.ways[i]
		if outcome, err := s.Stop(ctx, bad, ifUnchanged); !errors.Is(err, lifecycle.ErrInvalidRecord) {
			return fmt.Errorf("%s: Stop, if unchanged = %v, %v, want ErrInvalidRecord", way.Name, outcome, err)
		}
		if err := stop(ctx, s, bad, lifecycle.Stopped); err != nil {
			return fmt.Errorf("%s: %w", way.Name, err)
		}
		snapshot, err := s.Snapshot(ctx, bad.Name)
		if err != nil || snapshot.Incarnation != bad.Incarnation {
			return fmt.Errorf("%s: Snapshot = %q, %v, want that of the record", way.Name, snapshot.Incarnation, err)
		}
		found := false
		for _, text := range snapshot.Garbled {
			found = found || strings.Contains(text, way.Text)
		}
		if !found {
			return fmt.Errorf("%s: Snapshot has %q as garbled, want %q in it", way.Name, snapshot.Garbled, way.Text)
		}
		if r, err := s.Bound(ctx, "session of "+bad.Name); !errors.Is(err, lifecycle.ErrNotRegistered) {
			return fmt.Errorf("%s: Bound after the stop = %q, %v, want ErrNotRegistered", way.Name, r.Name, err)
		}
		if _, err := launchAll(ctx, s, bad.Name); err != nil {
			return fmt.Errorf("%s: after the stop: %w", way.Name, err)
		}
	}
	return nil
}

func keepsParentOfGarbled(ctx context.Context, h Harness) error {
	s, err := spoil(ctx, h, func(name string) string { return "parent of " + name })
	if err != nil {
		return err
	}
	before, err := image(ctx, s)
	if err != nil {
		return err
	}
	for i, way := range s.ways {
		if way.NoParent {
			continue
		}
		if outcome, err := s.Stop(ctx, s.others[i], cause); !errors.Is(err, lifecycle.ErrInvalidRecord) {
			return fmt.Errorf("%s: Stop of the parent = %v, %v, want ErrInvalidRecord", way.Name, outcome, err)
		}
	}
	return unchanged(ctx, s, before)
}

func namesGarbledEvent(ctx context.Context, h Harness) error {
	garbler, ok := h.(EventGarbler)
	if !ok {
		return fmt.Errorf("%w: the harness is no EventGarbler", errNotApplicable)
	}
	before, err := openOne(ctx, h, Options{})
	if err != nil {
		return err
	}
	names := []string{"first", "bad", "last"}
	launched, err := launchAll(ctx, before, names...)
	if err != nil {
		return err
	}
	if err := stopAll(ctx, before, launched); err != nil {
		return err
	}
	if err := garbler.GarbleEvent(ctx, "bad"); err != nil {
		return fmt.Errorf("GarbleEvent: %w", err)
	}
	s, err := openOne(ctx, h, Options{})
	if err != nil {
		return err
	}
	events, err := s.Events(ctx, 0)
	if !errors.Is(err, lifecycle.ErrInvalidRecord) || len(events) != len(names) {
		return fmt.Errorf("Events = %d of them, %v, want all %d and ErrInvalidRecord", len(events), err, len(names))
	}
	for i, e := range events { // a reader can go on from the last of them
		if e.Name != names[i] || e.Incarnation != launched[i].Incarnation || i > 0 && e.Seq <= events[i-1].Seq {
			return fmt.Errorf("Events: number %d is %d of %q, incarnation %q, want %q, %q", i, e.Seq, e.Name, e.Incarnation, names[i], launched[i].Incarnation)
		}
	}
	if rest, err := s.Events(ctx, events[1].Seq); err != nil || len(rest) != 1 {
		return fmt.Errorf("Events after the garbled one = %d of them, %v, want 1", len(rest), err)
	}
	if snapshot, err := s.Snapshot(ctx, "bad"); !errors.Is(err, lifecycle.ErrInvalidRecord) {
		return fmt.Errorf("Snapshot = %q, %v, want ErrInvalidRecord", snapshot.Name, err)
	}
	if _, err := s.Snapshot(ctx, "last"); err != nil {
		return fmt.Errorf("Snapshot of another name: %w", err)
	}
	if err := stop(ctx, s, launched[1], lifecycle.AlreadyStopped); err != nil {
		return err
	}
	if _, err := s.Launch(ctx, launched[1]); !errors.Is(err, lifecycle.ErrInvalidRecord) {
		return fmt.Errorf("Launch of an incarnation whose event is garbled: %v, want ErrInvalidRecord", err)
	}
	return nil
}
