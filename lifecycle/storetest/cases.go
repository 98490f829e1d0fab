package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

var cases = []struct {
	name string
	run  func(context.Context, Subject) error
}{
	{"yields records as they were registered", yieldsRecords},
	{"yields names of any characters", yieldsOddNames},
	{"ends an iteration early", endsEarly},
	{"stops while it is iterated over", stopsDuringIteration},
	{"stops with event and snapshot", stopsWithEvent},
	{"stops once", stopsOnce},
	{"stops once under contention", stopsOnceConcurrently},
	{"stops a family once under contention", stopsFamilyConcurrently},
	{"stops nothing that is not registered", stopsNothingUnknown},
	{"spares a later incarnation", sparesLaterIncarnation},
	{"registers a stopped name again", registersAgain},
	{"refuses an incarnation that was stopped", refusesStopped},
	{"refuses what a snapshot could not hold", refusesGarbled},
	{"leaves no binding behind", leavesNoBinding},
	{"leaves no binding of a descendant behind", leavesNoBindingOfDescendants},
	{"spares a record that changed, if asked", sparesChanged},
	{"snapshots what is stored", snapshotsStored},
	{"stops descendants", stopsDescendants},
	{"ends at a cycle of parents", endsAtCycle},
	{"does nothing when cancelled", cancelled},
	{"shares no memory with callers", sharesNoMemory},
	{"stops in batches as one by one", stopsBatch},
	{"tells which descendants it stopped", tellsDescendants},
	{"tells that there is something new", countsPuts},
	{"keeps all when reopened", reopens},
}

// A moment with nanoseconds, away from any default.
var created = time.Date(2024, 2, 29, 23, 59, 58, 123456789, time.UTC)

