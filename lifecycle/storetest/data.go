package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

// maxLevels is how many levels of arrays and objects [lifecycle.Record.Data] may have.
const maxLevels = 1000

// deep are several JSON texts of so many levels.
func deep(levels int) map[string]json.RawMessage {
	around := func(before, middle, after string, n int) json.RawMessage {
		return json.RawMessage(strings.Repeat(before, n) + middle + strings.Repeat(after, n))
	}
	return map[string]json.RawMessage{
		"arrays":            around(`[`, ``, `]`, levels),
		"objects":           around(`{"a":`, `{}`, `}`, levels-1),
		"arrays with space": around("[ 1,\n", ` [ ] `, ` ] `, levels-1),
		"brackets in texts": around(`{"[{\"":"]}\\","b":`, `[]`, `}`, levels-1),
	}
}

func keepsDeepData(ctx context.Context, h Harness) error {
	stores, err := openTwo(ctx, h, Options{})
	if err != nil {
		return err
	}
	writer, reader := stores[0], stores[1]
	all := deep(maxLevels)
	var launched []lifecycle.Record
	for name, data := range deep(maxLevels) {
		r, err := writer.Launch(ctx, lifecycle.Record{Name: name, Data: data})
		if err != nil {
			return fmt.Errorf("Launch with %d levels of %s: %w", maxLevels, name, err)
		}
		set, err := writer.Launch(ctx, lifecycle.Record{Name: name + ", set"})
		if err != nil {
			return fmt.Errorf("Launch: %w", err)
		}
		if err := writer.SetData(ctx, set, data); err != nil {
			return fmt.Errorf("SetData with %d levels of %s: %w", maxLevels, name, err)
		}
		all[set.Name] = data
		launched = append(launched, r, set)
	}
	before, err := image(ctx, reader)
	if err != nil {
		return err
	}
	for name, data := range deep(maxLevels + 1) {
		if _, err := writer.Launch(ctx, lifecycle.Record{Name: "too deep", Data: data}); !errors.Is(err, lifecycle.ErrInvalidRecord) {
			return fmt.Errorf("Launch with %d levels of %s: %v, want ErrInvalidRecord", maxLevels+1, name, err)
		}
		if err := writer.SetData(ctx, launched[0], data); !errors.Is(err, lifecycle.ErrInvalidRecord) {
			return fmt.Errorf("SetData with %d levels of %s: %v, want ErrInvalidRecord", maxLevels+1, name, err)
		}
	}
	if err := unchanged(ctx, reader, before); err != nil {
		return err
	}
	same := func(method, name string, got json.RawMessage, err error) error {
		if err != nil || string(compact(got)) != string(compact(all[name])) {
			return fmt.Errorf("%s with %d levels of %s: %d bytes, %v, want the same", method, maxLevels, name, len(got), err)
		}
		return nil
	}
	records, err := reader.Records(ctx)
	if err != nil || len(records) != len(all) {
		return fmt.Errorf("Records = %q, %v, want %d of them", namesOf(records), err, len(all))
	}
	for _, r := range records {
		stored, err := reader.Record(ctx, r.Name)
		if err := errors.Join(same("Records", r.Name, r.Data, nil), same("Record", r.Name, stored.Data, err)); err != nil {
			return err
		}
	}
	if err := stopAll(ctx, writer, launched); err != nil {
		return err
	}
	events, err := allEvents(ctx, reader)
	if err != nil || len(events) != len(all) {
		return fmt.Errorf("Events = %d of them, %v, want %d", len(events), err, len(all))
	}
	for _, e := range events {
		snapshot, err := reader.Snapshot(ctx, e.Name)
		if err := errors.Join(same("Events", e.Name, e.Snapshot.Data, nil), same("Snapshot", e.Name, snapshot.Data, err)); err != nil {
			return err
		}
	}
	return nil
}

func setsData(ctx context.Context, h Harness) error {
	world := livenesstest.New()
	stores, err := openTwo(ctx, h, Options{Clock: world})
	if err != nil {
		return err
	}
	s := stores[0]
	if _, err := s.Launch(ctx, lifecycle.Record{Name: "other", Data: json.RawMessage(`"its own"`)}); err != nil {
		return fmt.Errorf("Launch: %w", err)
	}
	r, err := s.Launch(ctx, lifecycle.Record{Name: "a", Parent: "other"})
	if err == nil {
		err = s.Bind(ctx, r, "key")
	}
	if err != nil {
		return fmt.Errorf("registering: %w", err)
	}
	for _, step := range []struct {
		name, data string
		before     func() error
	}{
		{"none yet", `{"session":"1"}`, func() error { return nil }},
		{"a process", `{"session":"2","price":1.50,"markup":"<&>"}`, func() error { return s.Activate(ctx, r, world.Start()) }},
		{"longer Data", `"` + strings.Repeat("long", 20_000) + `"`, func() error { return nil }},
		{"no process", `3`, func() error { return s.Deactivate(ctx, r) }},
		{"some Data", ``, func() error { return nil }},
		{"no Data", ``, func() error { return nil }},
		{"none again", `null`, func() error { return nil }},
	} {
		if err := step.before(); err != nil {
			return fmt.Errorf("preparing %s: %w", step.name, err)
		}
		want, err := stores[1].Record(ctx, "a")
		if err != nil {
			return fmt.Errorf("Record: %w", err)
		}
		world.Advance(time.Second) // the heartbeat is to stay
		given := json.RawMessage(step.data)
		if step.data == "" {
			given = nil
		}
		want.Data = slices.Clone(given)
		if err := s.SetData(ctx, r, given); err != nil {
			return fmt.Errorf("SetData where there is %s: %w", step.name, err)
		}
		clear(given)  // is the caller's own
		for range 2 { // the second round reads what the first has overwritten
			for _, s := range stores {
				stored, err := s.Record(ctx, "a")
				bound, boundErr := s.Bound(ctx, "key")
				if err := errors.Join(err, boundErr); err != nil {
					return fmt.Errorf("after SetData where there was %s: %w", step.name, err)
				}
				if err := errors.Join(sameRecord(stored, want), sameRecord(bound, want)); err != nil {
					return fmt.Errorf("after SetData where there was %s: %w", step.name, err)
				}
				if (stored.Data == nil) != (step.data == "") {
					return fmt.Errorf("after SetData where there was %s: Data is %q, nil: %t", step.name, stored.Data, stored.Data == nil)
				}
				clear(stored.Data)
				clear(bound.Data)
			}
		}
	}
	other, err := stores[1].Record(ctx, "other")
	if err != nil || string(other.Data) != `"its own"` {
		return fmt.Errorf("Data of another record: %s, %v, want its own", other.Data, err)
	}
	return nil
}

