package liveness_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"syscall"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/kinfo"
	"github.com/rollcall-go/rollcall/liveness"
)

// bsd is a machine with macOS or a BSD, played after the sources of its kernel
// that package kinfo names. It proves the rules, not the kernel.
type bsd struct {
	liveness.Kernel
	goos      string
	system    kinfo.System
	bootID    bootid.ID
	boot      time.Time     // kern.boottime, before it is cut
	uptime    time.Duration // of the boot so far
	processes map[int]*bsdProcess
}

type bsdProcess struct {
	uptime    time.Duration // at the fork
	wall      time.Time     // at the fork
	environ   string
	zombie    bool
	executing bool // a program
	hidden    bool
	others    bool // another user's
}

var bsds = []string{"darwin", "freebsd", "openbsd", "netbsd", "dragonfly"}

func eachBSD(t *testing.T, run func(c *qt.C, m *bsd)) {
	t.Parallel()
	for _, goos := range bsds {
		t.Run(goos, func(t *testing.T) {
			t.Parallel()
			run(qt.New(t), newBSD(goos))
		})
	}
}

func newBSD(goos string) *bsd {
	system, _ := kinfo.Of(goos, "amd64")
	m := &bsd{
		goos: goos, system: system,
		bootID:    bootid.ID{Machine: machineA, Boot: "init-1", Quality: bootid.Derived},
		boot:      time.Unix(1763900000, 123456789),
		uptime:    time.Hour + 987654321,
		processes: map[int]*bsdProcess{},
	}
	m.self()
	if goos == "darwin" || goos == "freebsd" {
		m.bootID = bootid.ID{Machine: machineA, Boot: boot1, Quality: bootid.Native}
	}
	m.Kernel = liveness.Kernel{
		BootID:   func() (bootid.ID, error) { return m.bootID, nil },
		Record:   m.record,
		BootTime: func() (int64, error) { return m.boot.UnixMicro(), nil },
		Find:     m.find,
		Hides:    func() (bool, string, error) { return false, "", nil },
		Environ:  func(pid int) ([]byte, error) { return []byte(m.processes[pid].environ), nil },
	}
	return m
}

func (m *bsd) now() time.Time { return m.boot.Add(m.uptime) }

// start forks a process. The tests give it one of the last numbers that FreeBSD
// has (PID_MAX is 99999), which this program, whose number is used too, has
// hardly ever.
func (m *bsd) start(pid int) *bsdProcess {
	m.uptime += 10*time.Millisecond + 123*time.Microsecond + 457
	p := &bsdProcess{uptime: m.uptime, wall: m.now(), environ: "A=1\x00"}
	m.processes[pid] = p
	return p
}

// self is the process that judges.
func (m *bsd) self() { m.start(os.Getpid()) }

// reboot ends all processes. The boot time is that of the clock.
func (m *bsd) reboot() {
	m.boot = m.now().Add(time.Minute)
	m.uptime = time.Minute
	clear(m.processes)
	if m.bootID.Quality == bootid.Native {
		m.bootID.Boot = boot2
	} else {
		m.bootID.Boot = "init-2"
	}
	m.self()
}

// step sets the clock.
func (m *bsd) step(d time.Duration) { m.boot = m.boot.Add(d) }

// record publishes a process as the kernel does.
func (m *bsd) record(pid int) ([]byte, error) {
	p := m.processes[pid]
	switch {
	case p == nil, p.hidden, p.zombie && m.goos == "dragonfly":
		return nil, nil
	case p.zombie && (m.goos == "netbsd" || m.goos == "openbsd"), p.executing:
		return m.system.Encode(kinfo.Process{PID: pid, Exited: p.zombie}), nil
	}
	published := kinfo.Process{PID: pid, Start: p.wall.UnixMicro(), Exited: p.zombie}
	switch m.goos {
	case "freebsd": // both cut to microseconds before
		published.Start = p.uptime.Microseconds() + m.boot.UnixMicro()
	case "openbsd": // cut to microseconds after
		published.Start = m.boot.Add(p.uptime).UnixMicro()
	}
	return m.system.Encode(published), nil
}

// find is kill(2) with signal 0.
func (m *bsd) find(pid int) error {
	p := m.processes[pid]
	switch {
	case p == nil, p.hidden && m.goos == "freebsd":
		return liveness.ErrNobody
	case p.zombie:
		return nil
	case p.hidden, p.others:
		return syscall.EPERM
	}
	return nil
}

