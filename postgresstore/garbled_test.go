package postgresstore_test

import (
	"fmt"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/postgresstore"
)

// garbled are what somebody may have written into a row, and the column that
// is to blame for it.
var garbled = []struct{ name, text, set, want string }{
	{"an identity that is none", `garbage`, `identity = 'garbage'`, `column identity: .*`},
	{"an identity with a negative PID", `pid=-`, `identity = replace(identity, 'pid=', 'pid=-')`, `column identity: .*`},
	{"an unknown phase", `dreaming`, `phase = 'dreaming'`, `column phase: .*`},
	{"a boot that is none", `boot`, `beat_boot = 'boot'`, `column beat_boot: .*`},
}

func TestAGarbledColumnIsNamed(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	store, db := open(t, postgresstore.Options{})
	for i, test := range garbled {
		register(t, store, running(test.name, self(t)))
		execSQL(t, db, `UPDATE rollcall_records SET `+test.set+` WHERE name = $1`, test.name)
		_, err := store.Record(t.Context(), test.name)
		c.Check(err, qt.ErrorMatches, fmt.Sprintf(`postgresstore: record ".*": invalid record: row %d: %s`, i+1, test.want))
	}
}
