package storetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/lifecycle/storetest"
	"github.com/rollcall-go/rollcall/liveness"
)

// The names of the cases that catch something.
const (
	yields      = "yields records as they were registered"
	oddNames    = "yields names of any characters"
	early       = "ends an iteration early"
	meanwhile   = "stops while it is iterated over"
	eventCase   = "stops with event and snapshot"
	once        = "stops once"
	contention  = "stops once under contention"
	family      = "stops a family once under contention"
	unknown     = "stops nothing that is not registered"
	later       = "spares a later incarnation"
	again       = "registers a stopped name again"
	refused     = "refuses an incarnation that was stopped"
	garbled     = "refuses what a snapshot could not hold"
	bindings    = "leaves no binding behind"
	bindingsToo = "leaves no binding of a descendant behind"
	changed     = "spares a record that changed, if asked"
	stored      = "snapshots what is stored"
	descendants = "stops descendants"
	cycle       = "ends at a cycle of parents"
	cancelled   = "does nothing when cancelled"
	memory      = "shares no memory with callers"
	batch       = "stops in batches as one by one"
	tree        = "tells which descendants it stopped"
	registered  = "tells that there is something new"
	reopened    = "keeps all when reopened"
)

var faults = []struct {
	name     string
	caughtBy string
	fault    func(*faulty)
}{
	{"forgets the event", eventCase, func(f *faulty) {
		f.events = func(context.Context) ([]lifecycle.Event, error) { return nil, nil }
	}},
	{"forgets the event, when it stops a name again", bindings, func(f *faulty) {
		f.events = func(context.Context) ([]lifecycle.Event, error) { return nil, nil }
	}},
	{"logs an event without a snapshot", eventCase, editEvents(func(e *lifecycle.Event) { e.Snapshot = lifecycle.Snapshot{} })},
	{"logs an event without bindings", eventCase, editEvents(func(e *lifecycle.Event) { e.Snapshot.Bindings = nil })},
	{"logs an event without Data", eventCase, editEvents(func(e *lifecycle.Event) { e.Snapshot.Data = nil })},
	{"logs an event without a verdict", eventCase, editEvents(func(e *lifecycle.Event) { e.Verdict = "" })},
	{"logs an event without a time", eventCase, editEvents(func(e *lifecycle.Event) { e.At = time.Time{} })},
	{"logs an event without who", eventCase, editEvents(func(e *lifecycle.Event) { e.By = "" })},
	{"logs an event without why", eventCase, editEvents(func(e *lifecycle.Event) { e.Reason = "" })},
	{"logs an event of another action", eventCase, editEvents(func(e *lifecycle.Event) { e.Action = "deleted" })},
	{"logs an event without its incarnation", eventCase, editEvents(func(e *lifecycle.Event) { e.Incarnation = "" })},
	{"leaves bindings unsorted", eventCase, editEvents(func(e *lifecycle.Event) { slices.Reverse(e.Snapshot.Bindings) })},
	{"mixes up bindings of two records", eventCase, func(f *faulty) {
		f.bind = func(ctx context.Context, _ lifecycle.Record, key string) error {
			r, _ := f.stored("a")
			return f.Store.Bind(ctx, r, key)
		}
	}},
	{"logs the event twice", once, func(f *faulty) {
		f.events = func(ctx context.Context) ([]lifecycle.Event, error) {
			events, err := f.Store.Events(ctx, 0)
			return slices.Concat(events, events), err
		}
	}},
	{"numbers all events alike", again, editEvents(func(e *lifecycle.Event) { e.Seq = 1 })},
	{"yields events newest first", again, reversed},

	{"brings a stopped incarnation back", refused, func(f *faulty) {
		f.put = func(ctx context.Context, r lifecycle.Record) error {
			if _, err := f.Store.Put(ctx, r); err == nil {
				return nil
			}
			r.Incarnation += " again"
			_, err := f.Store.Put(ctx, r)
			return err
		}
	}},
	{"takes any name", garbled, editPuts(func(r *lifecycle.Record) { r.Name = strings.ToValidUTF8(r.Name, "?") })},
	{"takes any Data", garbled, editPuts(func(r *lifecycle.Record) {
		if !json.Valid(r.Data) {
			r.Data = nil
		}
	})},
	{"takes any identity", garbled, editPuts(func(r *lifecycle.Record) { r.Identity.PID = max(r.Identity.PID, 1) })},
	{"binds any key", garbled, func(f *faulty) {
		f.bind = func(ctx context.Context, r lifecycle.Record, key string) error {
			return f.Store.Bind(ctx, r, strings.ToValidUTF8(key, "?"))
		}
	}},

	{"stops whatever has the name", later, editStops(func(f *faulty, r *lifecycle.Record, _ *lifecycle.Cause) {
		stored, _ := f.stored(r.Name)
		r.Incarnation = stored.Incarnation
	})},
	{"stops the children of what it spares", later, func(f *faulty) {
		f.stop = func(ctx context.Context, r lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
			for _, name := range f.children(r.Name) {
				child, _ := f.stored(name)
				_, _ = f.Store.Stop(ctx, child, cause)
			}
			return f.Store.Stop(ctx, r, cause)
		}
	}},
	{"says Stopped of what it does not know", unknown, says(lifecycle.AlreadyStopped, lifecycle.Stopped, nil)},
	{"says Stopped twice", once, says(lifecycle.AlreadyStopped, lifecycle.Stopped, nil)},
	{"has an error for what it does not know", unknown, says(lifecycle.AlreadyStopped, 0, errors.New("not found"))},
	{"says AlreadyStopped of what it stops", eventCase, says(lifecycle.Stopped, lifecycle.AlreadyStopped, nil)},
	{"lets two win", contention, twoWinners},
	{"fails under contention", family, func(f *faulty) {
		f.stop = func(ctx context.Context, r lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
			if outcome, err := f.Store.Stop(ctx, r, cause); outcome == lifecycle.Stopped {
				return outcome, err
			}
			return 0, errors.New("database is locked")
		}
	}},

	{"stops whatever changed", changed, editStops(func(_ *faulty, _ *lifecycle.Record, cause *lifecycle.Cause) { cause.IfUnchanged = false })},
	{"spares what changed, asked or not", changed, editStops(func(_ *faulty, _ *lifecycle.Record, cause *lifecycle.Cause) { cause.IfUnchanged = true })},
	{"spares the dead that had a heartbeat", changed, editStops(func(_ *faulty, _ *lifecycle.Record, cause *lifecycle.Cause) {
		if cause.IfUnchanged {
			cause.Verdict = liveness.Verdict{}
		}
	})},
	{"does not see that the phase changed", changed, editStops(func(f *faulty, r *lifecycle.Record, _ *lifecycle.Cause) {
		stored, _ := f.stored(r.Name)
		r.Phase = stored.Phase
	})},
	{"does not see that the identity changed", changed, editStops(func(f *faulty, r *lifecycle.Record, _ *lifecycle.Cause) {
		stored, _ := f.stored(r.Name)
		r.Identity = stored.Identity
	})},
	{"does not see that the heartbeat changed", changed, editStops(func(f *faulty, r *lifecycle.Record, _ *lifecycle.Cause) {
		stored, _ := f.stored(r.Name)
		r.Heartbeat.Awake = stored.Heartbeat.Awake
	})},
	{"does not see that the heartbeat's boot changed", changed, editStops(func(f *faulty, r *lifecycle.Record, _ *lifecycle.Cause) {
		stored, _ := f.stored(r.Name)
		r.Heartbeat.Boot = stored.Heartbeat.Boot
	})},
	{"stops what changed and says that it did not", changed, func(f *faulty) {
		f.stop = func(ctx context.Context, r lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
			outcome, err := f.Store.Stop(ctx, r, cause)
			if errors.Is(err, lifecycle.ErrChanged) {
				_, _ = f.Store.Stop(ctx, r, lifecycle.Cause{})
			}
			return outcome, err
		}
	}},
	{"calls what is gone changed", changed, says(lifecycle.AlreadyStopped, 0, lifecycle.ErrChanged)},
	{"yields a heartbeat that it then calls changed", changed, func(f *faulty) {
		f.candidates = func(ctx context.Context) iter.Seq2[lifecycle.Record, error] {
			return func(yield func(lifecycle.Record, error) bool) {
				for r, err := range f.Store.Candidates(ctx) {
					r.Heartbeat.Wall = r.Heartbeat.Wall.Truncate(time.Second)
					if !yield(r, err) {
						return
					}
				}
			}
		}
	}},
	{"snapshots what it was given", stored, func(f *faulty) {
		f.stop = func(ctx context.Context, r lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
			if old, found := f.stored(r.Name); found && old.SameState(r) {
				_, _ = f.Store.Put(ctx, r)
			}
			return f.Store.Stop(ctx, r, cause)
		}
	}},
	{"asks whether Data changed", stored, func(f *faulty) {
		f.stop = func(ctx context.Context, r lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
			if old, found := f.stored(r.Name); cause.IfUnchanged && found && string(old.Data) != string(r.Data) {
				return 0, lifecycle.ErrChanged
			}
			return f.Store.Stop(ctx, r, cause)
		}
	}},

	{"leaves children", descendants, editStops(func(f *faulty, r *lifecycle.Record, _ *lifecycle.Cause) { f.orphan(r.Name) })},
	{"leaves grandchildren", descendants, editStops(func(f *faulty, r *lifecycle.Record, _ *lifecycle.Cause) {
		for _, child := range f.children(r.Name) {
			f.orphan(child)
		}
	})},
	{"stops children for the reason of their parent", descendants, editEvents(func(e *lifecycle.Event) { e.Reason = "exit:test" })},
	{"stops children by nobody", descendants, editEvents(func(e *lifecycle.Event) {
		if e.Reason == lifecycle.ReasonParentStopped {
			e.By = ""
		}
	})},
	{"forgets the bindings of children", descendants, editEvents(func(e *lifecycle.Event) {
		if e.Reason == lifecycle.ReasonParentStopped {
			e.Snapshot.Bindings = nil
		}
	})},
	{"stops strangers", descendants, editPuts(func(r *lifecycle.Record) {
		if r.Parent == "gone" || r.Name == "stranger" {
			r.Parent = "root"
		}
	})},
	{"goes round a cycle for ever", cycle, func(f *faulty) {
		f.stop = func(ctx context.Context, r lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
			for name := r.Name; name != ""; {
				select {
				case <-f.quit:
					return 0, errors.New("still going")
				default:
					parent, _ := f.stored(name)
					name = parent.Parent
				}
			}
			return f.Store.Stop(ctx, r, cause)
		}
	}},
	{"leaves bindings", bindings, keepsBindings(false)},
	{"binds to what is stopped", bindings, func(f *faulty) {
		f.bind = func(ctx context.Context, r lifecycle.Record, key string) error {
			r, _ = f.stored(r.Name)
			return f.Store.Bind(ctx, r, key)
		}
	}},
	{"leaves bindings of descendants", bindingsToo, keepsBindings(true)},

	{"holds its lock while yielding", meanwhile, lockWhileYielding(false)},
	{"keeps its lock when an iteration is left", early, lockWhileYielding(true)},
	{"keeps what callers gave it", memory, func(f *faulty) {
		var given lifecycle.Record
		f.put = func(ctx context.Context, r lifecycle.Record) error {
			given = r
			_, err := f.Store.Put(ctx, r)
			return err
		}
		f.candidates = func(context.Context) iter.Seq2[lifecycle.Record, error] {
			return func(yield func(lifecycle.Record, error) bool) { yield(given, nil) }
		}
	}},
	{"yields its own memory", memory, sharesData},
	{"hands out the memory of its snapshots", memory, sharesEvents(func(shared, e *lifecycle.Snapshot) { e.Data = shared.Data })},
	{"hands out the memory of its bindings", memory, sharesEvents(func(shared, e *lifecycle.Snapshot) { e.Bindings = shared.Bindings })},
	{"yields nothing", memory, without(map[string]bool{"a": true})},
	{"leaves a record out", yields, without(map[string]bool{"bare": true})},
	{"yields a record that the others do not have", oddNames, without(map[string]bool{"a\nb": true})},
	{"stops under a cancelled context", cancelled, func(f *faulty) {
		f.stop = func(ctx context.Context, r lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
			return f.Store.Stop(context.WithoutCancel(ctx), r, cause)
		}
	}},
	{"yields under a cancelled context", cancelled, func(f *faulty) {
		f.candidates = func(ctx context.Context) iter.Seq2[lifecycle.Record, error] {
			return f.Store.Candidates(context.WithoutCancel(ctx))
		}
	}},
	{"folds the case of names", oddNames, editPuts(func(r *lifecycle.Record) { r.Name = strings.ToLower(r.Name) })},

	{"cuts nanoseconds off CreatedAt", yields, editPuts(func(r *lifecycle.Record) { r.CreatedAt = r.CreatedAt.Truncate(time.Microsecond) })},
	{"cuts nanoseconds off wall times", yields, editPuts(func(r *lifecycle.Record) { r.Heartbeat.Wall = r.Heartbeat.Wall.Truncate(100) })},
	{"cuts nanoseconds off awake times", yields, editPuts(func(r *lifecycle.Record) { r.Heartbeat.Awake = r.Heartbeat.Awake.Truncate(time.Microsecond) })},
	{"loses the owner", yields, editPuts(func(r *lifecycle.Record) { r.Owner = "" })},
	{"loses the phase", yields, editPuts(func(r *lifecycle.Record) { r.Phase = lifecycle.Running })},
	{"loses the parent", yields, editPuts(func(r *lifecycle.Record) { r.Parent = "" })},
	{"loses Data", yields, editPuts(func(r *lifecycle.Record) { r.Data = nil })},
	{"makes up Data", yields, editPuts(func(r *lifecycle.Record) { r.Data = append(r.Data, ' ', '1')[:max(len(r.Data), 2)] })},
	{"loses the boot of heartbeats", yields, editPuts(func(r *lifecycle.Record) { r.Heartbeat.Boot.Machine = "" })},
	{"loses the namespace", yields, editPuts(func(r *lifecycle.Record) { r.Identity.Namespace = liveness.Namespace{} })},
	{"loses the bounds of the start", yields, editPuts(func(r *lifecycle.Record) { r.Identity.NotAfter = time.Time{} })},
	{"loses the marker", yields, editPuts(func(r *lifecycle.Record) { r.Identity.Marker = "" })},
	{"loses what a newer version knows of a process", yields, editPuts(func(r *lifecycle.Record) {
		i := r.Identity
		r.Identity = liveness.Identity{PID: i.PID, Boot: i.Boot, Namespace: i.Namespace, Start: i.Start, Unique: i.Unique,
			Marker: i.Marker, NotBefore: i.NotBefore, NotAfter: i.NotAfter}
	})},

	{"stops nothing in a batch", batch, func(f *faulty) {
		f.stopBatch = func(context.Context, []lifecycle.Stop) (int, error) { return 0, nil }
	}},
	{"passes over an error in a batch", batch, func(f *faulty) {
		f.stopBatch = func(ctx context.Context, stops []lifecycle.Stop) (int, error) {
			var errs error
			for i := range stops {
				_, err := f.Store.StopBatch(ctx, stops[i:i+1])
				errs = errors.Join(errs, err)
			}
			return len(stops), errs
		}
	}},
	{"hides the error of a batch", batch, editBatch(func(_ []lifecycle.Stop, n int, _ error) (int, error) { return n, nil })},
	{"calls every outcome of a batch Stopped", batch, editBatch(func(stops []lifecycle.Stop, n int, err error) (int, error) {
		for i := range stops {
			stops[i].Outcome = lifecycle.Stopped
		}
		return n, err
	})},
	{"says nothing of the outcomes of a batch", batch, editBatch(func(stops []lifecycle.Stop, n int, err error) (int, error) {
		for i := range stops {
			stops[i].Outcome = 0
		}
		return n, err
	})},
	{"miscounts a batch", batch, editBatch(func(_ []lifecycle.Stop, n int, err error) (int, error) { return max(0, n-1), err })},
	{"has an error for an empty batch", batch, editBatch(func(_ []lifecycle.Stop, n int, err error) (int, error) {
		if n == 0 && err == nil {
			err = errors.New("nothing to do")
		}
		return n, err
	})},
	{"stops a batch under a cancelled context", batch, func(f *faulty) {
		f.stopBatch = func(ctx context.Context, stops []lifecycle.Stop) (int, error) {
			return f.Store.StopBatch(context.WithoutCancel(ctx), stops)
		}
	}},
	{"stops a batch that changed", batch, func(f *faulty) {
		f.stopBatch = func(ctx context.Context, stops []lifecycle.Stop) (int, error) {
			for i := range stops {
				stops[i].Cause.IfUnchanged = false
			}
			return f.Store.StopBatch(ctx, stops)
		}
	}},

	{"does not tell of descendants", tree, editDescendants(func([]lifecycle.Record) []lifecycle.Record { return nil })},
	{"tells of a child only", tree, editDescendants(func(along []lifecycle.Record) []lifecycle.Record { return along[:min(1, len(along))] })},
	{"tells of descendants without their process", tree, editDescendants(func(along []lifecycle.Record) []lifecycle.Record {
		for i := range along {
			along[i].Identity = liveness.Identity{}
		}
		return along
	})},
	{"tells of all descendants of a batch at its first record", tree, editBatch(func(stops []lifecycle.Stop, n int, err error) (int, error) {
		for i := range stops[1:] {
			stops[0].Descendants = append(stops[0].Descendants, stops[1+i].Descendants...)
			stops[1+i].Descendants = nil
		}
		return n, err
	})},
	{"tells of descendants and stops nothing", tree, func(f *faulty) {
		f.stopBatch = func(_ context.Context, stops []lifecycle.Stop) (int, error) {
			for i := range stops {
				stops[i].Outcome = lifecycle.Stopped
			}
			return len(stops), nil
		}
	}},
	{"tells the same number of registrations", registered, func(f *faulty) {
		f.registered = func(context.Context) (int64, error) { return 1, nil }
	}},
	{"counts records instead of registrations", registered, func(f *faulty) {
		f.registered = func(ctx context.Context) (int64, error) {
			records, err := f.Records(ctx)
			return int64(len(records)), err
		}
	}},
	{"counts its own being asked", registered, func(f *faulty) {
		var n int64
		f.registered = func(context.Context) (int64, error) { n++; return n, nil }
	}},

	{"forgets all when reopened", reopened, func(f *faulty) { f.reopen = func() storetest.Subject { return newFaulty(f.quit) } }},
	{"forgets bindings when reopened", reopened, func(f *faulty) {
		f.reopen = func() storetest.Subject {
			next := newFaulty(f.quit)
			next.Store = new(memstore.Store)
			editEvents(func(e *lifecycle.Event) { e.Snapshot.Bindings = nil })(f)
			return f
		}
	}},
}

