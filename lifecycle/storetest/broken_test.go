package storetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-go/rollcall/filestore"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/lifecycle/storetest"
	"github.com/rollcall-go/rollcall/liveness"
)

// broken is a Registrar of which each step can be replaced by a wrong one. With no
// step replaced it is that of memory, or of files.
type broken struct {
	lifecycle.Registrar
	memory *memstore.Store // if it is that

	owner         func() string
	launch        func(context.Context, lifecycle.Record) (lifecycle.Record, error)
	activate      func(context.Context, lifecycle.Record, liveness.Identity) error
	deactivate    func(context.Context, lifecycle.Record) error
	heartbeat     func(context.Context, lifecycle.Record) error
	setData       func(context.Context, lifecycle.Record, json.RawMessage) error
	bind          func(context.Context, lifecycle.Record, string) error
	record        func(context.Context, string) (lifecycle.Record, error)
	bound         func(context.Context, string) (lifecycle.Record, error)
	records       func(context.Context) ([]lifecycle.Record, error)
	events        func(context.Context, int64) ([]lifecycle.Event, error)
	snapshot      func(context.Context, string) (lifecycle.Snapshot, error)
	registrations func(context.Context) (int64, error)
	gate          func() lifecycle.KV
	candidates    func(context.Context) iter.Seq2[lifecycle.Record, error]
	stop          func(context.Context, lifecycle.Record, lifecycle.Cause) (lifecycle.Outcome, error)
	stopBatch     func(context.Context, []lifecycle.Stop) (int, error)
}

func newBroken(s lifecycle.Registrar) *broken {
	b := &broken{
		Registrar: s, owner: s.Owner, launch: s.Launch, activate: s.Activate, deactivate: s.Deactivate, heartbeat: s.Heartbeat,
		setData: s.SetData, bind: s.Bind, record: s.Record, bound: s.Bound, records: s.Records, events: s.Events, snapshot: s.Snapshot,
		registrations: s.Registrations, gate: s.Gate, candidates: s.Candidates, stop: s.Stop,
		stopBatch: s.(lifecycle.BatchStopper).StopBatch,
	}
	b.memory, _ = s.(*memstore.Store)
	return b
}

func (b *broken) Owner() string { return b.owner() }

func (b *broken) Launch(ctx context.Context, r lifecycle.Record) (lifecycle.Record, error) {
	return b.launch(ctx, r)
}

func (b *broken) Activate(ctx context.Context, r lifecycle.Record, id liveness.Identity) error {
	return b.activate(ctx, r, id)
}
func (b *broken) Deactivate(ctx context.Context, r lifecycle.Record) error {
	return b.deactivate(ctx, r)
}
func (b *broken) Heartbeat(ctx context.Context, r lifecycle.Record) error { return b.heartbeat(ctx, r) }
func (b *broken) SetData(ctx context.Context, r lifecycle.Record, data json.RawMessage) error {
	return b.setData(ctx, r, data)
}
func (b *broken) Bind(ctx context.Context, r lifecycle.Record, key string) error {
	return b.bind(ctx, r, key)
}

func (b *broken) Record(ctx context.Context, name string) (lifecycle.Record, error) {
	return b.record(ctx, name)
}

func (b *broken) Bound(ctx context.Context, key string) (lifecycle.Record, error) {
	return b.bound(ctx, key)
}
func (b *broken) Records(ctx context.Context) ([]lifecycle.Record, error) { return b.records(ctx) }
func (b *broken) Events(ctx context.Context, after int64) ([]lifecycle.Event, error) {
	return b.events(ctx, after)
}

func (b *broken) Snapshot(ctx context.Context, name string) (lifecycle.Snapshot, error) {
	return b.snapshot(ctx, name)
}
func (b *broken) Registrations(ctx context.Context) (int64, error) { return b.registrations(ctx) }
func (b *broken) Gate() lifecycle.KV                               { return b.gate() }
func (b *broken) Candidates(ctx context.Context) iter.Seq2[lifecycle.Record, error] {
	return b.candidates(ctx)
}

func (b *broken) Stop(ctx context.Context, r lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	return b.stop(ctx, r, cause)
}

func (b *broken) StopBatch(ctx context.Context, stops []lifecycle.Stop) (int, error) {
	return b.stopBatch(ctx, stops)
}

// put writes a record into memory exactly as given.
func (b *broken) put(ctx context.Context, r lifecycle.Record) error {
	_, err := b.memory.Put(ctx, r)
	return err
}

// exactBroken is a storetest.Putter.
type exactBroken struct{ *broken }

func (b exactBroken) Put(ctx context.Context, r lifecycle.Record) error { return b.put(ctx, r) }

// inMemory is a place whose handles are all one store.
type inMemory struct {
	store *memstore.Store
	fault registrarFault
}

func (h *inMemory) Open(_ context.Context, options storetest.Options) (lifecycle.Registrar, error) {
	if h.fault.options != nil {
		h.fault.options(&options)
	}
	if h.store == nil {
		h.store = memstore.New(memstore.Options(options))
	}
	b := newBroken(h.store)
	if h.fault.fault != nil {
		h.fault.fault(b)
	}
	return exactBroken{b}, nil
}

// inFiles is a place that other processes can open, and that can be spoiled.
type inFiles struct {
	dir   string
	fault registrarFault
}

func (h *inFiles) Open(ctx context.Context, options storetest.Options) (lifecycle.Registrar, error) {
	if options.OnStop != nil {
		return nil, errors.ErrUnsupported
	}
	s, err := filestore.New(ctx, h.dir, filestore.Options{Owner: options.Owner, Clock: options.Clock})
	if err != nil {
		return nil, err
	}
	b := newBroken(s)
	if h.fault.fault != nil {
		h.fault.fault(b)
	}
	return b, nil
}

func (h *inFiles) Address() string { return h.dir }

func (h *inFiles) Garblings() []storetest.Garbling {
	return []storetest.Garbling{{Name: "a typing error", Text: `"phasd"`, Spoil: func(_ context.Context, name string) error {
		return h.spoil("records.jsonl", name, `"phase"`, `"phasd"`)
	}}}
}

func (h *inFiles) GarbleEvent(_ context.Context, name string) error {
	return h.spoil("events.jsonl", name, `"action"`, `"auction"`)
}

// spoil replaces a text in the last line of a name.
func (h *inFiles) spoil(file, name, old, new string) error {
	path := filepath.Join(h.dir, file)
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	lines := slices.Collect(strings.Lines(string(content)))
	for i, line := range slices.Backward(lines) {
		if strings.Contains(line, `"name":"`+name+`"`) {
			lines[i] = strings.Replace(line, old, new, 1)
			return os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600)
		}
	}
	return fmt.Errorf("%s: no line of %q", path, name)
}

// openFaulty returns a place with a fault: in files where the case needs them.
func openFaulty(f registrarFault) func(t *testing.T, address string) storetest.Harness {
	return func(t *testing.T, address string) storetest.Harness {
		if !strings.Contains(f.caughtBy, "garbled") && !strings.Contains(f.caughtBy, "processes") {
			return &inMemory{fault: f}
		}
		if address == "" {
			var err error
			if address, err = os.MkdirTemp("", "storetest-"); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { // as t.TempDir, which fails under Wine 8
				if err := os.RemoveAll(address); err != nil {
					t.Logf("left behind: %v", err)
				}
			})
		}
		return &inFiles{address, f}
	}
}
