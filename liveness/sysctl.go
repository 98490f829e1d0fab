package liveness

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"time"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/kinfo"
)

// This file judges by what sysctl(3) of macOS and the BSDs tells. It makes no system
// call, so that its tests run on every system; probe_sysctl.go makes them.

// sysctlView is the view of the processes of this machine.
type sysctlView struct {
	scope
	system kinfo.System
	kernel kernel
	// layoutErr says that the records of this kernel are not understood.
	layoutErr error
}

// kernel is what sysctlView asks of the kernel.
type kernel interface {
	// boot is bootid.Current.
	boot() (bootid.ID, error)
	// record returns the record of the process that has the PID, empty where
	// the kernel shows none.
	record(pid int) ([]byte, error)
	// bootTime returns kern.boottime in microseconds since 1970.
	bootTime() (int64, error)
	// find sends signal 0: it returns errNobody if the kernel finds no process
	// with the PID.
	find(pid int) error
	// hides tells what may hide other processes from this one: that it is in a jail,
	// and the name of a rule that hides some of the rest, "" if none does.
	hides() (jailed bool, rule string, err error)
	// records returns the records of all processes that the kernel shows.
	records() ([][]byte, error)
	// kqueue opens a kqueue(2).
	kqueue() (kqueue, error)
	// environ returns the environment of a process, in entries of NAME=value
	// that a NUL ends.
	environ(pid int) ([]byte, error)
}

func newSysctlView(system kinfo.System, kernel kernel, options Options) (sysctlView, error) {
	if options.Root != "" {
		return sysctlView{}, fmt.Errorf("%w: Root %s: there is no procfs", errInvalidOptions, options.Root)
	}
	view := sysctlView{system: system, kernel: kernel, scope: scope{
		exclusive:      options.ExclusiveNamespace,
		markerVariable: options.MarkerVariable,
		liveEnviron:    true,
		startSlack:     uint64(system.Slack),
		highestPID:     math.MaxInt32,
		sameMachine:    options.SameMachine,
		lastBoot:       new(atomic.Pointer[comparedBoot]),
	}}
	view.boot, _ = kernel.boot() // unreadable: nothing is the same boot
	view.layoutErr = view.checkLayout()
	return view, nil
}

// checkLayout reads the record of this very process: a kernel whose records are
// not what they are taken for must not have all processes called dead.
func (v *sysctlView) checkLayout() error {
	record, err := v.kernel.record(os.Getpid())
	if err != nil || len(record) == 0 {
		return nil // as in a sandbox: others cannot be read either
	}
	process, err := v.system.Decode(record)
	if err != nil {
		return err
	}
	if process.PID != os.Getpid() || process.Start == 0 || process.Exited {
		return fmt.Errorf("%w: this process is shown as %+v", kinfo.ErrMalformed, process)
	}
	return nil
}

func (v *sysctlView) check(id *Identity) Verdict {
	if v.boot.Quality != bootid.Native { // FreeBSD has none until it has gathered randomness
		now := *v
		now.boot, _ = v.kernel.boot()
		now.lastBoot = nil
		v = &now
	}
	return v.judge(id, v, nil)
}

// look finds the process that has the PID, or else gives the verdict on the one that
// had it.
func (v *sysctlView) look(pid int) (holder, Verdict, bool) {
	if v.layoutErr != nil {
		return holder{}, unreadable(v.layoutErr), false
	}
	const attempts = 3 // it may start, exit, or see the clock stepped meanwhile
	var verdict Verdict
	for range attempts {
		process, shown, err := v.read(pid)
		switch {
		case errors.Is(err, errClockStepped), errors.Is(err, errExecutes):
			verdict = unreadable(err)
		case err != nil: // as in a sandbox
			if verdict, _ := v.judgeHidden(pid); verdict.Reason == NoProcess {
				return holder{}, verdict, false
			}
			return holder{}, unreadable(err), false
		case shown && process.PID != pid && pid > v.system.MaxPID: // the owner of a thread
			return holder{}, Verdict{State: Dead, Reason: NotAProcess}, false
		case shown && process.PID != pid:
			return holder{}, unreadable(fmt.Errorf("%w: of PID %d", kinfo.ErrMalformed, process.PID)), false
		case shown:
			return holder{start: uint64(process.Start), exited: process.Exited}, Verdict{}, true
		default:
			var decided bool
			if verdict, decided = v.judgeHidden(pid); decided {
				return holder{}, verdict, false
			}
		}
	}
	return holder{}, verdict, false
}

var (
	errClockStepped = errors.New("the clock was stepped meanwhile")
	errExecutes     = errors.New("the start of a process is not shown while it executes a program or exits")
)