func (m *bsd) liveness(c *qt.C, options liveness.Options) *liveness.Sysctl {
	c.Helper()
	system, err := liveness.NewSysctl(m.system, &m.Kernel, options)
	c.Assert(err, qt.IsNil)
	return system
}

func (m *bsd) capture(c *qt.C, pid int) liveness.Identity {
	c.Helper()
	id, err := m.liveness(c, liveness.Options{}).Capture(pid)
	c.Assert(err, qt.IsNil)
	return id
}

// check judges as a program does that has started just now.
func (m *bsd) check(c *qt.C, id liveness.Identity) liveness.Verdict {
	c.Helper()
	return m.liveness(c, liveness.Options{}).Check(id)
}

func (m *bsd) expect(c *qt.C, id liveness.Identity, state liveness.State, reason liveness.Reason) {
	c.Helper()
	verdict := m.check(c, id)
	c.Check(verdict, qt.Equals, liveness.Verdict{State: state, Reason: reason}, qt.Commentf("%v: %v", id, verdict))
}

func TestBSDProcessLivesExitsAndIsReaped(t *testing.T) {
	eachBSD(t, func(c *qt.C, m *bsd) {
		p := m.start(99998)
		id := m.capture(c, 99998)
		c.Check(id.Start, qt.Not(qt.Equals), uint64(0))
		c.Check(id.Boot, qt.Equals, m.bootID)
		m.expect(c, id, liveness.Alive, liveness.SameProcess)
		p.others = true
		m.expect(c, id, liveness.Alive, liveness.SameProcess)
		m.uptime += time.Hour
		m.expect(c, id, liveness.Alive, liveness.SameProcess)

		p.zombie = true
		m.expect(c, id, liveness.Dead, liveness.Zombie)
		delete(m.processes, 99998)
		m.expect(c, id, liveness.Dead, liveness.NoProcess)
		_, err := m.liveness(c, liveness.Options{}).Capture(99998)
		c.Check(err, qt.ErrorIs, liveness.ErrNoProcess)
	})
}

func TestBSDPIDReused(t *testing.T) {
	eachBSD(t, func(c *qt.C, m *bsd) {
		m.start(99998)
		id := m.capture(c, 99998)
		p := m.start(99998)
		m.expect(c, id, liveness.Dead, liveness.PIDReused)
		p.zombie = true
		if verdict := m.check(c, id); verdict.State != liveness.Dead {
			c.Errorf("the zombie of another process: %v", verdict)
		}
	})
}

func TestBSDClockStepChangesNoVerdict(t *testing.T) {
	eachBSD(t, func(c *qt.C, m *bsd) {
		m.start(99998)
		id := m.capture(c, 99998)
		other := id
		other.Start += 2
		system := m.liveness(c, liveness.Options{}) // made before the steps
		for _, d := range []time.Duration{
			time.Nanosecond, -time.Nanosecond, 543 * time.Nanosecond, time.Microsecond, time.Second,
			-time.Second, 999999999, time.Hour, -24 * time.Hour, 3650 * 24 * time.Hour,
		} {
			m.step(d)
			for _, system := range []liveness.Liveness{system, m.liveness(c, liveness.Options{})} {
				c.Check(system.Check(id).State, qt.Equals, liveness.Alive, qt.Commentf("step by %v: %v", d, system.Check(id)))
				c.Check(system.Check(other).Reason, qt.Equals, liveness.PIDReused, qt.Commentf("step by %v", d))
			}
		}
		delete(m.processes, 99998)
		m.expect(c, id, liveness.Dead, liveness.NoProcess)
	})
}

func TestBSDReboot(t *testing.T) {
	eachBSD(t, func(c *qt.C, m *bsd) {
		m.start(99998)
		id := m.capture(c, 99998)
		m.reboot()
		m.start(99998)
		reason := liveness.PIDReused // boots that were derived are not compared, but starts are
		if m.bootID.Quality == bootid.Native {
			reason = liveness.Rebooted
		}
		m.expect(c, id, liveness.Dead, reason)
		delete(m.processes, 99998)
		c.Check(m.check(c, id).State, qt.Equals, liveness.Dead)
	})
}

