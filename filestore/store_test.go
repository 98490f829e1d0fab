package filestore_test

import (
	"context"
	"iter"
	"path/filepath"
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

// subject is a Store as package storetest wants it.
type subject struct {
	*filestore.Store
	t   *testing.T
	dir string
}

func (s subject) Events(ctx context.Context) ([]lifecycle.Event, error) {
	return s.Store.Events(ctx, 0)
}

func (s subject) Reopen(context.Context) (storetest.Subject, error) {
	return subject{open(s.t, s.dir, filestore.Options{}), s.t, s.dir}, nil
}

func TestStoreKeepsTheRulesOfItsInterface(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Subject {
		dir := tempDir(t)
		return subject{open(t, dir, filestore.Options{}), t, dir}
	})
}

// alternating uses another handle on the same directory at each call, one of
// which rewrites the records at every occasion.
type alternating struct {
	t       *testing.T
	dir     string
	handles []*filestore.Store
	calls   atomic.Int64
}

func newAlternating(t *testing.T, dir string) *alternating {
	s := &alternating{t: t, dir: dir}
	for range 3 {
		s.handles = append(s.handles, open(t, dir, filestore.Options{}))
	}
	s.handles = append(s.handles, open(t, dir, filestore.Options{}.RewriteFrom(1)))
	return s
}

func (s *alternating) next() *filestore.Store {
	return s.handles[int(s.calls.Add(1))%len(s.handles)]
}

func (s *alternating) Candidates(ctx context.Context) iter.Seq2[lifecycle.Record, error] {
	return s.next().Candidates(ctx)
}

func (s *alternating) Stop(ctx context.Context, record lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	return s.next().Stop(ctx, record, cause)
}

func (s *alternating) StopBatch(ctx context.Context, stops []lifecycle.Stop) (int, error) {
	return s.next().StopBatch(ctx, stops)
}

func (s *alternating) Put(ctx context.Context, record lifecycle.Record) error {
	return s.next().Put(ctx, record)
}

func (s *alternating) Bind(ctx context.Context, record lifecycle.Record, key string) error {
	return s.next().Bind(ctx, record, key)
}

func (s *alternating) Records(ctx context.Context) ([]lifecycle.Record, error) {
	return s.next().Records(ctx)
}

func (s *alternating) Events(ctx context.Context) ([]lifecycle.Event, error) {
	return s.next().Events(ctx, 0)
}

func (s *alternating) Reopen(context.Context) (storetest.Subject, error) {
	return newAlternating(s.t, s.dir), nil
}

func TestSeveralHandlesAreOneStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Subject { return newAlternating(t, tempDir(t)) })
}

func TestGateKeepsTheRulesOfItsInterface(t *testing.T) {
	t.Parallel()
	storetest.RunKV(t, func(t *testing.T) lifecycle.KV {
		return open(t, tempDir(t), filestore.Options{}).Gate()
	})
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
