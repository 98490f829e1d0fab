package filestore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/filestore"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/storetest"
)

func open(t testing.TB, dir string, options filestore.Options) *filestore.Store {
	t.Helper()
	store, err := filestore.New(t.Context(), dir, options)
	qt.New(t).Assert(err, qt.IsNil)
	return store
}

// harness is a directory. Every second handle rewrites the records at every
// occasion.
type harness struct {
	dir    string
	opened atomic.Int64
}

var (
	_ storetest.Addressed    = (*harness)(nil)
	_ storetest.Garbler      = (*harness)(nil)
	_ storetest.EventGarbler = (*harness)(nil)
	_ storetest.Putter       = (*filestore.Store)(nil)
)

func newHarness(t *testing.T, address string) storetest.Harness {
	if address == "" {
		address = filepath.Join(tempDir(t), "not", "made", "yet")
	}
	return &harness{dir: address}
}

func (h *harness) Open(ctx context.Context, options storetest.Options) (lifecycle.Registrar, error) {
	if options.OnStop != nil {
		return nil, fmt.Errorf("filestore has no hook: %w", errors.ErrUnsupported)
	}
	all := filestore.Options{Owner: options.Owner, Clock: options.Clock}
	if h.opened.Add(1)%2 == 0 {
		all = all.RewriteFrom(1)
	}
	return filestore.New(ctx, h.dir, all)
}

func (h *harness) Address() string { return h.dir }

func (h *harness) Garblings() (all []storetest.Garbling) {
	for _, way := range garbled {
		if way.told {
			all = append(all, storetest.Garbling{
				Name: way.name, Text: `{"name":"`, NoParent: !way.ofParent,
				Spoil: func(_ context.Context, name string) error { return h.spoilLast(recordsFile, name, way.spoil) },
			})
		}
	}
	return all
}

func (h *harness) GarbleEvent(_ context.Context, name string) error {
	return h.spoilLast(eventsFile, name, func(line string) string { return strings.Replace(line, `"action"`, `"auction"`, 1) })
}

// spoilLast spoils the last line of a name in a file.
func (h *harness) spoilLast(file, name string, spoil func(string) string) error {
	path := filepath.Join(h.dir, file)
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	lines := slices.Collect(strings.Lines(string(content)))
	for i, line := range slices.Backward(lines) {
		if strings.Contains(line, `"name":"`+name+`"`) {
			lines[i] = spoil(line)
			return os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600)
		}
	}
	return fmt.Errorf("%s: no line of %q", path, name)
}

func TestStoreKeepsTheRulesOfItsInterface(t *testing.T) {
	t.Parallel()
	storetest.RunRegistrar(t, newHarness)
}

// alternatingKV uses another handle on the same file at each call.
type alternatingKV struct {
	handles [2]lifecycle.KV
	calls   atomic.Int64
}

func (k *alternatingKV) next() lifecycle.KV { return k.handles[k.calls.Add(1)%2] }

func (k *alternatingKV) Get(ctx context.Context, key string) (string, error) {
	return k.next().Get(ctx, key)
}

func (k *alternatingKV) CompareAndSwap(ctx context.Context, key, old, new string) (bool, error) {
	return k.next().CompareAndSwap(ctx, key, old, new)
}

func TestSeveralHandlesAreOneGate(t *testing.T) {
	t.Parallel()
	storetest.RunKV(t, func(t *testing.T) lifecycle.KV {
		path := filepath.Join(tempDir(t), "not", "made", "yet", "gate")
		return &alternatingKV{handles: [2]lifecycle.KV{filestore.Gate(path), filestore.Gate(path)}}
	})
}
