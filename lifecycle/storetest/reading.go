package storetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

// pageOfEvents is how many events [lifecycle.Registrar.Events] returns at most.
const pageOfEvents = 1000

// subject is a Registrar of which a case only reads and stops.
type subject struct{ lifecycle.Registrar }

func (s subject) Events(ctx context.Context) ([]lifecycle.Event, error) {
	return allEvents(ctx, s.Registrar)
}

// allEvents reads page by page.
func allEvents(ctx context.Context, s lifecycle.Registrar) ([]lifecycle.Event, error) {
	var all []lifecycle.Event
	for after := int64(0); ; after = all[len(all)-1].Seq {
		page, err := s.Events(ctx, after)
		if err != nil || len(page) == 0 {
			return all, err
		}
		if page[0].Seq <= after {
			return nil, fmt.Errorf("the first of the events after %d has Seq %d", after, page[0].Seq)
		}
		all = append(all, page...)
	}
}

// image is all that a store shows, to tell whether something was written. Records
// that cannot be decoded are left out.
func image(ctx context.Context, s lifecycle.Registrar, keys ...string) (string, error) {
	records, err := s.Records(ctx)
	if err != nil && !errors.Is(err, lifecycle.ErrInvalidRecord) {
		return "", fmt.Errorf("Records: %w", err)
	}
	events, err := allEvents(ctx, s)
	if err != nil {
		return "", fmt.Errorf("Events: %w", err)
	}
	bound := map[string]string{}
	for _, key := range keys {
		record, err := s.Bound(ctx, key)
		if err != nil && !errors.Is(err, lifecycle.ErrNotRegistered) {
			return "", fmt.Errorf("Bound(%q): %w", key, err)
		}
		bound[key] = record.Incarnation
	}
	text, err := json.Marshal([]any{records, events, bound})
	return string(text), err
}

// launchAll launches records that have no more than a name.
func launchAll(ctx context.Context, s lifecycle.Registrar, names ...string) (launched []lifecycle.Record, err error) {
	for _, name := range names {
		r, err := s.Launch(ctx, lifecycle.Record{Name: name})
		if err != nil {
			return nil, fmt.Errorf("Launch(%q): %w", name, err)
		}
		launched = append(launched, r)
	}
	return launched, nil
}

// fill registers records of some names, each with the parent that parentOf gives it.
func fill(ctx context.Context, h Harness, s lifecycle.Registrar, names []string, parentOf func(i int) string) (records []lifecycle.Record, err error) {
	for i, name := range names {
		r := record(name, "1")
		r.Parent = parentOf(i)
		records = append(records, r)
	}
	if filler, ok := h.(Filler); ok {
		if err := filler.Fill(ctx, records); err != nil {
			return nil, fmt.Errorf("Fill: %w", err)
		}
		return records, nil
	}
	for i, r := range records {
		r.Identity = liveness.Identity{}
		if records[i], err = s.Launch(ctx, r); err != nil {
			return nil, fmt.Errorf("Launch(%q): %w", r.Name, err)
		}
	}
	return records, nil
}

// launchRunning launches a record, binds "session of" its name to it, and activates
// it.
func launchRunning(ctx context.Context, s lifecycle.Registrar, name string, identity liveness.Identity) (lifecycle.Record, error) {
	r, err := s.Launch(ctx, lifecycle.Record{Name: name})
	if err == nil {
		err = s.Bind(ctx, r, "session of "+name)
	}
	if err == nil {
		err = s.Activate(ctx, r, identity)
	}
	if err != nil {
		return r, fmt.Errorf("registering %q: %w", name, err)
	}
	return r, nil
}

