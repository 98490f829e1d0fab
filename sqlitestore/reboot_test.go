package sqlitestore_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/sqlitestore/internal/reboot"
)

const (
	// kernelVariable is the path of a Linux kernel for the machine whose power
	// is cut.
	kernelVariable = "ROLLCALL_KERNEL"
	// cutsVariable is how often it is cut, 4 times without it.
	cutsVariable = "ROLLCALL_POWER_CUTS"
)

// newMachine returns a virtual machine with an empty disk.
func newMachine(t *testing.T, journal string) reboot.Machine {
	c := qt.New(t)
	m := reboot.Machine{Kernel: os.Getenv(kernelVariable), Journal: journal}
	var err, mkfsErr error
	m.QEMU, err = exec.LookPath("qemu-system-x86_64")
	mkfs, mkfsErr := exec.LookPath("mkfs.ext4")
	if err := errors.Join(err, mkfsErr); err != nil || m.Kernel == "" {
		proctest.Skip(t, "cutting the power of a machine needs QEMU, mkfs.ext4 and a kernel in %s", kernelVariable)
	}
	dir := tempDir(t)
	m.Disk, m.Initramfs = filepath.Join(dir, "disk"), filepath.Join(dir, "initramfs")
	c.Assert(os.WriteFile(m.Disk, nil, 0o600), qt.IsNil)
	c.Assert(os.Truncate(m.Disk, 64<<20), qt.IsNil)
	output, err := exec.Command(mkfs, "-q", "-F", m.Disk).CombinedOutput()
	c.Assert(err, qt.IsNil, qt.Commentf("%s", output))

	guest := filepath.Join(dir, "guest")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", guest, "./internal/reboot/guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	output, err = build.CombinedOutput()
	c.Assert(err, qt.IsNil, qt.Commentf("%s", output))
	init, err := os.ReadFile(guest)
	c.Assert(err, qt.IsNil)
	var archive bytes.Buffer
	c.Assert(reboot.WriteInitramfs(&archive, init, "0123456789abcdef0123456789abcdef"), qt.IsNil)
	c.Assert(os.WriteFile(m.Initramfs, archive.Bytes(), 0o600), qt.IsNil)
	return m
}

// TestPowerIsCutAndTheMachineReboots registers and stops agents on a real
// machine, takes its power away in the midst of it, and boots it again with a
// wall clock that is years off: nothing that was acknowledged is lost, and
// nothing happens twice.
func TestPowerIsCutAndTheMachineReboots(t *testing.T) {
	t.Parallel()
	cuts := 4
	if text := os.Getenv(cutsVariable); text != "" {
		var err error
		cuts, err = strconv.Atoi(text)
		qt.Assert(t, err, qt.IsNil)
	}
	for _, journal := range []string{"WAL", "DELETE"} {
		t.Run(journal, func(t *testing.T) {
			t.Parallel()
			h := &history{C: qt.New(t), boots: map[string]bool{}, acknowledged: map[string]*fate{}, events: map[string]bool{}}
			m := newMachine(t, journal)
			for n := range cuts / 2 {
				h.boot(m, n)
			}
			h.boot(m, -1) // to look at what the last one left
			t.Logf("%s", h)
		})
	}
}

// history is what the machine has said since it is in use.
type history struct {
	*qt.C
	boots        map[string]bool
	acknowledged map[string]*fate // by incarnation
	events       map[string]bool  // by incarnation
	log          []string         // incarnations of the log, as the last whole reading had it

	cutsAtWork, cutsInPass, strangers, reboots, unacknowledged int
}

// fate is what the store has promised about an incarnation.
type fate struct {
	record  lifecycle.Record
	stopped bool
}

// String returns the figures as a table.
func (h *history) String() string {
	var b strings.Builder
	for _, row := range []struct {
		n    int
		what string
	}{
		{len(h.boots), "boots"},
		{h.cutsAtWork, "power cuts at work"},
		{h.cutsInPass, "power cuts in a pass"},
		{h.strangers, "PIDs that a stranger had at the next boot"},
		{len(h.acknowledged), "registrations acknowledged"},
		{h.reboots, "stops for " + lifecycle.ReasonReboot},
		{h.unacknowledged, "registrations not acknowledged that took place"},
		{len(h.log), "events in the log, each of another incarnation"},
	} {
		fmt.Fprintf(&b, "\n%6d  %s", row.n, row.what)
	}
	return b.String()
}

