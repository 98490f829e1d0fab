package storekit

import (
	"encoding/json"
	"fmt"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// DecodeSnapshot decodes the JSON of a snapshot. The error matches
// [lifecycle.ErrInvalidRecord].
func DecodeSnapshot(text string) (lifecycle.Snapshot, error) {
	var snapshot lifecycle.Snapshot
	if err := json.Unmarshal([]byte(text), &snapshot); err != nil {
		return lifecycle.Snapshot{}, fmt.Errorf("%w: %w", lifecycle.ErrInvalidRecord, err)
	}
	return snapshot, nil
}

// UndecodedSnapshot replaces the snapshot of an event that cannot be decoded. It has
// only the name and the incarnation.
func UndecodedSnapshot(event lifecycle.Event) lifecycle.Snapshot {
	return lifecycle.Snapshot{Record: lifecycle.Record{Name: event.Name, Incarnation: event.Incarnation}}
}