// One of a name or of a key that nobody has, also where nobody can have it.
func saysWhatIsMissing(ctx context.Context, h Harness) error {
	s, err := openOne(ctx, h, Options{})
	if err != nil {
		return err
	}
	if _, err := launchRunning(ctx, s, "a", liveness.Identity{}); err != nil {
		return err
	}
	for _, name := range []string{"b", "", "A", "a\x00", "a\xff", strings.Repeat("long", 1000)} {
		if r, err := s.Record(ctx, name); !errors.Is(err, lifecycle.ErrNotRegistered) || r.Name != "" {
			return fmt.Errorf("Record(%.20q) = %q, %v, want ErrNotRegistered", name, r.Name, err)
		}
		if r, err := s.Bound(ctx, name); !errors.Is(err, lifecycle.ErrNotRegistered) || r.Name != "" {
			return fmt.Errorf("Bound(%.20q) = %q, %v, want ErrNotRegistered", name, r.Name, err)
		}
		if snapshot, err := s.Snapshot(ctx, name); !errors.Is(err, lifecycle.ErrNoSnapshot) || snapshot.Name != "" {
			return fmt.Errorf("Snapshot(%.20q) = %q, %v, want ErrNoSnapshot", name, snapshot.Name, err)
		}
	}
	if _, err := s.Snapshot(ctx, "a"); !errors.Is(err, lifecycle.ErrNoSnapshot) {
		return fmt.Errorf("Snapshot of a name that was never stopped: %v, want ErrNoSnapshot", err)
	}
	return nil
}

