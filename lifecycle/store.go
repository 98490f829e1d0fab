package lifecycle

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"time"

	"github.com/rollcall-go/rollcall/liveness"
)

// Store is all that a [Cleaner] needs of the place where a host keeps its
// records. Implementations are safe for concurrent use, also by several
// processes where they share the records. Package storetest checks one.
type Store interface {
	// Candidates yields every record that may have to be stopped. To yield all
	// that are registered is right. The order is free, and a record that is
	// registered or stopped meanwhile may be yielded or not.
	//
	// A record that cannot be read is yielded as an error, with as much of
	// the Record filled in as is known, and the iteration goes on. An error
	// that ends the reading is yielded last. A cancelled ctx is one.
	//
	// The Cleaner calls Stop between two records, in the same goroutine
	// unless Concurrency is above 1: hold no lock and no connection that Stop
	// needs while yielding. What is yielded belongs to the caller.
	Candidates(ctx context.Context) iter.Seq2[Record, error]

	// Stop is the one way in which a record ends. In one step that other
	// users of the store see whole or not at all, and that a crash leaves
	// whole or undone, it
	//
	//   - saves a snapshot of the record, its Data and its bindings included,
	//   - logs one stopped event with the cause,
	//   - removes the record and its bindings,
	//   - and does the same for its descendants, the records whose Parent is
	//     stopped, with the reason [ReasonParentStopped]. A cycle of parents
	//     is followed once round.
	//
	// It does this only if the stored record has the Name and the Incarnation of
	// the given one, and the cause [Cause.Holds] for it. Where no such record is
	// stored the outcome is AlreadyStopped, which is no error.
	//
	// An error means that nothing happened and that a retry is safe.
	// ErrChanged is one of them.
	Stop(ctx context.Context, record Record, cause Cause) (Outcome, error)
}

// Outcome is what [Store.Stop] found. The zero value is none, and goes with an
// error.
type Outcome uint8

const (
	// Stopped means that this very call stopped the record.
	Stopped Outcome = iota + 1
	// AlreadyStopped means that somebody else has, or that the name is
	// registered anew.
	AlreadyStopped
)

// String returns "stopped" or "already stopped".
func (o Outcome) String() string {
	switch o {
	case Stopped:
		return "stopped"
	case AlreadyStopped:
		return "already stopped"
	default:
		return fmt.Sprintf("invalid(%d)", o)
	}
}

// check returns an error for what is no outcome.
func (o Outcome) check() error {
	if o != Stopped && o != AlreadyStopped {
		return fmt.Errorf("the store returned neither an outcome nor an error: %v", o)
	}
	return nil
}

// Cause says who stops a record and why.
type Cause struct {
	// By is who: BySystem for the Cleaner.
	By string
	// Reason is why: one of the reasons of this package, or the host's own.
	Reason string
	// Verdict is what Reason rests on, where a process was judged.
	Verdict liveness.Verdict
	// IfUnchanged asks the store to stop the record only if the cause
	// [Cause.Holds] for the stored one, and to return ErrChanged otherwise.
	// The Cleaner sets it: a record that came to life after it was read must
	// be judged again.
	IfUnchanged bool
}

// Holds reports whether the cause, found for a record as it was read, is still one
// to stop the stored record of the same Name and Incarnation. Without IfUnchanged
// it is. Otherwise the two must be in the same state, see [Record.SameState], but
// for the Heartbeat where Verdict is Dead: a beat does not bring a process back.
func (c Cause) Holds(read, stored Record) bool {
	if !c.IfUnchanged {
		return true
	}
	if c.Verdict.State == liveness.Dead {
		stored.Heartbeat = read.Heartbeat
	}
	return stored.SameState(read)
}

// ForDescendant is the cause for which a descendant of the record is stopped along
// with it.
func (c Cause) ForDescendant() Cause { return Cause{By: c.By, Reason: ReasonParentStopped} }

