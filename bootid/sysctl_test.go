package bootid_test

import (
	"errors"
	"strings"
	"testing"

	qt "github.com/frankban/quicktest"
	"github.com/google/uuid"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/kinfo"
)

func TestBootSessionOfMacOS(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	id, err := bootid.ParseBootSession(strings.ToUpper(boot1))
	c.Assert(err, qt.IsNil)
	c.Check(id, qt.Equals, bootid.ID{Boot: boot1, Quality: bootid.Native})
	for _, text := range []string{"", boot1[:35], boot1 + "0", "00000000-0000-0000-0000-000000000000"} {
		id, err := bootid.ParseBootSession(text)
		c.Check(err, qt.ErrorMatches, "kern.bootsessionuuid: no UUID: .*")
		c.Check(id, qt.Equals, bootid.ID{})
	}
}

func TestBootIDOfFreeBSD(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	raw := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255}
	id, err := bootid.ParseBootID(raw)
	c.Assert(err, qt.IsNil)
	c.Check(id, qt.Equals, bootid.ID{Boot: "00010203-0405-0607-0809-0a0b0c0d0eff", Quality: bootid.Native})
	for _, raw := range [][]byte{nil, raw[:15], append(raw, 0), make([]byte, 16)} {
		id, err := bootid.ParseBootID(raw)
		c.Check(err, qt.ErrorMatches, "kern.boot_id: not 16 random bytes: .*")
		c.Check(id, qt.Equals, bootid.ID{})
	}
}

// afterStep names the boot of a system on which PID 1 started so many microseconds
// after a boot at the given time, each to a fraction in nanoseconds. The clock
// has been stepped since.
func afterStep(c *qt.C, goos string, bootNanos, initNanos, stepNanos int64) bootid.ID {
	c.Helper()
	system, ok := kinfo.Of(goos, "amd64")
	c.Assert(ok, qt.IsTrue)
	if goos == "freebsd" { // keeps microseconds
		initNanos -= initNanos % 1000
	}
	published := bootNanos + initNanos
	if system.AddsBootTime {
		published += stepNanos
	}
	start, now := published/1000, (bootNanos+stepNanos)/1000
	var thread uint32
	if goos == "openbsd" {
		thread = uint32(bootNanos>>30) + 1 // random in each boot
	}
	id, err := bootid.Derive(system, kinfo.Process{PID: 1, Start: start}, thread, now, now)
	c.Assert(err, qt.IsNil)
	c.Check(id.Quality, qt.Equals, bootid.Derived)
	return id
}

func TestDerivedBootIsTheSameAfterAStepOfTheClock(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	const boot, init = 1763900000_000000999, 3_250999_500 // in nanoseconds, next to a millisecond
	for _, goos := range []string{"freebsd", "openbsd", "netbsd", "dragonfly"} {
		before := afterStep(c, goos, boot, init, 0)
		for _, step := range []int64{1, -1, 500, 1e9, -3600e9, 86400e9 + 7} {
			after := afterStep(c, goos, boot, init, step)
			c.Check(after.Compare(before), qt.Equals, bootid.SameBoot, qt.Commentf("%s: %d ns: %v, %v", goos, step, before, after))
		}
		later := afterStep(c, goos, boot+86400e9, init+5e6, 0)
		c.Check(later.Compare(before), qt.Equals, bootid.Incomparable)
		_, err := before.MarshalText()
		c.Check(err, qt.IsNil)
	}
}

func TestWhatCannotBeDerivedIsAnError(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	freebsd, _ := kinfo.Of("freebsd", "amd64")
	for _, test := range []struct {
		process       kinfo.Process
		before, after int64
		want          string
	}{
		{kinfo.Process{}, 1, 1, "PID 1 is not shown, as in a jail"},
		{kinfo.Process{PID: 1, Start: 10}, 1, 2, "the clock was stepped meanwhile"},
		{kinfo.Process{PID: 1, Start: 10}, 10, 10, "PID 1: no start: 0 us"},
		{kinfo.Process{PID: 1}, 10, 10, "PID 1: no start: -10 us"},
	} {
		id, err := bootid.Derive(freebsd, test.process, 0, test.before, test.after)
		c.Check(err, qt.ErrorMatches, test.want)
		c.Check(id, qt.Equals, bootid.ID{})
	}
}

