package filestore_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/filestore"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

func TestLaunchSaysWhyItRefuses(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store := open(t, tempDir(t), filestore.Options{})
	register(t, store, running("taken", liveness.Identity{}))
	for _, test := range []struct {
		record lifecycle.Record
		want   error
		text   string
	}{
		{lifecycle.Record{Name: "taken"}, lifecycle.ErrNameTaken, `name is taken`},
		{lifecycle.Record{Name: "x", CreatedAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, lifecycle.ErrInvalidRecord, `.*year outside of range.*`},
	} {
		_, err := store.Launch(t.Context(), test.record)
		c.Assert(err, qt.ErrorIs, test.want)
		c.Assert(err, qt.ErrorMatches, fmt.Sprintf(`filestore: launch "%s": %s`, test.record.Name, test.text))
	}
	c.Assert(names(t, store), qt.DeepEquals, []string{"taken"})
}

// Heartbeats make most of the lines. A file that is rewritten holds the same.
func TestRecordsThatGrowAreRewritten(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	dir := tempDir(t)
	store := open(t, dir, unflushed().RewriteFrom(4000))
	register(t, store, running("first", liveness.Identity{}), running("second", liveness.Identity{}), running("gone", liveness.Identity{}))
	_, err := store.Stop(t.Context(), running("gone", liveness.Identity{}), cause)
	c.Assert(err, qt.IsNil)
	other := open(t, dir, filestore.Options{})
	longest := 0
	for range 60 {
		c.Assert(store.Heartbeat(t.Context(), running("first", liveness.Identity{})), qt.IsNil)
		longest = max(longest, len(readFile(t, dir, recordsFile)))
	}
	c.Assert(longest < 9000, qt.IsTrue, qt.Commentf("%d", longest))
	c.Assert(names(t, other), qt.DeepEquals, []string{"first", "second"})
	c.Assert(dump(t, other), qt.DeepEquals, dump(t, store))
	c.Assert(dump(t, open(t, dir, filestore.Options{})), qt.DeepEquals, dump(t, store))
	c.Assert(store.Put(t.Context(), running("gone", liveness.Identity{})), qt.ErrorIs, lifecycle.ErrInvalidRecord)
}

func TestRegistrationsChangeWithThoseOfAnotherProcess(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]filestore.Options{
		"appended":  {},
		"rewritten": filestore.Options{}.RewriteFrom(1), // again and again
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			ctx, dir := t.Context(), tempDir(t)
			watched, other := open(t, dir, options), open(t, dir, options)
			last, err := watched.Registrations(ctx)
			c.Assert(err, qt.IsNil)
			changed := func() bool {
				n, err := watched.Registrations(ctx)
				c.Assert(err, qt.IsNil)
				before := last
				last = n
				return n != before
			}
			c.Assert(changed(), qt.IsFalse)
			record, err := other.Launch(ctx, lifecycle.Record{Name: "worker"})
			c.Assert(err, qt.IsNil)
			c.Assert(changed(), qt.IsTrue)
			c.Assert(other.Activate(ctx, record, liveness.Identity{}), qt.IsNil)
			c.Assert(changed(), qt.IsTrue)
			c.Assert(other.Deactivate(ctx, record), qt.IsNil)
			for range 10 {
				c.Assert(other.Heartbeat(ctx, record), qt.IsNil)
			}
			c.Assert(changed(), qt.IsTrue)
			c.Assert(changed(), qt.IsFalse)
			if name == "appended" {
				c.Assert(other.Heartbeat(ctx, record), qt.IsNil)
				c.Assert(changed(), qt.IsFalse)
				c.Assert(other.SetData(ctx, record, json.RawMessage(`1`)), qt.IsNil)
				c.Assert(changed(), qt.IsFalse)
			}
		})
	}
}
