// Package storekit has what the stores of this module do in the same way.
package storekit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

// MaxEvents is how many events [lifecycle.Registrar.Events] returns at most.
const MaxEvents = 1000

// Launching returns the record as [lifecycle.Registrar.Launch] registers it in a
// store with that owner, or an error that matches [lifecycle.ErrInvalidRecord] for one
// whose Phase or Identity Launch refuses. made says that its incarnation is a new one.
func Launching(record lifecycle.Record, owner string, clock lifecycle.Clock) (launching lifecycle.Record, made bool, err error) {
	switch {
	case record.Phase != lifecycle.Running && record.Phase != lifecycle.Launching:
		return lifecycle.Record{}, false, fmt.Errorf("%w: %q: Phase %v: Launch registers in phase launching", lifecycle.ErrInvalidRecord, record.Name, record.Phase)
	case !record.Identity.IsZero():
		return lifecycle.Record{}, false, fmt.Errorf("%w: %q: Identity: Launch takes none, Activate sets it", lifecycle.ErrInvalidRecord, record.Name)
	}
	if made = record.Incarnation == ""; made {
		record.Incarnation = uuid.Must(uuid.NewV7()).String()
	}
	if record.Owner == "" {
		record.Owner = owner
	}
	if record.CreatedAt.IsZero() {
		record.CreatedAt = time.Now()
	}
	record.Phase, record.Identity, record.Heartbeat = lifecycle.Launching, liveness.Identity{}, lifecycle.Beat(clock)
	return record, made, nil
}

// StoppedBefore is the error of registering an incarnation that was stopped.
func StoppedBefore(incarnation string) error {
	return fmt.Errorf("%w: incarnation %q was stopped before", lifecycle.ErrInvalidRecord, incarnation)
}

// ValidateData returns an error that matches [lifecycle.ErrInvalidRecord] for Data that
// [lifecycle.Record.Validate] refuses, and for nothing else in the record: who has no
// name is not registered.
func ValidateData(record lifecycle.Record, data json.RawMessage) error {
	name := cmp.Or(strings.ToValidUTF8(record.Name, "\ufffd"), "\ufffd")
	return lifecycle.Record{Name: name, Incarnation: name, Data: data}.Validate()
}

// ValidateKey returns an error that matches [lifecycle.ErrInvalidRecord] for a key
// that is not UTF-8: it would come back from a snapshot as another one.
func ValidateKey(key string) error {
	if !utf8.ValidString(key) {
		return fmt.Errorf("%w: key %q is not UTF-8", lifecycle.ErrInvalidRecord, key)
	}
	return nil
}

// Records returns all records that a store yields. Those that are yielded as an
// error are left out, and the errors joined.
func Records(records iter.Seq2[lifecycle.Record, error]) ([]lifecycle.Record, error) {
	var all []lifecycle.Record
	var errs []error
	for record, err := range records {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all = append(all, record)
	}
	return all, errors.Join(errs...)
}

// Family returns a record and its descendants, parents before children, each once
// even if their parents form a cycle. children returns the children of one; those
// that are taken already are left out, and all that are returned are taken.
func Family[R any, K comparable](root R, key func(R) K, children func(R) []R, taken map[K]bool) []R {
	taken[key(root)] = true
	family := []R{root}
	for i := 0; i < len(family); i++ {
		for _, child := range children(family[i]) {
			if k := key(child); !taken[k] {
				taken[k] = true
				family = append(family, child)
			}
		}
	}
	return family
}

// InsertKey returns the sorted keys with another one, in new memory where it is
// not among them.
func InsertKey(keys []string, key string) []string {
	i, found := slices.BinarySearch(keys, key)
	if found {
		return keys
	}
	return slices.Insert(slices.Clone(keys), i, key)
}

// RemoveKey returns the keys without one, in new memory.
func RemoveKey(keys []string, key string) []string {
	return slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return k == key })
}

// StopOne stops one record by a store's StopBatch.
func StopOne(ctx context.Context, store lifecycle.BatchStopper, record lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	one := []lifecycle.Stop{{Record: record, Cause: cause}}
	if n, err := store.StopBatch(ctx, one); n == 0 {
		return 0, err
	}
	return one[0].Outcome, nil
}

// Quote quotes a text, cut to a length that fits an error message.
func Quote(text string) string {
	const maxLength = 80
	if len(text) > maxLength {
		text = strings.ToValidUTF8(text[:maxLength], "") + "…"
	}
	return fmt.Sprintf("%q", text)
}
