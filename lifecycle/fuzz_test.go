package lifecycle_test

import (
	"encoding/json"
	"testing"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

func FuzzGateState(f *testing.F) {
	self, _ := livenesstest.New().Self()
	f.Add("done 5")
	f.Add("open -1")
	f.Add("claimed 5 run " + self.String())
	f.Add("done 5 by=somebody")
	f.Fuzz(func(t *testing.T, text string) {
		written, ok := lifecycle.GateText(text)
		if !ok {
			return
		}
		if again, ok := lifecycle.GateText(written); !ok || again != written {
			t.Fatalf("%q was written as %q, which reads as %q, %t", text, written, again, ok)
		}
	})
}

func FuzzLevelsOfJSON(f *testing.F) {
	f.Add([]byte(`[{"a\"[":["\\",{}]},"]"]`), uint8(2))
	f.Add([]byte(`{"[":{"{":[[]]}}`), uint8(4))
	f.Fuzz(func(t *testing.T, text []byte, limit uint8) {
		got := lifecycle.NestsDeeper(text, int(limit))
		if !json.Valid(text) {
			return
		}
		if want := levels(t, text) > int(limit); got != want {
			t.Fatalf("%q has more than %d levels: %t, want %t", text, limit, got, want)
		}
	})
}

// What is read of a snapshot is written as JSON that reads the same.
func FuzzSnapshot(f *testing.F) {
	world := livenesstest.New()
	record := tracking(world, "worker", world.Start())
	record.Data = json.RawMessage(`{"argv":["make"]}`)
	text, err := json.Marshal(lifecycle.Snapshot{Record: record, Bindings: []string{"a", "b"}, Garbled: map[string]string{"data": "{"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"name":"a","phase":"inactive","identity":"","heartbeat":{"boot":"","awake_ns":1,"wall":"0001-01-01T00:00:00Z"}}`))
	f.Add([]byte(`{"phase":"dreaming"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var snapshot lifecycle.Snapshot
		if json.Unmarshal(text, &snapshot) != nil {
			return
		}
		written, err := json.Marshal(snapshot)
		if err != nil {
			return // a time with no text
		}
		var again lifecycle.Snapshot
		if err := json.Unmarshal(written, &again); err != nil {
			t.Fatalf("%q was written as %q: %v", text, written, err)
		}
		if rewritten, err := json.Marshal(again); err != nil || string(rewritten) != string(written) {
			t.Fatalf("%q was written as %q, then as %q, %v", text, written, rewritten, err)
		}
	})
}
