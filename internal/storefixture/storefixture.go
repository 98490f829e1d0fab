// Package storefixture has what the tests of each store need alike: records, and
// what a store says of them.
package storefixture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

// Created is a moment with nanoseconds, away from any default.
var Created = time.Date(2024, 2, 29, 23, 59, 58, 123456789, time.UTC)

// Cause is a cause of a stop that no Cleaner has.
var Cause = lifecycle.Cause{By: "tester", Reason: "exit:test"}

// TempDir is t.TempDir, which fails under Wine where a file was open: Wine 8
// cannot remove it in the way that Go asks for.
func TempDir(t testing.TB) string {
	t.Helper()
	if runtime.GOOS != "windows" {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("", "")
	qt.New(t).Assert(err, qt.IsNil)
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Logf("left behind: %v", err)
		}
	})
	return dir
}

// selfOnce reads the identity of this process once.
var selfOnce = sync.OnceValues(liveness.Self)

// Self is the identity of this process, which is alive.
func Self(t testing.TB) liveness.Identity {
	id, err := selfOnce()
	if errors.Is(err, errors.ErrUnsupported) {
		proctest.Skip(t, "%v", err)
	}
	qt.New(t).Assert(err, qt.IsNil)
	return id
}

// Before is what this process would have been in an earlier boot of this
// machine: dead, although somebody has its PID. Where no boot can be proven to
// be over it is a process whose PID nobody has.
func Before(t testing.TB) liveness.Identity {
	id := Self(t)
	if id.Boot.Quality == bootid.Native {
		id.Boot.Boot = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
		return id
	}
	id.PID = 1 << 30
	return id
}

// BeforeReason is the reason for which a record of Before is stopped.
func BeforeReason(t testing.TB) string {
	if Before(t).Boot != Self(t).Boot {
		return lifecycle.ReasonReboot
	}
	return lifecycle.ReasonDied
}

// Running is a record in phase Running.
func Running(name string, identity liveness.Identity) lifecycle.Record {
	return lifecycle.Record{
		Name: name, Incarnation: "of " + name, Identity: identity, CreatedAt: Created,
		Heartbeat: lifecycle.Heartbeat{Boot: identity.Boot, Awake: time.Hour, Wall: Created.Add(time.Nanosecond)},
		Data:      json.RawMessage(`{"argv":["sh","-c","exit 1"]}`),
	}
}

// Numbered is a name of many.
func Numbered(name string, i int) string { return fmt.Sprintf("%s-%04d", name, i) }

// Putter is a store that can be given a record as it is.
type Putter interface {
	lifecycle.Registrar
	Put(ctx context.Context, record lifecycle.Record) error
}

// Register puts records into a store as they are, each with a binding.
func Register(t testing.TB, store Putter, records ...lifecycle.Record) {
	c := qt.New(t)
	for _, record := range records {
		c.Assert(store.Put(t.Context(), record), qt.IsNil)
		c.Assert(store.Bind(t.Context(), record, "session of "+record.Name), qt.IsNil)
	}
}

// DeepData has more levels than a store takes today, and as many as the first versions
// could give back.
var DeepData = json.RawMessage(strings.Repeat("[", 9998) + strings.Repeat("]", 9998))

// CheckDeepData checks that records that have DeepData already are read, written about
// and stopped.
func CheckDeepData(t testing.TB, store lifecycle.Registrar) {
	c := qt.New(t)
	records, err := store.Records(t.Context())
	c.Assert(err, qt.IsNil)
	var stops []lifecycle.Stop
	for _, record := range records {
		c.Assert(string(record.Data) == string(DeepData), qt.IsTrue)
		c.Assert(store.Activate(t.Context(), record, liveness.Identity{}), qt.IsNil)
		c.Assert(store.Heartbeat(t.Context(), record), qt.IsNil)
		record, err = store.Record(t.Context(), record.Name)
		c.Assert(err, qt.IsNil)
		c.Assert(string(record.Data) == string(DeepData), qt.IsTrue)
		stops = append(stops, lifecycle.Stop{Record: record, Cause: Cause})
	}
	n, err := store.(lifecycle.BatchStopper).StopBatch(t.Context(), stops)
	c.Assert(err, qt.IsNil)
	c.Assert(n, qt.Equals, len(records))
	for _, event := range Events(t, store) {
		c.Assert(string(event.Snapshot.Data) == string(DeepData), qt.IsTrue)
	}
	for _, record := range records {
		snapshot, err := store.Snapshot(t.Context(), record.Name)
		c.Assert(err, qt.IsNil)
		c.Assert(string(snapshot.Data) == string(DeepData), qt.IsTrue)
	}
}

// Only returns the one record that is registered.
func Only(t testing.TB, store lifecycle.Registrar) lifecycle.Record {
	c := qt.New(t)
	records, err := store.Records(t.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(records, qt.HasLen, 1)
	return records[0]
}

// Names returns the names of the registered records.
func Names(t testing.TB, store lifecycle.Registrar) []string {
	records, err := store.Records(t.Context())
	qt.New(t).Assert(err, qt.IsNil)
	var names []string
	for _, record := range records {
		names = append(names, record.Name)
	}
	return names
}

// Events returns all events of a store.
func Events(t testing.TB, store lifecycle.Registrar) []lifecycle.Event {
	c := qt.New(t)
	var all []lifecycle.Event
	for after := int64(0); ; after = all[len(all)-1].Seq {
		page, err := store.Events(t.Context(), after)
		c.Assert(err, qt.IsNil)
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
	}
}

// Stopped returns "name: reason" of all events of a store.
func Stopped(t testing.TB, store lifecycle.Registrar) []string {
	var all []string
	for _, event := range Events(t, store) {
		all = append(all, event.Name+": "+event.Reason)
	}
	return all
}

// StopBatch stops records at once and returns the outcomes of those that the
// store came to.
func StopBatch(ctx context.Context, store lifecycle.BatchStopper, stops []lifecycle.Stop) ([]lifecycle.Outcome, error) {
	n, err := store.StopBatch(ctx, stops)
	outcomes := make([]lifecycle.Outcome, n)
	for i := range outcomes {
		outcomes[i] = stops[i].Outcome
	}
	return outcomes, err
}
