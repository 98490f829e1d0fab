package postgresstore_test

import (
	"testing"

	"github.com/rollcall-go/rollcall/postgresstore"
)

// Whatever stands in a row, a snapshot is made of it that can be read again.
func FuzzRow(f *testing.F) {
	f.Add("running", "rollcall1 pid=1", "", `{"a":1}`, int64(5))
	f.Add("dreaming", "garbage", "boot", "{", int64(-1))
	f.Add("", "\xff", "\x00", "\xff", int64(0))
	f.Fuzz(func(t *testing.T, phase, identity, boot, data string, wall int64) {
		snapshot, garbled, err := postgresstore.Snapshot(phase, identity, boot, data, wall)
		if err != nil {
			t.Fatal(err)
		}
		if snapshot.Name != "name" || snapshot.Incarnation != "incarnation" {
			t.Fatalf("%+v", snapshot)
		}
		if len(snapshot.Garbled) != len(garbled) {
			t.Fatalf("%q was garbled, the snapshot has %q", garbled, snapshot.Garbled)
		}
		if snapshot.Garbled["data"] == "" && string(snapshot.Data) != data && data != "" {
			t.Fatalf("data is %q, not %q", snapshot.Data, data)
		}
	})
}
