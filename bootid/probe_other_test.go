//go:build !linux && !windows && (ios || !darwin) && !dragonfly && !freebsd && !netbsd && !openbsd

package bootid_test

import (
	"errors"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/bootid"
)

func TestThisSystemIsUnsupported(t *testing.T) {
	c := qt.New(t)
	id, err := bootid.Current()
	c.Check(err, qt.ErrorIs, errors.ErrUnsupported)
	c.Check(id, qt.Equals, bootid.ID{})
	awake, err := bootid.Awake()
	c.Check(err, qt.ErrorIs, errors.ErrUnsupported)
	c.Check(awake, qt.Equals, time.Duration(0))
}