func TestHostUUID(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	c.Check(bootid.ParseHostUUID(boot1), qt.Matches, "[0-9a-f]{32}")
	c.Check(bootid.ParseHostUUID(boot1), qt.Not(qt.Equals), strings.ReplaceAll(boot1, "-", ""))
	c.Check(bootid.ParseHostUUID(strings.ToUpper(boot1)), qt.Equals, bootid.ParseHostUUID(boot1))
	for _, text := range []string{"", "Not Set", "00000000-0000-0000-0000-000000000000", boot1[1:]} {
		c.Check(bootid.ParseHostUUID(text), qt.Equals, "", qt.Commentf("%q", text))
	}
}

func system(goos string) kinfo.System {
	system, _ := kinfo.Of(goos, "amd64")
	return system
}

// FreeBSD before 13 has no boot ID, and none has one early in a boot.
func TestFreeBSDWithoutABootIDDerivesIt(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	kernel := &bootid.Kernel{Init: kinfo.Process{PID: 1, Start: 103}, BootTimes: []int64{99, 100, 100, 100}}
	id, err := kernel.Boot(system("freebsd"))
	c.Assert(err, qt.IsNil, qt.Commentf("the clock was stepped at the first look only"))
	c.Check(id, qt.Equals, bootid.ID{Boot: "init-3", Quality: bootid.Derived})

	kernel.Raws = map[string][]byte{"kern.boot_id": []byte("0123456789abcdef")}
	id, err = kernel.Boot(system("freebsd"))
	c.Assert(err, qt.IsNil)
	c.Check(id.Quality, qt.Equals, bootid.Native)

	kernel = &bootid.Kernel{Err: errDenied}
	_, err = kernel.Boot(system("freebsd"))
	c.Check(err, qt.ErrorIs, errDenied, qt.Commentf("what may not be read is not derived"))
}

var errDenied = errors.New("denied")

func TestClockThatIsSteppedAllTheTimeDerivesNothing(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	kernel := &bootid.Kernel{Init: kinfo.Process{PID: 1, Start: 103}, BootTimes: []int64{1, 2, 3, 4, 5, 6}}
	id, err := kernel.Boot(system("freebsd"))
	c.Check(err, qt.ErrorMatches, "the clock was stepped meanwhile")
	c.Check(id, qt.Equals, bootid.ID{})
}

func TestMacOSWithoutABootSessionIsAnError(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, kernel := range []*bootid.Kernel{{}, {Err: errDenied}, {Texts: map[string]string{"kern.bootsessionuuid": ""}}} {
		id, err := kernel.Boot(system("darwin"))
		c.Check(err, qt.ErrorMatches, ".*kern.bootsessionuuid: .*")
		c.Check(id, qt.Equals, bootid.ID{})
	}
}

func TestMachineOfEachSystem(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	id := uuid.MustParse(boot1)
	whole := &bootid.Kernel{UUID: id, Texts: map[string]string{"kern.hostuuid": boot1, "hw.uuid": boot1, "kern.uuid": boot2}}
	for goos, want := range map[string]string{
		"darwin": bootid.HashMachine(id), "freebsd": bootid.HashMachine(id), "openbsd": bootid.HashMachine(id), "netbsd": "", "dragonfly": "",
	} {
		machine, err := whole.Machine(system(goos))
		c.Check(err, qt.IsNil)
		c.Check(machine, qt.Equals, want, qt.Commentf("%s", goos))

		machine, err = (&bootid.Kernel{}).Machine(system(goos))
		c.Check(err, qt.IsNil, qt.Commentf("%s: a missing one is no error", goos))
		c.Check(machine, qt.Equals, "")

		machine, err = (&bootid.Kernel{Err: errDenied}).Machine(system(goos))
		c.Check(machine, qt.Equals, "")
		if want != "" { // an unread one must not look like a missing one
			c.Check(err, qt.ErrorIs, errDenied, qt.Commentf("%s", goos))
		}
	}
}

func FuzzSysctl(f *testing.F) {
	f.Add(boot1, int64(10), int64(3))
	f.Fuzz(func(t *testing.T, text string, start, boot int64) {
		freebsd, _ := kinfo.Of("freebsd", "amd64")
		session, sessionErr := bootid.ParseBootSession(text)
		raw, rawErr := bootid.ParseBootID([]byte(text))
		initStart, deriveErr := bootid.Derive(freebsd, kinfo.Process{PID: 1, Start: start}, 0, boot, boot)
		for _, got := range []struct {
			id  bootid.ID
			err error
		}{{session, sessionErr}, {raw, rawErr}, {initStart, deriveErr}} {
			if (got.err == nil) == got.id.IsZero() || !got.id.Valid() {
				t.Fatal(got.id, got.err)
			}
		}
	})
}
