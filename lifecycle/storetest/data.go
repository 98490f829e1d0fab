package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/rollcall-go/rollcall/lifecycle"
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
	for name, data := range all {
		r, err := writer.Launch(ctx, lifecycle.Record{Name: name, Data: data})
		if err != nil {
			return fmt.Errorf("Launch with %d levels of %s: %w", maxLevels, name, err)
		}
		launched = append(launched, r)
	}
	before, err := image(ctx, reader)
	if err != nil {
		return err
	}
	for name, data := range deep(maxLevels + 1) {
		if _, err := writer.Launch(ctx, lifecycle.Record{Name: "too deep", Data: data}); !errors.Is(err, lifecycle.ErrInvalidRecord) {
			return fmt.Errorf("Launch with %d levels of %s: %v, want ErrInvalidRecord", maxLevels+1, name, err)
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