// Equal starts are no proof where the boots cannot be compared.
func TestBSDEqualStartOfAnUncomparableBootIsNoProof(t *testing.T) {
	eachBSD(t, func(c *qt.C, m *bsd) {
		m.start(99998)
		id := m.capture(c, 99998)
		id.Boot = bootid.ID{}
		m.expect(c, id, liveness.Unknown, liveness.NoEvidence)
	})
}

func TestBSDClockSteppedWithinACheckIsNoticed(t *testing.T) {
	eachBSD(t, func(c *qt.C, m *bsd) {
		m.start(99998)
		id := m.capture(c, 99998)
		steps := 1
		m.Record = func(pid int) ([]byte, error) {
			if steps > 0 {
				steps--
				m.step(time.Hour)
			}
			return m.record(pid)
		}
		m.expect(c, id, liveness.Alive, liveness.SameProcess)
		if !m.system.AddsBootTime {
			return
		}
		steps = 1000 // again and again
		verdict := m.check(c, id)
		c.Check(verdict.String(), qt.Equals, "unknown: the evidence could not be read (the clock was stepped meanwhile)")
		_, err := m.liveness(c, liveness.Options{}).Capture(99998)
		c.Check(err, qt.ErrorMatches, "the clock was stepped meanwhile")
	})
}

func TestBSDProcessThatIsNotShownIsUnknown(t *testing.T) {
	eachBSD(t, func(c *qt.C, m *bsd) {
		p := m.start(99998)
		id := m.capture(c, 99998)
		p.hidden = true
		if m.goos == "freebsd" { // kill does not find it either
			m.Hides = func() (bool, string, error) { return false, "security.bsd.see_other_uids is 0", nil }
		}
		for _, exclusive := range []bool{false, true} {
			system := m.liveness(c, liveness.Options{ExclusiveNamespace: exclusive})
			verdict := system.Check(id)
			c.Check(verdict.State, qt.Equals, liveness.Unknown, qt.Commentf("%v", verdict))
			c.Check(verdict.Reason, qt.Equals, liveness.Unreadable)
			_, err := system.Capture(99998)
			c.Check(err, qt.IsNotNil)
			c.Check(errors.Is(err, liveness.ErrNoProcess), qt.IsFalse)
		}
	})
}

func TestFreeBSDJailKnowsOnlyItsOwn(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	m := newBSD("freebsd")
	m.Hides = func() (bool, string, error) { return true, "", nil }
	m.start(99998)
	id := m.capture(c, 99998)
	m.expect(c, id, liveness.Alive, liveness.SameProcess)
	delete(m.processes, 99998)
	verdict := m.check(c, id)
	c.Check(verdict.String(), qt.Equals,
		"unknown: the evidence could not be read (the kernel may not show the process: it may be outside this jail)")
	exclusive := m.liveness(c, liveness.Options{ExclusiveNamespace: true})
	c.Check(exclusive.Check(id), qt.Equals, liveness.Verdict{State: liveness.Dead, Reason: liveness.NoProcess})

	failed := errors.New("failed")
	m.Hides = func() (bool, string, error) { return false, "", failed }
	c.Check(m.check(c, id), qt.Equals, liveness.Verdict{Reason: liveness.Unreadable, Err: failed})
}