func keepsData(ctx context.Context, h Harness) error {
	stores, err := openTwo(ctx, h, Options{})
	if err != nil {
		return err
	}
	for name, data := range map[string]string{
		"a number with a trailing zero":       `{"price":1.50}`,
		"a number beyond float64":             `123456789012345678901234567890.5`,
		"markup":                              `"<html>&amp;</html>"`,
		"unicode":                             `"naïve ☃ 🐌 日本"`,
		"escapes":                             `"\u0000\ud800\t\""`,
		"line separators":                     "\"\u2028\u2029\"",
		"a key twice":                         `{"a":1,"a":2}`,
		"a text that looks like a number":     `"007"`,
		"what stores have beside it":          `{"a":1,"data":2,"crc":"00000000"}`,
		"null":                                `null`,
		"an array":                            `[1,[],{}]`,
		"space":                               "{ \"a\" : 1,\t\"b\":  [ ] }",
		"lines":                               "{\n  \"a\": 1\n}",
		"space in a text":                     `" two  spaces "`,
		"none":                                "",
		"more than fits a page of a database": `"` + strings.Repeat("long", 20_000) + `"`,
	} {
		want := json.RawMessage(data)
		if data == "" {
			want = nil
		}
		r, err := stores[0].Launch(ctx, lifecycle.Record{Name: name, Data: slices.Clone(want)})
		if err != nil {
			return fmt.Errorf("Launch with Data of %s: %w", name, err)
		}
		same := func(method string, got json.RawMessage, err error) error {
			if err != nil || string(compact(got)) != string(compact(want)) || (got == nil) != (want == nil) {
				return fmt.Errorf("%s with Data of %s: %.200q, %v, want %.200q", method, name, got, err, want)
			}
			clear(got) // is the caller's own
			return nil
		}
		if err := stores[0].Bind(ctx, r, name); err != nil {
			return fmt.Errorf("Bind: %w", err)
		}
		if err := same("Launch", r.Data, nil); err != nil {
			return err
		}
		for range 2 { // the second round reads what the first has overwritten
			for _, s := range stores {
				stored, err := s.Record(ctx, name)
				bound, boundErr := s.Bound(ctx, name)
				if err := errors.Join(same("Record", stored.Data, err), same("Bound", bound.Data, boundErr)); err != nil {
					return err
				}
			}
		}
		if err := stop(ctx, stores[0], r, lifecycle.Stopped); err != nil {
			return err
		}
		for range 2 {
			for _, s := range stores {
				snapshot, err := s.Snapshot(ctx, name)
				if err := same("Snapshot", snapshot.Data, err); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// compact returns JSON without the space between its values, which a store may
// take out, or what is not JSON as it is.
func compact(data json.RawMessage) []byte {
	var b bytes.Buffer
	if json.Compact(&b, data) != nil {
		return data
	}
	return b.Bytes()
}

// keepsOrder is about more records and events than a store reads at a time.
func keepsOrder(ctx context.Context, h Harness) error {
	const n = 1024 // the size of a page, or a multiple of it
	s, err := openOne(ctx, h, Options{})
	if err != nil {
		return err
	}
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%04d", n-i)
	}
	launched, err := fill(ctx, h, s, names, func(int) string { return "" })
	if err != nil {
		return err
	}
	if err := s.Heartbeat(ctx, launched[3]); err != nil { // which is no registration
		return fmt.Errorf("Heartbeat: %w", err)
	}
	records, err := s.Records(ctx)
	if err != nil {
		return fmt.Errorf("Records: %w", err)
	}
	if got := namesOf(records); !slices.Equal(got, names) {
		return fmt.Errorf("Records = %d of them, %.100q, want %d in the order of their registration, %.100q", len(got), got, n, names)
	}
	if err := stopAll(ctx, s, launched); err != nil {
		return err
	}
	var stopped []string
	var last lifecycle.Event
	for _, want := range []int{pageOfEvents, n - pageOfEvents, 0} {
		page, err := s.Events(ctx, last.Seq)
		if err != nil || len(page) != want {
			return fmt.Errorf("Events(%d) = %d of them, %v, want %d", last.Seq, len(page), err, want)
		}
		for _, e := range page {
			if e.Seq <= last.Seq {
				return fmt.Errorf("an event has Seq %d after %d", e.Seq, last.Seq)
			}
			stopped, last = append(stopped, e.Name), e
		}
	}
	if !slices.Equal(stopped, names) {
		return fmt.Errorf("Events = %.100q, want them in the order of the stops, %.100q", stopped, names)
	}
	page, err := s.Events(ctx, last.Seq-3)
	if err != nil || len(page) == 0 || page[len(page)-1].Name != last.Name || len(page) > 3 {
		return fmt.Errorf("Events(%d) = %d of them, %v, want those after it", last.Seq-3, len(page), err)
	}
	return nil
}

func namesOf(records []lifecycle.Record) []string {
	names := make([]string, len(records))
	for i, r := range records {
		names[i] = r.Name
	}
	return names
}

// stopAll stops records in order, at once if the store can.
func stopAll(ctx context.Context, s lifecycle.Registrar, records []lifecycle.Record) error {
	if batch, ok := s.(lifecycle.BatchStopper); ok {
		if n, err := batch.StopBatch(ctx, stopsOf(cause, records...)); n != len(records) || err != nil {
			return fmt.Errorf("StopBatch of %d records = %d, %w", len(records), n, err)
		}
		return nil
	}
	for _, r := range records {
		if err := stop(ctx, s, r, lifecycle.Stopped); err != nil {
			return err
		}
	}
	return nil
}

func hasNewestSnapshot(ctx context.Context, h Harness) error {
	stores, err := openTwo(ctx, h, Options{})
	if err != nil {
		return err
	}
	for _, data := range []string{`"z first"`, `"a second"`, `"m third"`} {
		// Incarnations that sort in another order, and names that hold each other.
		for _, name := range []string{"worker", `other "worker"`} {
			r, err := stores[0].Launch(ctx, lifecycle.Record{Name: name, Incarnation: data, Data: json.RawMessage(data)})
			if err != nil {
				return fmt.Errorf("Launch: %w", err)
			}
			if err := stop(ctx, stores[0], r, lifecycle.Stopped); err != nil {
				return err
			}
		}
		for _, name := range []string{"worker", `other "worker"`} {
			snapshot, err := stores[1].Snapshot(ctx, name)
			if err != nil || snapshot.Incarnation != data || string(snapshot.Data) != data || snapshot.Name != name {
				return fmt.Errorf("Snapshot(%q) = %q, %q, %v, want that of %q", name, snapshot.Name, snapshot.Incarnation, err, data)
			}
		}
	}
	return nil
}