// says answers one outcome with another, or with an error.
func says(instead, outcome lifecycle.Outcome, err error) func(*faulty) {
	return func(f *faulty) {
		f.stop = func(ctx context.Context, r lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
			got, gotErr := f.Store.Stop(ctx, r, cause)
			if gotErr == nil && got == instead {
				return outcome, err
			}
			return got, gotErr
		}
	}
}

// editBatch changes what a batch comes to.
func editBatch(edit func([]lifecycle.Stop, int, error) (int, error)) func(*faulty) {
	return func(f *faulty) {
		f.stopBatch = func(ctx context.Context, stops []lifecycle.Stop) (int, error) {
			n, err := f.Store.StopBatch(ctx, stops)
			return edit(stops, n, err)
		}
	}
}

// editDescendants changes what a batch tells of descendants.
func editDescendants(edit func([]lifecycle.Record) []lifecycle.Record) func(*faulty) {
	return editBatch(func(stops []lifecycle.Stop, n int, err error) (int, error) {
		for i := range stops {
			stops[i].Descendants = edit(stops[i].Descendants)
		}
		return n, err
	})
}

var kvFaults = []struct {
	name     string
	caughtBy string
	fault    func(*faultyKV, <-chan struct{})
}{
	{"swaps whatever is there", "swaps only what it compared", func(k *faultyKV, _ <-chan struct{}) {
		k.swap = func(k *faultyKV, key, _, new string) bool { k.values[key] = new; return true }
	}},
	{"swaps whatever is there, at first", "has nothing at first", func(k *faultyKV, _ <-chan struct{}) {
		k.swap = func(k *faultyKV, key, _, new string) bool { k.values[key] = new; return true }
	}},
	{"inserts only", "swaps only what it compared", func(k *faultyKV, _ <-chan struct{}) {
		k.swap = func(k *faultyKV, key, _, new string) bool {
			if k.values[key] != "" {
				return false
			}
			k.values[key] = new
			return true
		}
	}},
	{"stores and says that it did not", "swaps only what it compared", func(k *faultyKV, _ <-chan struct{}) {
		k.after = func(won *bool) { *won = false }
	}},
	{"has one value for all keys", "swaps only what it compared", func(k *faultyKV, _ <-chan struct{}) {
		k.key = func(string) string { return "" }
	}},
	{"cuts long values", "swaps only what it compared", func(k *faultyKV, _ <-chan struct{}) {
		swap := k.swap
		k.swap = func(k *faultyKV, key, old, new string) bool { return swap(k, key, old, new[:min(len(new), 255)]) }
	}},
	{"has something at first", "has nothing at first", func(k *faultyKV, _ <-chan struct{}) { k.values["a"] = "0" }},
	{"lets two win", "lets one of many win", func(k *faultyKV, quit <-chan struct{}) {
		pairs := newPairs(quit)
		k.before = func(key string) { // two have compared before either has swapped
			pairs.meet(key)
		}
		wins := 0
		k.swap = func(k *faultyKV, key, _, new string) bool {
			k.values[key] = new
			wins++
			return wins <= 2
		}
	}},
	{"swaps under a cancelled context", "does nothing when cancelled", func(k *faultyKV, _ <-chan struct{}) { k.deaf = true }},
}