func TestRulesOfWhoSeesWhomOnFreeBSD(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	open := map[string]uint32{
		"security.jail.jailed": 0, "security.bsd.suser_enabled": 1, "security.bsd.see_other_uids": 1, "security.bsd.see_other_gids": 1, "security.bsd.see_jail_proc": 1,
	}
	failed := errors.New("failed")
	for _, test := range []struct {
		name   string
		euid   int
		set    map[string]uint32
		jailed bool
		rule   string
	}{
		{"none", 1000, nil, false, ""},
		{"none, root", 0, nil, false, ""},
		{"a jail", 1000, map[string]uint32{"security.jail.jailed": 1}, true, ""},
		{"users", 1000, map[string]uint32{"security.bsd.see_other_uids": 0}, false, "security.bsd.see_other_uids is 0"},
		{"users, but root", 0, map[string]uint32{"security.bsd.see_other_uids": 0}, false, ""},
		{"users, root of a jail", 0, map[string]uint32{"security.bsd.see_other_uids": 0, "security.jail.jailed": 1}, true, "security.bsd.see_other_uids is 0"},
		{"groups", 1000, map[string]uint32{"security.bsd.see_other_gids": 0}, false, "security.bsd.see_other_gids is 0"},
		{"jails", 1000, map[string]uint32{"security.bsd.see_jail_proc": 0}, false, "security.bsd.see_jail_proc is 0"},
		{"MAC, off", 1000, map[string]uint32{"security.mac.seeotheruids.enabled": 0}, false, ""},
		{"MAC, on", 0, map[string]uint32{"security.mac.seeotheruids.enabled": 1}, false, "security.mac.seeotheruids.enabled is 1"},
		{"MAC Biba", 0, map[string]uint32{"security.mac.biba.enabled": 1}, false, "security.mac.biba.enabled is 1"},
		{"MAC LOMAC", 0, map[string]uint32{"security.mac.lomac.enabled": 1}, false, "security.mac.lomac.enabled is 1"},
		{"MAC MLS", 0, map[string]uint32{"security.mac.mls.enabled": 1}, false, "security.mac.mls.enabled is 1"},
		{"users, root without privilege", 0, map[string]uint32{"security.bsd.see_other_uids": 0, "security.bsd.suser_enabled": 0}, false, "security.bsd.see_other_uids is 0"},
		{"MAC partitions", 0, map[string]uint32{"security.mac.partition.enabled": 1}, false, "security.mac.partition.enabled is 1"},
	} {
		read := func(name string) (uint32, bool, error) {
			if value, ok := test.set[name]; ok {
				return value, true, nil
			}
			value, ok := open[name]
			return value, ok, nil
		}
		jailed, rule, err := liveness.FreeBSDHides(test.euid, read)
		c.Check(err, qt.IsNil, qt.Commentf(test.name))
		c.Check([]any{jailed, rule}, qt.DeepEquals, []any{test.jailed, test.rule}, qt.Commentf(test.name))
	}
	for unreadable := range open {
		_, _, err := liveness.FreeBSDHides(1000, func(name string) (uint32, bool, error) {
			if name == unreadable {
				return 0, false, failed
			}
			return open[name], true, nil
		})
		c.Check(err, qt.ErrorIs, failed)
		c.Check(err, qt.ErrorMatches, fmt.Sprintf("sysctl %s: failed", unreadable))
	}
}

// kern.proc.pid of FreeBSD answers for the number of a thread with the process
// that owns it.
func TestFreeBSDThreadIsNoProcess(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	m := newBSD("freebsd")
	m.start(99998)
	id := m.capture(c, 99998)
	m.Record = func(pid int) ([]byte, error) {
		if pid == 100123 {
			pid = 99998
		}
		return m.record(pid)
	}
	id.PID = 100123
	m.expect(c, id, liveness.Dead, liveness.NotAProcess)
}

// A kernel may have other records than it is taken to have.
func TestBSDRecordsThatAreNotUnderstoodProveNothing(t *testing.T) {
	eachBSD(t, func(c *qt.C, m *bsd) {
		m.start(99998)
		id := m.capture(c, 99998)
		delete(m.processes, 99998)
		m.start(99999)
		for _, self := range []kinfo.Process{
			{PID: 1, Start: 1763900000_000000}, {PID: os.Getpid()}, {PID: os.Getpid(), Start: 1763900000_000000, Exited: true},
		} {
			m.Record = func(pid int) ([]byte, error) {
				if pid == os.Getpid() {
					return m.system.Encode(self), nil
				}
				return m.record(pid)
			}
			if self.Start == 0 && m.goos == "freebsd" {
				self.Exited = true // it always has a start
			}
			verdict := m.check(c, id)
			c.Check(verdict.State, qt.Equals, liveness.Unknown, qt.Commentf("%+v", self))
			c.Check(verdict.Err, qt.ErrorIs, kinfo.ErrMalformed)
			_, err := m.liveness(c, liveness.Options{}).Capture(99999)
			c.Check(err, qt.ErrorIs, kinfo.ErrMalformed)
		}
		m.Record = func(pid int) ([]byte, error) { // of another process
			if pid == 99998 {
				pid = 99999
			}
			return m.record(pid)
		}
		verdict := m.check(c, id)
		c.Check(verdict.State, qt.Equals, liveness.Unknown)
		c.Check(verdict.Err, qt.ErrorMatches, "malformed process record: of PID 99999")
	})
}