// read reads the record of a PID. Start is made one that no step of the clock
// moves.
func (v *sysctlView) read(pid int) (process kinfo.Process, shown bool, err error) {
	var before, after int64
	if v.system.AddsBootTime {
		if before, err = v.kernel.bootTime(); err != nil {
			return kinfo.Process{}, false, err
		}
	}
	record, err := v.kernel.record(pid)
	if err != nil || len(record) == 0 {
		return kinfo.Process{}, false, err
	}
	if process, err = v.system.Decode(record); err != nil {
		return kinfo.Process{}, false, err
	}
	switch {
	case process.Start == 0 && !process.Exited:
		return kinfo.Process{}, false, errExecutes
	case process.Start == 0, !v.system.AddsBootTime:
		return process, true, nil
	}
	if after, err = v.kernel.bootTime(); err != nil {
		return kinfo.Process{}, false, err
	}
	process.Start -= before
	switch {
	case before != after:
		return kinfo.Process{}, false, errClockStepped
	case process.Start <= 0:
		return kinfo.Process{}, false, fmt.Errorf("%w: a start %d us before the boot", kinfo.ErrMalformed, -process.Start)
	}
	return process, true, nil
}

// judgeHidden judges a PID of which the kernel shows no record. It does not
// decide where another look may.
func (v *sysctlView) judgeHidden(pid int) (verdict Verdict, decided bool) {
	err := v.kernel.find(pid)
	switch {
	case err == nil && v.system.HidesZombies:
		// The recorded process, or the one that has its PID now.
		return Verdict{State: Dead, Reason: Zombie}, true
	case err == nil:
		return unreadable(errNotShown), false
	case !errors.Is(err, errNobody):
		return unreadable(err), false
	}
	jailed, rule, err := v.kernel.hides()
	switch {
	case err != nil:
		return unreadable(err), true
	case rule != "":
		return unreadable(fmt.Errorf("%w: %s", errNotShown, rule)), true
	case jailed && !v.exclusive:
		return unreadable(fmt.Errorf("%w: it may be outside this jail", errNotShown)), true
	}
	return Verdict{State: Dead, Reason: NoProcess}, true
}

var errNotShown = errors.New("the kernel may not show the process")

func (v *sysctlView) gone(pid int) (Verdict, bool) {
	_, verdict, found := v.look(pid)
	return verdict, !found && verdict.State == Dead
}

func (v *sysctlView) readEnviron(pid int) ([]byte, error) {
	if v.system.NoEnviron {
		return nil, fmt.Errorf("the environment of a process on %s: %w", v.system.Name, errors.ErrUnsupported)
	}
	return v.kernel.environ(pid)
}

func (v *sysctlView) wallStart(stamp uint64) (wallStart, error) {
	if stamp == 0 {
		return wallStart{}, errors.New("no start time")
	}
	bootMicros, err := v.kernel.bootTime()
	if err != nil {
		return wallStart{}, err
	}
	micros := int64(stamp)
	if v.system.AddsBootTime {
		micros += bootMicros
	}
	return wallStart{boot: time.UnixMicro(bootMicros), process: time.UnixMicro(micros), now: time.Now()}, nil
}

// capture returns the identity of the process that has the PID.
func (v *sysctlView) capture(pid int) (Identity, error) {
	if pid < 1 || pid > math.MaxInt32 {
		return Identity{}, invalidPID(pid)
	}
	holder, verdict, found := v.look(pid)
	const wait = time.Millisecond
	for waited := time.Duration(0); errors.Is(verdict.Err, errExecutes) && waited < time.Second; waited += wait {
		time.Sleep(wait)
		holder, verdict, found = v.look(pid)
	}
	switch {
	case found:
		return Identity{PID: pid, Boot: v.boot, Start: holder.start}, nil
	case verdict.State == Dead:
		return Identity{}, fmt.Errorf("%w: %s", ErrNoProcess, name(reasonSentences[:], int(verdict.Reason)))
	default:
		return Identity{}, verdict.Err
	}
}

// freebsdHides asks FreeBSD's rules of who sees whom. All of them answer for a
// hidden process as for none, by sysctl(3) and by kill(2)
// (security(7), jail(8), mac_seeotheruids(4), mac_partition(4), mac_biba(4),
// mac_lomac(4), mac_mls(4)).
func freebsdHides(euid int, read func(name string) (value uint32, exists bool, err error)) (jailed bool, rule string, err error) {
	value, _, err := read("security.jail.jailed")
	if err != nil {
		return false, "", fmt.Errorf("sysctl security.jail.jailed: %w", err)
	}
	jailed = value != 0
	if value, exists, err := read("security.bsd.suser_enabled"); err != nil {
		return jailed, "", fmt.Errorf("sysctl security.bsd.suser_enabled: %w", err)
	} else if exists && value == 0 {
		euid = -1 // root is like any other user
	}
	for _, r := range []struct {
		name    string
		open    uint32 // the value with which nothing is hidden
		rootToo bool
	}{
		{"security.bsd.see_other_uids", 1, false},
		{"security.bsd.see_other_gids", 1, false},
		{"security.bsd.see_jail_proc", 1, false},
		{"security.mac.seeotheruids.enabled", 0, true},
		{"security.mac.partition.enabled", 0, true},
		{"security.mac.biba.enabled", 0, true},
		{"security.mac.lomac.enabled", 0, true},
		{"security.mac.mls.enabled", 0, true},
	} {
		if euid == 0 && !jailed && !r.rootToo {
			continue
		}
		value, exists, err := read(r.name)
		if err != nil {
			return jailed, "", fmt.Errorf("sysctl %s: %w", r.name, err)
		}
		if exists && value != r.open {
			return jailed, fmt.Sprintf("%s is %d", r.name, value), nil
		}
	}
	return jailed, "", nil
}
