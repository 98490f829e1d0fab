package bootid_test

import (
	"errors"
	"runtime"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"
	"github.com/google/uuid"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/kinfo"
	"github.com/rollcall-go/rollcall/internal/proctest"
)

const bootColumn = "boot ID"

func TestBootIsAsTheTableOfPlatformsSays(t *testing.T) {
	t.Parallel()
	rows := proctest.Platforms(t, "..")
	id, _ := bootid.Current() // the two rows of Linux say the same
	proctest.OneOf(t, bootColumn, rows[proctest.Platform(runtime.GOOS)][bootColumn], id.Quality.String())
}

// The kernel has all that the system has to offer, or as little.
func TestBootOfPlayedKernelsIsAsTheTableOfPlatformsSays(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	rows := proctest.Platforms(t, "..")
	for _, goos := range []string{"darwin", "freebsd", "openbsd", "netbsd", "dragonfly"} {
		row := rows[proctest.Platform(goos)]
		poor := bootid.Kernel{Init: kinfo.Process{PID: 1, Start: 103e6}, Thread: 412345, BootTimes: []int64{100e6, 100e6}}
		if goos == "darwin" { // each has it
			poor.Texts = map[string]string{"kern.bootsessionuuid": boot1}
		}
		rich := poor
		id := uuid.MustParse(boot1)
		rich.Texts = map[string]string{"kern.bootsessionuuid": boot1}
		rich.Raws = map[string][]byte{"kern.boot_id": id[:]}
		seen := ""
		for _, kernel := range []bootid.Kernel{rich, poor} {
			id, err := kernel.Boot(system(goos))
			c.Assert(err, qt.IsNil)
			proctest.OneOf(t, goos+" "+bootColumn, row[bootColumn], id.Quality.String())
			if seen != "" && seen != id.Quality.String() {
				seen += " or " + id.Quality.String()
			} else {
				seen = id.Quality.String()
			}
		}
		c.Check(row[bootColumn], qt.Equals, seen, qt.Commentf("%s", goos))
	}
}

func TestSystemWithoutARowIsUnsupported(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	if proctest.Platform(runtime.GOOS) != "any other" {
		t.Skip("this system has a row")
	}
	id, err := bootid.Current()
	c.Check(err, qt.ErrorIs, errors.ErrUnsupported)
	c.Check(id, qt.Equals, bootid.ID{})
	awake, err := bootid.Awake()
	c.Check(err, qt.ErrorIs, errors.ErrUnsupported)
	c.Check(awake, qt.Equals, time.Duration(0))
}