func record(name, incarnation string) lifecycle.Record {
	boot := bootid.ID{Machine: "0123456789abcdef0123456789abcdef", Boot: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", Quality: bootid.Native}
	return lifecycle.Record{
		Name: name, Incarnation: incarnation, Owner: owner,
		Identity:  liveness.Identity{PID: 4711, Boot: boot, Start: 12345, Unique: 67890, Marker: "a marker"},
		CreatedAt: created,
		Heartbeat: lifecycle.Heartbeat{Boot: boot, Awake: 90*time.Minute + time.Nanosecond, Wall: created.Add(time.Hour + time.Nanosecond)},
		Data:      json.RawMessage(`{"argv":["sh","-c","exit 1"],"n":1.50}`),
	}
}

var cause = lifecycle.Cause{By: "tester", Reason: "exit:test", Verdict: liveness.Verdict{State: liveness.Dead, Reason: liveness.NoProcess}}

func put(ctx context.Context, s Subject, records ...lifecycle.Record) error {
	for _, r := range records {
		if err := s.Put(ctx, r); err != nil {
			return fmt.Errorf("Put(%q): %w", r.Name, err)
		}
	}
	return nil
}

func candidates(ctx context.Context, s lifecycle.Store) ([]lifecycle.Record, error) {
	var records []lifecycle.Record
	for r, err := range s.Candidates(ctx) {
		if err != nil {
			return nil, fmt.Errorf("Candidates: %w", err)
		}
		records = append(records, r)
	}
	return records, nil
}

// stop stops a record and checks the outcome.
func stop(ctx context.Context, s lifecycle.Store, r lifecycle.Record, want lifecycle.Outcome) error {
	got, err := s.Stop(ctx, r, cause)
	if err != nil {
		return fmt.Errorf("Stop(%q): %w", r.Name, err)
	}
	if got != want {
		return fmt.Errorf("Stop(%q, incarnation %q) = %v, want %v", r.Name, r.Incarnation, got, want)
	}
	return nil
}

// reader is the part of a [Subject] that shows what it holds.
type reader interface {
	lifecycle.Store
	Records(ctx context.Context) ([]lifecycle.Record, error)
	Events(ctx context.Context) ([]lifecycle.Event, error)
}

// holds checks which records and which events a store has, by name.
func holds(ctx context.Context, s reader, names, stopped []string) error {
	records, err := s.Records(ctx)
	if err != nil {
		return fmt.Errorf("Records: %w", err)
	}
	got := make([]string, 0, len(records))
	for _, r := range records {
		got = append(got, r.Name)
	}
	yielded, err := candidates(ctx, s)
	if err != nil {
		return err
	}
	gotYielded := make([]string, 0, len(yielded))
	for _, r := range yielded {
		gotYielded = append(gotYielded, r.Name)
	}
	events, err := s.Events(ctx)
	if err != nil {
		return fmt.Errorf("Events: %w", err)
	}
	gotStopped := make([]string, 0, len(events))
	for i, e := range events {
		gotStopped = append(gotStopped, e.Name)
		if i > 0 && e.Seq <= events[i-1].Seq {
			return fmt.Errorf("event %d has Seq %d after %d", i, e.Seq, events[i-1].Seq)
		}
	}
	slices.Sort(gotYielded)
	slices.Sort(got)
	slices.Sort(gotStopped)
	if !slices.Equal(got, names) || !slices.Equal(gotStopped, stopped) {
		return fmt.Errorf("the store holds records %q and stopped events of %q, want %q and %q", got, gotStopped, names, stopped)
	}
	if !slices.Equal(gotYielded, names) {
		return fmt.Errorf("Candidates yields %q, the store holds %q", gotYielded, names)
	}
	return nil
}

// lastEvent is the latest event of a store, which must be about the record.
func lastEvent(ctx context.Context, s reader, want lifecycle.Record) (lifecycle.Event, error) {
	events, err := s.Events(ctx)
	if err != nil {
		return lifecycle.Event{}, fmt.Errorf("Events: %w", err)
	}
	if len(events) == 0 {
		return lifecycle.Event{}, fmt.Errorf("no event of %q, incarnation %q", want.Name, want.Incarnation)
	}
	e := events[len(events)-1]
	if e.Name != want.Name || e.Incarnation != want.Incarnation {
		return e, fmt.Errorf("the latest event is of %q, incarnation %q, want %q, %q", e.Name, e.Incarnation, want.Name, want.Incarnation)
	}
	return e, nil
}

// sameRecord compares what must survive a store.
func sameRecord(got, want lifecycle.Record) error {
	if !got.CreatedAt.Equal(want.CreatedAt) {
		return fmt.Errorf("record %q: CreatedAt is %v, want %v", want.Name, got.CreatedAt, want.CreatedAt)
	}
	if !got.SameState(want) {
		return fmt.Errorf("record %q: phase, identity or heartbeat is\n%v %v %+v, want\n%v %v %+v", want.Name,
			got.Phase, got.Identity, got.Heartbeat, want.Phase, want.Identity, want.Heartbeat)
	}
	if string(got.Data) != string(want.Data) {
		return fmt.Errorf("record %q: Data is %s, want %s", want.Name, got.Data, want.Data)
	}
	if got.Name != want.Name || got.Incarnation != want.Incarnation || got.Owner != want.Owner || got.Parent != want.Parent {
		return fmt.Errorf("record is %+v, want %+v", got, want)
	}
	return nil
}

func yieldsRecords(ctx context.Context, s Subject) error {
	full := record("full", "1")
	full.Owner, full.Phase = "elsewhere", lifecycle.Inactive
	full.Identity.Namespace = liveness.Namespace{PID: 4026531836, PIDUnique: 1 << 40, InitStart: 1, Time: 4026531834}
	full.Identity.NotBefore, full.Identity.NotAfter = created.Add(-time.Second), created.Add(time.Nanosecond)
	var err error
	if full.Identity, err = liveness.Parse(withField(full.Identity.String(), " field=of-a-newer-version")); err != nil {
		return err
	}
	child := record("child", "1")
	child.Parent, child.Phase = "full", lifecycle.Launching
	bare := lifecycle.Record{Name: "bare", Incarnation: "x", Owner: owner, CreatedAt: created, Heartbeat: record("", "").Heartbeat}
	bare.Heartbeat.Wall = time.Time{}
	old := lifecycle.Record{Name: "old", Incarnation: "x", Owner: owner, Heartbeat: record("", "").Heartbeat}
	old.CreatedAt = time.Date(1969, 12, 31, 23, 59, 59, 999999999, time.FixedZone("east", 5*3600+1800))
	want := []lifecycle.Record{bare, child, full, old}
	if err := put(ctx, s, want...); err != nil {
		return err
	}
	got, err := candidates(ctx, s)
	if err != nil {
		return err
	}
	if len(got) != len(want) {
		return fmt.Errorf("Candidates yields %d records, want %d", len(got), len(want))
	}
	slices.SortFunc(got, func(a, b lifecycle.Record) int { return strings.Compare(a.Name, b.Name) })
	for i := range want {
		if err := sameRecord(got[i], want[i]); err != nil {
			return err
		}
	}
	return nil
}

func yieldsOddNames(ctx context.Context, s Subject) error {
	names := []string{" ", "%", "'; DROP TABLE records; --", "A", "a", "a\nb", "ä", "日本", "…/../x"}
	slices.Sort(names)
	for _, name := range names {
		if err := put(ctx, s, record(name, name)); err != nil {
			return err
		}
	}
	if err := holds(ctx, s, names, []string{}); err != nil {
		return err
	}
	for _, name := range names {
		if err := stop(ctx, s, record(name, name), lifecycle.Stopped); err != nil {
			return err
		}
	}
	return holds(ctx, s, []string{}, names)
}

func endsEarly(ctx context.Context, s Subject) error {
	if err := put(ctx, s, record("a", "1"), record("b", "1")); err != nil {
		return err
	}
	for _, err := range s.Candidates(ctx) {
		if err != nil {
			return err
		}
		break
	}
	if err := stop(ctx, s, record("a", "1"), lifecycle.Stopped); err != nil {
		return err
	}
	return holds(ctx, s, []string{"b"}, []string{"a"})
}

func stopsDuringIteration(ctx context.Context, s Subject) error {
	var want []string
	for i := range 50 {
		name := fmt.Sprintf("r%02d", i)
		want = append(want, name)
		if err := put(ctx, s, record(name, "1")); err != nil {
			return err
		}
	}
	for r, err := range s.Candidates(ctx) {
		if err != nil {
			return err
		}
		if err := stop(ctx, s, r, lifecycle.Stopped); err != nil {
			return err
		}
	}
	return holds(ctx, s, []string{}, want)
}

func stopsWithEvent(ctx context.Context, s Subject) error {
	r := record("a", "1")
	if err := put(ctx, s, r, record("other", "1")); err != nil {
		return err
	}
	for _, key := range []string{"session:2", "session:1"} {
		if err := s.Bind(ctx, r, key); err != nil {
			return fmt.Errorf("Bind: %w", err)
		}
	}
	if err := s.Bind(ctx, record("other", "1"), "session:3"); err != nil {
		return fmt.Errorf("Bind: %w", err)
	}
	if err := stop(ctx, s, r, lifecycle.Stopped); err != nil {
		return err
	}
	if err := holds(ctx, s, []string{"other"}, []string{"a"}); err != nil {
		return err
	}
	e, err := lastEvent(ctx, s, r)
	if err != nil {
		return err
	}
	if e.At.IsZero() {
		return errors.New("the event has no time")
	}
	if e.Action != "stopped" || e.By != cause.By || e.Reason != cause.Reason || e.Verdict != cause.Verdict.String() {
		return fmt.Errorf("event is %q by %q for %q with verdict %q, want the cause %+v", e.Action, e.By, e.Reason, e.Verdict, cause)
	}
	if err := sameRecord(e.Snapshot.Record, r); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	if want := []string{"session:1", "session:2"}; !reflect.DeepEqual(e.Snapshot.Bindings, want) {
		return fmt.Errorf("snapshot has bindings %q, want %q", e.Snapshot.Bindings, want)
	}
	return nil
}

func stopsOnce(ctx context.Context, s Subject) error {
	r := record("a", "1")
	if err := put(ctx, s, r); err != nil {
		return err
	}
	if err := stop(ctx, s, r, lifecycle.Stopped); err != nil {
		return err
	}
	if err := stop(ctx, s, r, lifecycle.AlreadyStopped); err != nil {
		return err
	}
	return holds(ctx, s, []string{}, []string{"a"})
}

func stopsOnceConcurrently(ctx context.Context, s Subject) error {
	var records []lifecycle.Record
	var names []string
	for i := range 8 {
		records = append(records, record(fmt.Sprint(i), "1"))
		names = append(names, fmt.Sprint(i))
	}
	if err := put(ctx, s, records...); err != nil {
		return err
	}
	var mu sync.Mutex
	var errs []error
	stopped := map[string]int{}
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range 8 {
		wg.Go(func() {
			<-start
			for _, r := range records {
				outcome, err := s.Stop(ctx, r, cause)
				mu.Lock()
				if err != nil {
					errs = append(errs, err)
				}
				if outcome == lifecycle.Stopped {
					stopped[r.Name]++
				}
				mu.Unlock()
			}
		})
	}
	close(start)
	wg.Wait()
	for _, r := range records {
		if stopped[r.Name] != 1 {
			errs = append(errs, fmt.Errorf("record %q was Stopped %d times", r.Name, stopped[r.Name]))
		}
	}
	return errors.Join(append(errs, holds(ctx, s, []string{}, names))...)
}

// Each comes to the family from another end, and takes some of it along.
func stopsFamilyConcurrently(ctx context.Context, s Subject) error {
	var names []string
	var family []lifecycle.Record
	for i := range 8 {
		r := record(fmt.Sprint(i), "1")
		if i > 0 {
			r.Parent = fmt.Sprint((i - 1) / 2)
		}
		family, names = append(family, r), append(names, r.Name)
	}
	if err := put(ctx, s, family...); err != nil {
		return err
	}
	errs := make([]error, len(family))
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range family {
		wg.Go(func() {
			<-start
			for j := range family {
				if _, err := s.Stop(ctx, family[(i+j)%len(family)], cause); err != nil {
					errs[i] = fmt.Errorf("Stop: %w", err)
				}
			}
		})
	}
	close(start)
	wg.Wait()
	return errors.Join(append(errs, holds(ctx, s, []string{}, names))...)
}

func stopsNothingUnknown(ctx context.Context, s Subject) error {
	if err := put(ctx, s, record("a", "1")); err != nil {
		return err
	}
	if err := stop(ctx, s, record("b", "1"), lifecycle.AlreadyStopped); err != nil {
		return err
	}
	return holds(ctx, s, []string{"a"}, []string{})
}

func sparesLaterIncarnation(ctx context.Context, s Subject) error {
	child := record("child", "1")
	child.Parent = "a"
	if err := put(ctx, s, record("a", "2"), child); err != nil {
		return err
	}
	if err := stop(ctx, s, record("a", "1"), lifecycle.AlreadyStopped); err != nil {
		return err
	}
	return holds(ctx, s, []string{"a", "child"}, []string{})
}

func registersAgain(ctx context.Context, s Subject) error {
	for _, incarnation := range []string{"1", "2", "3"} {
		r := record("a", incarnation)
		if err := put(ctx, s, r); err != nil {
			return err
		}
		if err := stop(ctx, s, r, lifecycle.Stopped); err != nil {
			return err
		}
	}
	events, err := s.Events(ctx)
	if err != nil {
		return err
	}
	var incarnations []string
	for _, e := range events {
		incarnations = append(incarnations, e.Snapshot.Incarnation)
	}
	if want := []string{"1", "2", "3"}; !slices.Equal(incarnations, want) {
		return fmt.Errorf("stopped events are of incarnations %q, want %q", incarnations, want)
	}
	return holds(ctx, s, []string{}, []string{"a", "a", "a"})
}

// A host may write to a record that was stopped a moment ago.
func refusesStopped(ctx context.Context, s Subject) error {
	r := record("a", "1")
	if err := put(ctx, s, r); err != nil {
		return err
	}
	if err := stop(ctx, s, r, lifecycle.Stopped); err != nil {
		return err
	}
	if err := s.Put(ctx, r); err == nil {
		return errors.New("Put of an incarnation that was stopped succeeds")
	}
	return holds(ctx, s, []string{}, []string{"a"})
}

func refusesGarbled(ctx context.Context, s Subject) error {
	good := record("good", "1")
	if err := put(ctx, s, good); err != nil {
		return err
	}
	for _, edit := range []func(*lifecycle.Record){
		func(r *lifecycle.Record) { r.Name = "" },
		func(r *lifecycle.Record) { r.Name = "a\xff" },
		func(r *lifecycle.Record) { r.Owner = "a\xff" },
		func(r *lifecycle.Record) { r.Parent = "a\xff" },
		func(r *lifecycle.Record) { r.Identity.PID = -1 },
		func(r *lifecycle.Record) { r.Data = json.RawMessage("{") },
	} {
		bad := record("bad", "1")
		edit(&bad)
		if err := s.Put(ctx, bad); err == nil {
			return fmt.Errorf("Put of %+v succeeds", bad)
		}
	}
	if err := s.Bind(ctx, good, "key\xff"); err == nil {
		return errors.New("Bind of a key that is not UTF-8 succeeds")
	}
	return holds(ctx, s, []string{"good"}, []string{})
}

func leavesNoBinding(ctx context.Context, s Subject) error {
	first, second := record("a", "1"), record("a", "2")
	if err := put(ctx, s, first); err != nil {
		return err
	}
	if err := s.Bind(ctx, first, "key"); err != nil {
		return fmt.Errorf("Bind: %w", err)
	}
	if err := stop(ctx, s, first, lifecycle.Stopped); err != nil {
		return err
	}
	if err := put(ctx, s, second); err != nil {
		return err
	}
	if err := s.Bind(ctx, first, "late"); !errors.Is(err, lifecycle.ErrNotRegistered) {
		return fmt.Errorf("Bind to a stopped incarnation: error %v, want ErrNotRegistered", err)
	}
	return stopsUnbound(ctx, s, second)
}

// stopsUnbound stops a record and checks that it had no bindings.
func stopsUnbound(ctx context.Context, s Subject, r lifecycle.Record) error {
	if err := stop(ctx, s, r, lifecycle.Stopped); err != nil {
		return err
	}
	e, err := lastEvent(ctx, s, r)
	if err != nil {
		return err
	}
	if len(e.Snapshot.Bindings) != 0 {
		return fmt.Errorf("incarnation %q of %q inherits bindings %q", r.Incarnation, r.Name, e.Snapshot.Bindings)
	}
	return nil
}

func leavesNoBindingOfDescendants(ctx context.Context, s Subject) error {
	child := record("child", "1")
	child.Parent = "a"
	if err := put(ctx, s, record("a", "1"), child); err != nil {
		return err
	}
	if err := s.Bind(ctx, child, "key"); err != nil {
		return fmt.Errorf("Bind: %w", err)
	}
	if err := stop(ctx, s, record("a", "1"), lifecycle.Stopped); err != nil {
		return err
	}
	again := record("child", "2")
	if err := put(ctx, s, again); err != nil {
		return err
	}
	return stopsUnbound(ctx, s, again)
}

func sparesChanged(ctx context.Context, s Subject) error {
	ifUnchanged := cause
	ifUnchanged.IfUnchanged, ifUnchanged.Verdict = true, liveness.Verdict{}
	for name, change := range map[string]func(*lifecycle.Record){
		"phase":     func(r *lifecycle.Record) { r.Phase = lifecycle.Inactive },
		"identity":  func(r *lifecycle.Record) { r.Identity.Unique++ },
		"heartbeat": func(r *lifecycle.Record) { r.Heartbeat.Awake++ },
		"boot":      func(r *lifecycle.Record) { r.Heartbeat.Boot.Boot = "6ba7b811-9dad-11d1-80b4-00c04fd430c8" },
	} {
		read := record(name, "1")
		changed := read
		change(&changed)
		if err := put(ctx, s, read, changed); err != nil {
			return err
		}
		if outcome, err := s.Stop(ctx, read, ifUnchanged); !errors.Is(err, lifecycle.ErrChanged) {
			return fmt.Errorf("Stop, if unchanged, of a record whose %s changed = %v, %v, want ErrChanged", name, outcome, err)
		}
	}
	if err := holds(ctx, s, []string{"boot", "heartbeat", "identity", "phase"}, []string{}); err != nil {
		return err
	}
	if outcome, err := s.Stop(ctx, record("phase", "2"), ifUnchanged); outcome != lifecycle.AlreadyStopped || err != nil {
		return fmt.Errorf("Stop, if unchanged, of another incarnation = %v, %v, want AlreadyStopped", outcome, err)
	}
	// Without the condition the incarnation alone counts.
	if err := stop(ctx, s, record("phase", "1"), lifecycle.Stopped); err != nil {
		return err
	}
	// Where the process is dead, a heartbeat does not bring it back.
	ifDead := ifUnchanged
	ifDead.Verdict = liveness.Verdict{State: liveness.Dead, Reason: liveness.NoProcess}
	if outcome, err := s.Stop(ctx, record("heartbeat", "1"), ifDead); outcome != lifecycle.Stopped || err != nil {
		return fmt.Errorf("Stop, if unchanged, of a dead record that had a heartbeat = %v, %v, want Stopped", outcome, err)
	}
	if outcome, err := s.Stop(ctx, record("identity", "1"), ifDead); !errors.Is(err, lifecycle.ErrChanged) {
		return fmt.Errorf("Stop, if unchanged, of a dead record that has another process now = %v, %v, want ErrChanged", outcome, err)
	}
	// As read now, they are unchanged.
	read, err := candidates(ctx, s)
	if err != nil {
		return err
	}
	for _, r := range read {
		if outcome, err := s.Stop(ctx, r, ifUnchanged); outcome != lifecycle.Stopped || err != nil {
			return fmt.Errorf("Stop, if unchanged, of a record as it was just read = %v, %v, want Stopped", outcome, err)
		}
	}
	return holds(ctx, s, []string{}, []string{"boot", "heartbeat", "identity", "phase"})
}

// What a record carries may change between reading and stopping it, also where
// Stop is asked to spare one that changed: the snapshot has the latest.
func snapshotsStored(ctx context.Context, s Subject) error {
	read := record("a", "1")
	latest := read
	latest.Data, latest.Owner = json.RawMessage(`{"argv":["latest"]}`), "later"
	if err := put(ctx, s, read, latest); err != nil {
		return err
	}
	ifUnchanged := cause
	ifUnchanged.IfUnchanged = true
	if outcome, err := s.Stop(ctx, read, ifUnchanged); outcome != lifecycle.Stopped || err != nil {
		return fmt.Errorf("Stop, if unchanged, of a record whose Data changed = %v, %v, want Stopped", outcome, err)
	}
	e, err := lastEvent(ctx, s, read)
	if err != nil {
		return err
	}
	if err := sameRecord(e.Snapshot.Record, latest); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

func stopsDescendants(ctx context.Context, s Subject) error {
	child := func(name, parent string) lifecycle.Record {
		r := record(name, "1")
		r.Parent = parent
		return r
	}
	err := put(ctx, s, record("root", "1"), child("a", "root"), child("b", "root"), child("a.a", "a"), child("a.a.a", "a.a"),
		record("stranger", "1"), child("orphan", "gone"))
	if err != nil {
		return err
	}
	if err := s.Bind(ctx, child("a.a", "a"), "key"); err != nil {
		return fmt.Errorf("Bind: %w", err)
	}
	if err := stop(ctx, s, record("root", "1"), lifecycle.Stopped); err != nil {
		return err
	}
	if err := holds(ctx, s, []string{"orphan", "stranger"}, []string{"a", "a.a", "a.a.a", "b", "root"}); err != nil {
		return err
	}
	events, err := s.Events(ctx)
	if err != nil {
		return err
	}
	for _, e := range events {
		want := lifecycle.ReasonParentStopped
		if e.Name == "root" {
			want = cause.Reason
		}
		if e.Reason != want || e.By != cause.By {
			return fmt.Errorf("%q was stopped by %q for %q, want by %q for %q", e.Name, e.By, e.Reason, cause.By, want)
		}
		if e.Name == "a.a" && !slices.Equal(e.Snapshot.Bindings, []string{"key"}) {
			return fmt.Errorf("the snapshot of a descendant has bindings %q", e.Snapshot.Bindings)
		}
	}
	return nil
}

func endsAtCycle(ctx context.Context, s Subject) error {
	a, b, self := record("a", "1"), record("b", "1"), record("self", "1")
	a.Parent, b.Parent, self.Parent = "b", "a", "self"
	if err := put(ctx, s, a, b, self); err != nil {
		return err
	}
	if err := stop(ctx, s, a, lifecycle.Stopped); err != nil {
		return err
	}
	if err := stop(ctx, s, self, lifecycle.Stopped); err != nil {
		return err
	}
	return holds(ctx, s, []string{}, []string{"a", "b", "self"})
}

func cancelled(ctx context.Context, s Subject) error {
	if err := put(ctx, s, record("a", "1")); err != nil {
		return err
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if outcome, err := s.Stop(over, record("a", "1"), cause); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("Stop with a cancelled context = %v, %v, want context.Canceled", outcome, err)
	}
	if _, err := candidates(over, s); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("Candidates with a cancelled context: error %v, want context.Canceled", err)
	}
	return holds(ctx, s, []string{"a"}, []string{})
}

func sharesNoMemory(ctx context.Context, s Subject) error {
	want := record("a", "1")
	given := want
	given.Data = slices.Clone(want.Data)
	if err := put(ctx, s, given); err != nil {
		return err
	}
	clear(given.Data)
	if err := s.Bind(ctx, want, "key"); err != nil {
		return fmt.Errorf("Bind: %w", err)
	}
	for range 2 { // the second round reads what the first has overwritten
		got, err := candidates(ctx, s)
		if err != nil {
			return err
		}
		if len(got) != 1 {
			return fmt.Errorf("Candidates yields %d records, want 1", len(got))
		}
		if err := sameRecord(got[0], want); err != nil {
			return err
		}
		clear(got[0].Data)
	}
	if err := stop(ctx, s, want, lifecycle.Stopped); err != nil {
		return err
	}
	for range 2 {
		e, err := lastEvent(ctx, s, want)
		if err != nil {
			return err
		}
		if err := sameRecord(e.Snapshot.Record, want); err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
		if !slices.Equal(e.Snapshot.Bindings, []string{"key"}) {
			return fmt.Errorf("snapshot has bindings %q, want %q", e.Snapshot.Bindings, "key")
		}
		clear(e.Snapshot.Data)
		clear(e.Snapshot.Bindings)
	}
	return nil
}

func reopens(ctx context.Context, s Subject) error {
	reopener, ok := s.(Reopener)
	if !ok {
		return nil
	}
	kept := record("kept", "1")
	if err := put(ctx, s, record("a", "1"), kept); err != nil {
		return err
	}
	if err := s.Bind(ctx, kept, "key"); err != nil {
		return fmt.Errorf("Bind: %w", err)
	}
	if err := stop(ctx, s, record("a", "1"), lifecycle.Stopped); err != nil {
		return err
	}
	s, err := reopener.Reopen(ctx)
	if err != nil {
		return fmt.Errorf("Reopen: %w", err)
	}
	if err := holds(ctx, s, []string{"kept"}, []string{"a"}); err != nil {
		return err
	}
	if err := stop(ctx, s, record("a", "1"), lifecycle.AlreadyStopped); err != nil {
		return err
	}
	if err := stop(ctx, s, kept, lifecycle.Stopped); err != nil {
		return err
	}
	e, err := lastEvent(ctx, s, kept)
	if err != nil {
		return err
	}
	if !slices.Equal(e.Snapshot.Bindings, []string{"key"}) {
		return fmt.Errorf("snapshot after reopening has bindings %q", e.Snapshot.Bindings)
	}
	return sameRecord(e.Snapshot.Record, kept)
}

// withField is the text of an identity with a field of a newer writer before the
// check at its end.
func withField(text, field string) string {
	text = text[:strings.LastIndex(text, " check=")] + field
	return fmt.Sprintf("%s check=%016x", text, crc64.Checksum([]byte(text), crc64.MakeTable(crc64.ECMA)))
}