// boot boots the machine, checks what it says, and cuts its power: every other
// time in the pass, otherwise at work, and n < 0 is the last time.
func (h *history) boot(m reboot.Machine, n int) {
	years := []int{2020, 2035, 2026}
	clock := time.Date(years[(n+3)%3], 6, 1, 12, 0, 0, 0, time.UTC)
	machine, err := m.Start(h.Context(), clock)
	h.Assert(err, qt.IsNil)
	defer machine.Cut()
	inPass := n >= 0 && n%2 == 1

	var left, kept []lifecycle.Record
	var log []string
	var kinds []reboot.Kind
	acknowledged := 0
	wanted := 5 + rand.N(40)
	for {
		line, err := machine.Next()
		h.Assert(err, qt.IsNil)
		if len(kinds) == 0 || kinds[len(kinds)-1] != line.Kind {
			kinds = append(kinds, line.Kind)
		}
		switch line.Kind {
		case reboot.Booted:
			h.Assert(h.boots[line.Boot], qt.IsFalse, qt.Commentf("boot ID %s a second time", line.Boot))
			h.boots[line.Boot] = true
			h.Assert(line.Wall.Sub(clock).Abs() < time.Hour, qt.IsTrue, qt.Commentf("the clock says %v", line.Wall))
		case reboot.Left:
			left = append(left, *line.Record)
		case reboot.Stranger:
			h.strangers++
		case reboot.Cleaning:
			h.checkLeft(left)
			if inPass {
				time.Sleep(rand.N(60 * time.Millisecond)) // the cut is to come at any instant
				inPass := true
				for _, line := range machine.Cut() {
					inPass = inPass && line.Kind != reboot.Cleaned
					h.acknowledge(line)
				}
				if inPass {
					h.cutsInPass++
				} else {
					h.cutsAtWork++
				}
				return
			}
		case reboot.Cleaned:
			h.Assert(line.Report.GateClosed, qt.IsFalse)
			h.Assert(line.Report.Failed, qt.Equals, 0)
			h.Assert(line.Report.Stopped, qt.Equals, len(left), qt.Commentf("%v", line.Report))
		case reboot.Again:
			h.Assert(line.Report.GateClosed, qt.IsTrue)
		case reboot.Logged:
			log = append(log, line.Event.Incarnation)
			h.logged(*line.Event)
		case reboot.Kept:
			kept = append(kept, *line.Record)
		case reboot.Working:
			h.Assert(kept, qt.HasLen, 0)
			h.checkLog(log)
			h.checkEvents()
			if n < 0 {
				return
			}
		case reboot.Registered, reboot.Stopped:
			h.acknowledge(line)
			if acknowledged++; acknowledged == wanted {
				time.Sleep(rand.N(30 * time.Millisecond)) // as above
				for _, line := range machine.Cut() {
					h.acknowledge(line)
				}
				h.cutsAtWork++
				return
			}
		default:
			h.Fatalf("%s: %s, after %v", line.Kind, line.Error, kinds)
		}
	}
}

func (h *history) acknowledge(line reboot.Line) {
	switch line.Kind {
	case reboot.Registered:
		h.acknowledged[line.Record.Incarnation] = &fate{record: *line.Record}
	case reboot.Stopped:
		h.acknowledged[line.Record.Incarnation].stopped = true
	}
}

// checkLeft checks the records as a boot finds them: all that were acknowledged
// and have no event.
func (h *history) checkLeft(left []lifecycle.Record) {
	for _, record := range left {
		h.Assert(h.events[record.Incarnation], qt.IsFalse, qt.Commentf("%s is back after its event", record.Name))
		if f := h.acknowledged[record.Incarnation]; f != nil {
			h.Assert(f.stopped, qt.IsFalse, qt.Commentf("the acknowledged stop of %s is lost", record.Name))
			h.Assert(record.Identity.String(), qt.Equals, f.record.Identity.String())
		} else {
			h.unacknowledged++
		}
	}
}

// checkLog checks the store's log, which is read anew in each boot: it begins
// with what it held before, and has each incarnation once.
func (h *history) checkLog(log []string) {
	h.Assert(len(log) >= len(h.log), qt.IsTrue)
	h.Assert(slices.Equal(log[:len(h.log)], h.log), qt.IsTrue, qt.Commentf("%v, before %v", log, h.log))
	seen := map[string]bool{}
	for _, incarnation := range log {
		h.Assert(seen[incarnation], qt.IsFalse, qt.Commentf("a second event of incarnation %s", incarnation))
		seen[incarnation] = true
	}
	h.log = log
}

// logged takes an event of the store's log.
func (h *history) logged(event lifecycle.Event) {
	if h.events[event.Incarnation] {
		return // of an earlier boot; checkLog sees a second one
	}
	h.events[event.Incarnation] = true

	launching := event.Snapshot.Phase == lifecycle.Launching
	f := h.acknowledged[event.Incarnation]
	switch {
	case event.Reason == reboot.Reason:
		h.Assert(event.By, qt.Equals, "user")
	case launching:
		h.Assert(event.By+" "+event.Reason, qt.Equals, "system "+lifecycle.ReasonLaunchFailed)
		h.Assert(f, qt.IsNil)
	default:
		h.Assert(event.By+" "+event.Reason, qt.Equals, "system "+lifecycle.ReasonReboot)
		h.reboots++
		h.Assert(f == nil || !f.stopped, qt.IsTrue, qt.Commentf("%s was stopped before", event.Name))
	}
	s := event.Snapshot
	h.Assert([]string{s.Name, s.Incarnation, string(s.Data)}, qt.DeepEquals,
		[]string{event.Name, event.Incarnation, string(reboot.Data(event.Name, event.Incarnation))})
	if !launching || len(s.Bindings) > 0 { // a launch may have been cut off before it was bound
		h.Assert(s.Bindings, qt.DeepEquals, []string{reboot.Key(event.Incarnation)})
	}
	if f != nil {
		h.Assert(s.Identity.String(), qt.Equals, f.record.Identity.String())
	}
}

// checkEvents checks, after a pass, that everything has come to its end.
func (h *history) checkEvents() {
	var lost []string
	for incarnation, f := range h.acknowledged {
		if !h.events[incarnation] {
			lost = append(lost, f.record.Name+" "+incarnation)
		}
	}
	slices.Sort(lost)
	h.Assert(lost, qt.HasLen, 0, qt.Commentf("acknowledged and without an event: %s", strings.Join(lost, ", ")))
}