// NetBSD shows no start of a process that is executing a program.
func TestNetBSDProcessThatExecutesIsUnknownForAnInstant(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	m := newBSD("netbsd")
	p := m.start(99998)
	id := m.capture(c, 99998)
	p.executing = true
	verdict := m.check(c, id)
	c.Check(verdict.String(), qt.Equals,
		"unknown: the evidence could not be read (the start of a process is not shown while it executes a program or exits)")
	looks := 0
	m.Record = func(pid int) ([]byte, error) {
		if looks++; looks > 10 {
			p.executing = false
		}
		return m.record(pid)
	}
	c.Check(m.capture(c, 99998), qt.Equals, id, qt.Commentf("a capture waits until it is shown"))
}

// A sandbox of macOS may deny sysctl(3). That nobody has a PID is told anyhow.
func TestBSDDeniedSysctlIsUnknown(t *testing.T) {
	eachBSD(t, func(c *qt.C, m *bsd) {
		m.start(99998)
		id := m.capture(c, 99998)
		m.Record = func(int) ([]byte, error) { return nil, syscall.EPERM }
		c.Check(m.check(c, id), qt.Equals, liveness.Verdict{Reason: liveness.Unreadable, Err: syscall.EPERM})
		m.processes[99998].zombie = true
		c.Check(m.check(c, id), qt.Equals, liveness.Verdict{Reason: liveness.Unreadable, Err: syscall.EPERM})
		delete(m.processes, 99998)
		m.expect(c, id, liveness.Dead, liveness.NoProcess)

		m.BootTime = func() (int64, error) { return 0, syscall.EPERM }
		m.Record = m.record
		m.start(99998)
		verdict := m.check(c, liveness.Identity{PID: 99998, Boot: m.bootID, Start: 1})
		c.Check(verdict.State, qt.Equals, map[bool]liveness.State{true: liveness.Unknown, false: liveness.Dead}[m.system.AddsBootTime])
	})
}

func TestBSDMalformedRecordIsUnknown(t *testing.T) {
	eachBSD(t, func(c *qt.C, m *bsd) {
		m.start(99998)
		id := m.capture(c, 99998)
		m.Record = func(pid int) ([]byte, error) {
			record, err := m.record(pid)
			return record[:len(record)-1], err
		}
		verdict := m.check(c, id)
		c.Check(verdict.State, qt.Equals, liveness.Unknown)
		c.Check(verdict.Err, qt.ErrorIs, kinfo.ErrMalformed)
	})
}

func TestBSDMarker(t *testing.T) {
	eachBSD(t, func(c *qt.C, m *bsd) {
		p := m.start(99998)
		marked := liveness.Identity{PID: 99998, Marker: "abc"}
		if m.goos == "dragonfly" { // has no way to ask
			c.Check(m.check(c, marked).State, qt.Equals, liveness.Unknown)
			c.Check(m.check(c, marked).Err, qt.ErrorIs, errors.ErrUnsupported)
			return
		}
		m.expect(c, marked, liveness.Unknown, liveness.NoEvidence) // it may have edited it
		p.environ += liveness.MarkerVariable + "=abc\x00"
		m.expect(c, marked, liveness.Alive, liveness.SameProcess)
		m.Environ = func(int) ([]byte, error) { return nil, syscall.EPERM }
		c.Check(m.check(c, marked), qt.Equals, liveness.Verdict{Reason: liveness.Unreadable, Err: syscall.EPERM})
		m.Environ = func(int) ([]byte, error) { // it exits meanwhile
			delete(m.processes, 99998)
			return nil, syscall.EINVAL
		}
		m.expect(c, marked, liveness.Dead, liveness.NoProcess)
	})
}

func TestBSDOldRowIsJudgedByItsTime(t *testing.T) {
	eachBSD(t, func(c *qt.C, m *bsd) {
		m.start(99998)
		row := liveness.Identity{PID: 99998, NotAfter: m.now().Add(time.Second)}
		m.expect(c, row, liveness.Alive, liveness.SameProcess)
		row.NotAfter = m.now().Add(-10 * time.Second)
		m.expect(c, row, liveness.Dead, liveness.PIDReused)
		row.NotAfter = m.boot.Add(-time.Hour)
		m.expect(c, row, liveness.Dead, liveness.Rebooted)
		m.processes[99998].zombie = true
		m.expect(c, row, liveness.Dead, liveness.Zombie)
	})
}

