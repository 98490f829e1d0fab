// Package storetest checks that a store keeps the rules of its interface. The test
// of a [lifecycle.Registrar] is one line, and a [Harness] that opens it:
//
//	func TestStore(t *testing.T) {
//		storetest.RunRegistrar(t, func(t *testing.T, address string) storetest.Harness {
//			return harness{cmp.Or(address, t.TempDir())}
//		})
//	}
//
//	type harness struct{ dir string }
//
//	func (h harness) Open(ctx context.Context, o storetest.Options) (lifecycle.Registrar, error) {
//		return mystore.New(ctx, h.dir, mystore.Options{Owner: o.Owner, Clock: o.Clock, OnStop: o.OnStop})
//	}
//
//	func (h harness) Address() string { return h.dir } // other processes can open it
//
// [Run] checks a [lifecycle.Store] that is no more than that, and [RunKV] a
// [lifecycle.KV]. The package brings no dependency into a store's tests.
package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// Subject is a store under test, together with what a test needs to fill and
// to read it.
type Subject interface {
	lifecycle.Store

	// Put registers the record exactly as given, or replaces the stored one
	// of the same name and incarnation. It refuses what
	// [lifecycle.Record.Validate] does, and an incarnation that was stopped.
	Put(ctx context.Context, record lifecycle.Record) error
	// Bind binds a key to a registered record. It refuses one that is not UTF-8.
	Bind(ctx context.Context, record lifecycle.Record, key string) error
	// Records returns the registered records in any order.
	Records(ctx context.Context) ([]lifecycle.Record, error)
	// Events returns all stopped events, oldest first.
	Events(ctx context.Context) ([]lifecycle.Event, error)
}

// Reopener is a [Subject] that can be closed and opened again, as after the
// end of its process. Its records and events are still there then.
type Reopener interface {
	Reopen(ctx context.Context) (Subject, error)
}

// caseTimeout bounds one case; a store that waits for itself is caught by it.
const caseTimeout = 30 * time.Second

// Run runs every case as a subtest, in parallel, each on a store of its own
// that open returns empty. open registers its own clean-up with t.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	t.Helper()
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			if err := check(t.Context(), caseTimeout, func(ctx context.Context) error { return test.run(ctx, s) }); err != nil {
				t.Error(err)
			}
		})
	}
}

// RunKV does for a [lifecycle.KV] what Run does for a store.
func RunKV(t *testing.T, open func(t *testing.T) lifecycle.KV) {
	t.Helper()
	for _, test := range kvCases {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			kv := open(t)
			if err := check(t.Context(), caseTimeout, func(ctx context.Context) error { return test.run(ctx, kv) }); err != nil {
				t.Error(err)
			}
		})
	}
}

// check runs a case that may hang. The context ends first, so that a store
// that heeds it comes back with an error of its own.
func check(ctx context.Context, timeout time.Duration, run func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := errors.New("the subject ended the test") // by t.FailNow
		defer func() { done <- err }()
		err = run(ctx)
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(timeout + timeout/2):
		return errors.New("the store hangs, even after its context has ended")
	}
}