func refusesData(ctx context.Context, h Harness) error {
	s, err := openOne(ctx, h, Options{})
	if err != nil {
		return err
	}
	r, err := s.Launch(ctx, lifecycle.Record{Name: "a", Data: json.RawMessage(`"kept"`)})
	if err != nil {
		return fmt.Errorf("Launch: %w", err)
	}
	before, err := image(ctx, s)
	if err != nil {
		return err
	}
	for name, data := range map[string]string{
		"no bytes":         ``,
		"space":            ` `,
		"half of it":       `{"a":`,
		"two values":       `1 2`,
		"a brace too many": `1}`,
		"text":             `session`,
	} {
		if err := s.SetData(ctx, r, json.RawMessage(data)); !errors.Is(err, lifecycle.ErrInvalidRecord) {
			return fmt.Errorf("SetData with %s: %v, want ErrInvalidRecord", name, err)
		}
	}
	for _, r := range []lifecycle.Record{{}, {Name: "a"}, {Name: "b", Incarnation: r.Incarnation}, {Name: "a\xff", Incarnation: "1"}} {
		if err := s.SetData(ctx, r, json.RawMessage(`1`)); !errors.Is(err, lifecycle.ErrNotRegistered) {
			return fmt.Errorf("SetData of %q, incarnation %q: %v, want ErrNotRegistered", r.Name, r.Incarnation, err)
		}
	}
	return unchanged(ctx, s, before)
}

// stopsWithNewData is about a pass that has read records before their Data was set:
// nothing was decided by that.
func stopsWithNewData(ctx context.Context, h Harness) error {
	stores, err := openTwo(ctx, h, Options{})
	if err != nil {
		return err
	}
	cleaning, other := stores[0], stores[1]
	for _, r := range []lifecycle.Record{
		{Name: "replaced"}, {Name: "removed"}, {Name: "as it was"}, {Name: "given some"}, {Name: "child", Parent: "as it was"},
	} {
		if r.Name != "given some" {
			r.Data = json.RawMessage(`"of the launch"`)
		}
		if _, err := other.Launch(ctx, r); err != nil {
			return fmt.Errorf("Launch: %w", err)
		}
	}
	read, err := cleaning.Records(ctx)
	if err != nil {
		return fmt.Errorf("Records: %w", err)
	}
	want := map[string]string{"replaced": `"new"`, "removed": "", "as it was": `"of the launch"`, "given some": `{"n":1.50}`, "child": `"new, too"`}
	for _, r := range read {
		data := json.RawMessage(want[r.Name])
		if r.Name == "as it was" {
			continue
		}
		if r.Name == "removed" {
			data = nil
		}
		if err := other.SetData(ctx, r, data); err != nil {
			return fmt.Errorf("SetData: %w", err)
		}
	}
	ifUnchanged := cause
	ifUnchanged.IfUnchanged = true
	heads := read[:len(read)-1]
	if batch, ok := cleaning.(lifecycle.BatchStopper); ok {
		if n, err := batch.StopBatch(ctx, stopsOf(ifUnchanged, heads...)); n != len(heads) || err != nil {
			return fmt.Errorf("StopBatch, if unchanged, of %d records = %d, %v", len(heads), n, err)
		}
	} else {
		for _, r := range heads {
			if outcome, err := cleaning.Stop(ctx, r, ifUnchanged); outcome != lifecycle.Stopped || err != nil {
				return fmt.Errorf("Stop(%q), if unchanged = %v, %v, want Stopped", r.Name, outcome, err)
			}
		}
	}
	for _, s := range stores {
		events, err := allEvents(ctx, s)
		if err != nil || len(events) != len(read) {
			return fmt.Errorf("Events = %d of them, %v, want %d", len(events), err, len(read))
		}
		for _, e := range events {
			snapshot, err := s.Snapshot(ctx, e.Name)
			if err != nil || string(snapshot.Data) != want[e.Name] || string(e.Snapshot.Data) != want[e.Name] {
				return fmt.Errorf("Snapshot(%q) has the Data %s, %v, and its event %s, want %s", e.Name, snapshot.Data, err, e.Snapshot.Data, want[e.Name])
			}
		}
	}
	return nil
}