func TestBSDImpossibleIdentityIsUnknown(t *testing.T) {
	eachBSD(t, func(c *qt.C, m *bsd) {
		beyond := int64(1) << 31 // negative where an int has 32 bits
		if beyond == int64(int(beyond)) {
			m.expect(c, liveness.Identity{PID: int(beyond)}, liveness.Dead, liveness.NoProcess)
		}
		for _, pid := range []int{-1, -99998} {
			if verdict := m.check(c, liveness.Identity{PID: pid}); !errors.Is(verdict.Err, liveness.ErrInvalid) || verdict.State != liveness.Unknown {
				c.Errorf("%d: %v", pid, verdict)
			}
			_, err := m.liveness(c, liveness.Options{}).Capture(pid)
			c.Check(err, qt.ErrorIs, liveness.ErrInvalid)
		}
		_, err := m.liveness(c, liveness.Options{}).Capture(int(beyond))
		c.Check(err, qt.ErrorIs, liveness.ErrInvalid)
		_, err = liveness.NewSysctl(m.system, &m.Kernel, liveness.Options{Root: "/proc"})
		c.Check(err, qt.ErrorIs, liveness.ErrInvalidOptions)
	})
}

func TestBSDMarkedProcessesAreListed(t *testing.T) {
	eachBSD(t, func(c *qt.C, m *bsd) {
		m.start(99998).environ += liveness.MarkerVariable + "=abc\x00"
		m.start(99999).environ += liveness.MarkerVariable + "=abc\x00" // its child
		m.start(99996)
		m.start(4714).zombie = true
		m.start(4715).others = true
		m.Records = func() ([][]byte, error) {
			var records [][]byte
			for pid, p := range m.processes {
				published := kinfo.Process{PID: pid, Parent: pid - 1, Exited: p.zombie}
				if p.zombie && m.goos == "dragonfly" {
					continue
				}
				if !p.zombie {
					published.Start = 1763900000_000000
				}
				records = append(records, m.system.Encode(published))
			}
			return records, nil
		}
		m.Environ = func(pid int) ([]byte, error) {
			if m.processes[pid].others {
				return nil, syscall.EPERM
			}
			return []byte(m.processes[pid].environ), nil
		}
		found := map[int]liveness.MarkedProcess{}
		var errs []error
		for process, err := range m.liveness(c, liveness.Options{}).Marked(c.Context()) {
			if err != nil {
				errs = append(errs, err)
				continue
			}
			found[process.Identity.PID] = process
		}
		c.Assert(errs, qt.HasLen, 1)
		if m.goos == "dragonfly" {
			c.Check(errs[0], qt.ErrorIs, errors.ErrUnsupported)
			c.Check(found, qt.HasLen, 0)
			return
		}
		c.Check(errs[0], qt.ErrorIs, syscall.EPERM)
		c.Check(errs[0], qt.ErrorMatches, ".*PID 4715: .*")
		parent, child := m.capture(c, 99998), m.capture(c, 99999)
		parent.Marker, child.Marker = "abc", "abc"
		want := map[int]liveness.MarkedProcess{
			99998: {Identity: parent, Parent: 99997},
			99999: {Identity: child, Parent: 99998, Inherited: true},
		}
		c.Check(maps.Equal(found, want), qt.IsTrue, qt.Commentf("%v, want %v", found, want))
	})
}

func TestBSDProcessIsOpenedByAKqueue(t *testing.T) {
	eachBSD(t, func(c *qt.C, m *bsd) {
		m.start(99998)
		id := m.capture(c, 99998)
		m.Kqueue = liveness.NewFakeKqueue()
		target, _ := m.Kqueue.Start(99998, 99998, 1)
		process, err := m.liveness(c, liveness.Options{}).Open(id)
		c.Assert(err, qt.IsNil)
		defer process.Close()
		c.Assert(process.Signal(syscall.SIGTERM), qt.IsNil)
		c.Check(target.Signals, qt.HasLen, 1)
		m.start(99998) // it has ended, and its PID is a stranger's
		c.Check(process.Signal(syscall.SIGTERM), qt.ErrorIs, liveness.ErrNoProcess)
		c.Check(target.Signals, qt.HasLen, 1)
		_, err = m.liveness(c, liveness.Options{}).Open(id)
		c.Check(err, qt.ErrorIs, liveness.ErrNoProcess)
	})
}
