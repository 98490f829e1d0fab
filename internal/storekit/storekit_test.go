package storekit_test

import (
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

func TestLaunchingNamesTheFieldThatItRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		record lifecycle.Record
		want   string
	}{
		{"inactive", lifecycle.Record{Name: "a", Phase: lifecycle.Inactive}, `invalid record: "a": Phase inactive: .*`},
		{"no such phase", lifecycle.Record{Name: "a", Phase: 9}, `invalid record: "a": Phase invalid\(9\): .*`},
		{"an identity", lifecycle.Record{Name: "a", Identity: liveness.Identity{PID: 1}}, `invalid record: "a": Identity: .*`},
		{"no identity that could be", lifecycle.Record{Name: "a", Identity: liveness.Identity{PID: -1}}, `invalid record: "a": Identity: .*`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			_, made, err := storekit.Launching(test.record, "owner", nil)
			c.Assert(err, qt.ErrorIs, lifecycle.ErrInvalidRecord)
			c.Assert(err, qt.ErrorMatches, test.want)
			c.Assert(made, qt.IsFalse)
		})
	}
}
