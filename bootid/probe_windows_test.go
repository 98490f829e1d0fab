package bootid_test

import (
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/bootid"
)

func TestThisBootIsTheSameEachTime(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	id, err := bootid.Current()
	c.Assert(err, qt.IsNil)
	c.Check(id.Boot, qt.Not(qt.Equals), "")
	c.Check(id.Machine, qt.Not(qt.Equals), "")
	for range 100 {
		again, err := bootid.Current()
		c.Assert(err, qt.IsNil)
		c.Check(again.Compare(id), qt.Equals, bootid.SameBoot)
	}
	t.Logf("%s boot ID", id.Quality)
}

func TestAwakeNeverGoesBack(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	last, err := bootid.Awake()
	c.Assert(err, qt.IsNil)
	c.Check(last > 0, qt.IsTrue)
	for range 1000 {
		awake, err := bootid.Awake()
		c.Assert(err, qt.IsNil)
		c.Assert(awake >= last, qt.IsTrue)
		last = awake
	}
}