// hangs are the faults by which a store waits for itself for ever.
var hangs = []string{"goes round a cycle for ever", "holds its lock while yielding", "keeps its lock when an iteration is left"}

// timeoutOf is short where a case can only end by its timeout, and otherwise so
// long that a slow machine is not taken for a fault that was caught.
func timeoutOf(fault string) time.Duration {
	if slices.Contains(hangs, fault) {
		return 100 * time.Millisecond
	}
	return time.Minute
}

func TestEveryFaultIsCaught(t *testing.T) {
	t.Parallel()
	for _, test := range faults {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFaulty(t.Context().Done())
			test.fault(f)
			if err := storetest.Check(t.Context(), test.caughtBy, timeoutOf(test.name), f); err == nil {
				t.Errorf("not caught by the case that a store %s", test.caughtBy)
			}
		})
	}
	for _, test := range kvFaults {
		t.Run("KV "+test.name, func(t *testing.T) {
			t.Parallel()
			kv := newFaultyKV()
			test.fault(kv, t.Context().Done())
			if err := storetest.CheckKV(t.Context(), test.caughtBy, time.Minute, kv); err == nil {
				t.Errorf("not caught by the case that a KV %s", test.caughtBy)
			}
		})
	}
}

// A case that no fault fails is a case that cannot fail.
func TestEveryCaseCatchesAFault(t *testing.T) {
	t.Parallel()
	caught := map[string]bool{}
	for _, test := range faults {
		caught[test.caughtBy] = true
	}
	for _, test := range kvFaults {
		caught[test.caughtBy] = true
	}
	for _, name := range storetest.Names() {
		if !caught[name] {
			t.Errorf("no fault is caught by the case %q", name)
		}
	}
}

// The stores that the faults are put into have none of their own.
func TestStoreWithoutAFaultPasses(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Subject { return newFaulty(t.Context().Done()) })
	storetest.RunKV(t, func(*testing.T) lifecycle.KV { return newFaultyKV() })
}

func TestSubjectThatEndsTheTestIsReported(t *testing.T) {
	t.Parallel()
	f := newFaulty(t.Context().Done())
	f.put = func(context.Context, lifecycle.Record) error { runtime.Goexit(); return nil } // as t.FailNow does
	if err := storetest.Check(t.Context(), once, time.Minute, f); err == nil {
		t.Error("not reported")
	}
}