// Event returns the event of a stop for this cause. The store adds Seq.
func (c Cause) Event(snapshot Snapshot) Event {
	event := Event{
		At: time.Now().UTC(), Name: snapshot.Name, Incarnation: snapshot.Incarnation,
		Action: "stopped", By: c.By, Reason: c.Reason, Snapshot: snapshot,
	}
	if c.Verdict != (liveness.Verdict{}) {
		event.Verdict = c.Verdict.String()
	}
	return event
}

// BySystem is the By of everything that a [Cleaner] stops.
const BySystem = "system"

// Stop is a record together with the cause for which it is or was stopped, and
// with what came of it.
type Stop struct {
	// Record is the one to be stopped as it was read. Its Data may have been set
	// since: the snapshot has what was stored.
	Record Record
	Cause  Cause
	// Outcome is zero before the stop, and in a dry run.
	Outcome Outcome
	// Descendants were stopped along with the record, where the store tells of
	// them.
	Descendants []Record
}

// BatchStopper is an ability that a [Store] may have besides: to stop many
// records at once, and to tell what it stopped along with each. Without it the
// Cleaner stops records one by one, and leaves the processes of descendants
// alone, see [Cleaner.Terminate].
//
// A type that wraps a store and has a Stop of its own needs a StopBatch of its own
// too.
type BatchStopper interface {
	// StopBatch does what Stop does for each in order, in as many steps as it
	// likes, and sets the Outcome and the Descendants of each. The descendants
	// belong to the caller. It returns how many of the stops it came to; if these
	// are not all, the error is that of the next one, with which nothing
	// happened, nor with those after it. The events of one call may be logged in
	// another order than that of the stops, descendants before the record that
	// they are stopped with.
	StopBatch(ctx context.Context, stops []Stop) (n int, err error)
}

// stopOne stops one record, and sets Outcome and Descendants.
func stopOne(ctx context.Context, store Store, stop *Stop) (err error) {
	batch, ok := store.(BatchStopper)
	if !ok {
		if stop.Outcome, err = store.Stop(ctx, stop.Record, stop.Cause); err != nil {
			return err
		}
		return stop.Outcome.check()
	}
	one := []Stop{*stop}
	n, err := batch.StopBatch(ctx, one)
	if n == 1 {
		*stop, err = one[0], nil
	}
	if err == nil {
		err = stop.Outcome.check()
	}
	return err
}

// Event is the log's entry of one stop, in the form in which the stores of
// this module keep it.
type Event struct {
	// Seq grows with every event of a store.
	Seq int64 `json:"seq"`
	// At is the wall time of the stop, for people.
	At time.Time `json:"at"`
	// Name and Incarnation are those of the record.
	Name        string `json:"name"`
	Incarnation string `json:"incarnation"`
	// Action is "stopped".
	Action string `json:"action"`
	// By and Reason are those of the [Cause].
	By     string `json:"by"`
	Reason string `json:"reason"`
	// Verdict is the sentence of the verdict. It is empty where no process was
	// judged, and where nothing was recorded to judge it by.
	Verdict string `json:"verdict,omitempty"`
	// Snapshot is what a host resumes from.
	Snapshot Snapshot `json:"snapshot"`
}

// Snapshot is a record as it was when it was stopped: what a host needs to
// resume it.
type Snapshot struct {
	Record
	// Bindings are the keys that were bound to it, sorted.
	Bindings []string `json:"bindings,omitempty"`
	// Garbled are the parts of the stored record that could not be decoded,
	// by the store's name for them, as they stood. They are zero in Record.
	Garbled map[string]string `json:"garbled,omitempty"`
}

// Clone returns a copy that shares no memory with s.
func (s Snapshot) Clone() Snapshot {
	s.Data = append(json.RawMessage(nil), s.Data...)
	s.Bindings = append([]string(nil), s.Bindings...)
	s.Garbled = maps.Clone(s.Garbled)
	return s
}
