package liveness

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/kinfo"
	"github.com/rollcall-go/rollcall/internal/pinned"
)

// The internals that tests look at.
type (
	Scope        = scope
	VerdictError = verdictError
)

const MarkerVariable = defaultVariable

var (
	LookForMarker     = lookForMarker
	FindMarker        = findMarker
	SetInherited      = setInherited
	ErrOwnGroup       = pinned.ErrOwnGroup
	ErrNewerVersion   = errNewerVersion
	ErrInvalidOptions = errInvalidOptions
)

// NewScope makes the scope of a view that is where id was recorded.
func NewScope(id Identity, options Options) Scope {
	return scope{
		boot: id.Boot, namespace: id.Namespace,
		exclusive: options.ExclusiveNamespace, sameMachine: options.SameMachine,
		markerVariable: defaultVariable, highestPID: 1 << 22,
	}
}

// SetEditableEnviron makes s that of a system on which a process can edit the
// environment that is read.
func (s *scope) SetEditableEnviron() { s.liveEnviron = true }

// RememberStarts makes s remember the start stamps of pinned processes, as a System
// does.
func (s *scope) RememberStarts() { s.starts = new(startCache) }

// JudgePinning judges as a system that pins processes does.
func (s *scope) JudgePinning(id Identity, h *Holder) Verdict { return s.judge(&id, h, h) }

// SetBootsMayContinue makes s that of a system on which a boot with another ID may be
// the one of the record.
func (s *scope) SetBootsMayContinue() { s.bootsMayContinue = true }

// SetForeign makes s that of a view that may show another machine.
func (s *scope) SetForeign() { s.boot.Machine = unknownMachine }

// RememberBoot makes s remember the boot that it compared last, as a System does.
func (s *scope) RememberBoot() { s.lastBoot = new(atomic.Pointer[comparedBoot]) }

// CompareNumbers says whether Unique and Start of a record agree with those of a
// process, "" where none of them can be compared.
func CompareNumbers(id *Identity, now Namespace, unique, start uint64) string {
	numbers := (&scope{namespace: now}).compare(id, holder{start: start, unique: unique})
	return [...]string{silent: "", agrees: "agrees", differs: "differs"}[numbers]
}

// JudgeWindow judges by the bounds of a start in wall time.
func JudgeWindow(id *Identity, boot, process, now time.Time) (Verdict, bool) {
	return judgeWindow(id, wallStart{boot, process, now})
}

func (s *scope) Judge(id Identity) (verdict Verdict, sameBoot, decided bool) {
	return s.judgeRecord(&id)
}

// CompareBoot is that of a System with that scope.
func (s *scope) CompareBoot(boot bootid.ID) bootid.Relation {
	relation, _ := s.compareBoot(&boot)
	return relation
}

// Holder is the process that has a PID, as a system's probe sees it.
type Holder struct {
	StartStamp, Unique uint64
	Zombie             bool
	Denied             error
	Marker             string
	Garbled            bool      // the environment is not well-formed
	Environ            []byte    // the environment, if Marker and Garbled do not say it
	Borrowed           bool      // the environment is that of the parent
	NoEnviron          error     // why it cannot be read
	Boot, Began, Now   time.Time // in wall time
	NoWallStart        error     // why Began cannot be read
	Gone               bool      // it has ended when its environment is read

	PollErr error // why it cannot be asked, while it is pinned, whether it has ended
	Reaped  bool  // it has lost its PID when it is asked

	Looks, StartReads int // how often it was looked at, and its start read
}

func (h *Holder) readEnviron(int) ([]byte, error) {
	if h.Environ != nil || h.NoEnviron != nil {
		return h.Environ, h.NoEnviron
	}
	environ := "A=1\x00"
	if h.Garbled {
		environ += "?\x00"
	}
	if h.Marker != "" {
		environ += defaultVariable + "=" + h.Marker + "\x00"
	}
	return []byte(environ), nil
}

func (h *Holder) wallStart(uint64) (wallStart, error) {
	return wallStart{h.Boot, h.Began, h.Now}, h.NoWallStart
}

func (h *Holder) gone(int) (Verdict, bool) { return Verdict{State: Dead, Reason: NoProcess}, h.Gone }

// JudgeAll judges by all the rules of evidence. Nobody has the PID if there is
// no holder; it has no unique number if its Unique is 0.
func (s *scope) JudgeAll(id Identity, h *Holder) Verdict { return s.JudgeEach(&id, h) }

// JudgeEach is JudgeAll for very many records: it copies none. A system that pins
// processes, and reads no more than it must, comes to the same.
func (s *scope) JudgeEach(id *Identity, h *Holder) Verdict {
	verdict := s.judge(id, h, nil)
	if id.Unique != 0 && h != nil && h.Denied == nil {
		if pinned := s.judge(id, h, h); pinned.State != verdict.State || pinned.Reason != verdict.Reason {
			panic(fmt.Sprintf("%+v: %v, and pinned %v", *id, verdict, pinned))
		}
	}
	return verdict
}

func (h *Holder) look(int) (holder, Verdict, bool) {
	switch {
	case h == nil:
		return holder{}, Verdict{State: Dead, Reason: NoProcess}, false
	case h.Denied != nil:
		return holder{}, unreadable(h.Denied), false
	}
	h.Looks++
	return holder{start: h.StartStamp, unique: h.Unique, exited: h.Zombie, borrowed: h.Borrowed}, Verdict{}, true
}

func (h *Holder) pin(int) (int, uint64, Verdict) { return 0, h.Unique, Verdict{} }
func (h *Holder) unpin(int)                      {}
func (h *Holder) readStart(int) uint64           { h.StartReads++; return h.StartStamp }
func (h *Holder) judgePinned(int, int) (Verdict, error) {
	if h.Reaped {
		return Verdict{State: Dead, Reason: NoProcess}, nil
	}
	return verdictOf(h.Zombie), h.PollErr
}

// Kernel plays the kernel of macOS or a BSD.
type Kernel struct {
	BootID   func() (bootid.ID, error)
	Record   func(pid int) ([]byte, error)
	BootTime func() (int64, error)
	Find     func(pid int) error
	Hides    func() (jailed bool, rule string, err error)
	Environ  func(pid int) ([]byte, error)
	Records  func() ([][]byte, error)
	Kqueue   *FakeKqueue
}

func (k *Kernel) boot() (bootid.ID, error)       { return k.BootID() }
func (k *Kernel) record(pid int) ([]byte, error) { return k.Record(pid) }
func (k *Kernel) bootTime() (int64, error)       { return k.BootTime() }
func (k *Kernel) find(pid int) error             { return k.Find(pid) }
func (k *Kernel) hides() (bool, string, error)   { return k.Hides() }
func (k *Kernel) records() ([][]byte, error)     { return k.Records() }
func (k *Kernel) kqueue() (kqueue, error)        { return k.Kqueue, nil }
func (k *Kernel) environ(pid int) ([]byte, error) {
	return k.Environ(pid)
}

// ErrNobody is what Find returns if it finds no process.
var ErrNobody = errNobody

// Sysctl is the System of macOS or a BSD on a kernel that a test plays.
type Sysctl struct{ sysctlView }

// NewSysctl makes one.
func NewSysctl(system kinfo.System, kernel *Kernel, options Options) (*Sysctl, error) {
	if options.MarkerVariable == "" {
		options.MarkerVariable = defaultVariable
	}
	view, err := newSysctlView(system, kernel, options)
	return &Sysctl{view}, err
}

func (s *Sysctl) Check(id Identity) Verdict          { return s.check(&id) }
func (s *Sysctl) Open(id Identity) (*Process, error) { return openProcess(&s.sysctlView, id) }

// NewWatch and Marked are those of a System.
func (s *Sysctl) NewWatch() (*Watch, error) { return watchBy(&s.sysctlView) }
func (s *Sysctl) Marked(ctx context.Context) iter.Seq2[MarkedProcess, error] {
	return markedBy(ctx, &s.sysctlView)
}

// Capture returns the identity of a process of that kernel.
func (s *Sysctl) Capture(pid int) (Identity, error) { return s.capture(pid) }

// FreeBSDHides asks FreeBSD's rules of who sees whom.
var FreeBSDHides = freebsdHides

// SlowMultiplexer is one whose interruptions take a while. It watches nothing.
type SlowMultiplexer struct {
	woken chan struct{}
	// Waiting is called when somebody begins to wait.
	Waiting func()
	// Interrupting is what an interruption goes on with after it has woken the
	// one who waits.
	Interrupting func()
}

// Watch makes a Watch of it.
func (m *SlowMultiplexer) Watch() *Watch {
	m.woken = make(chan struct{}, 1)
	return newWatch(m)
}

func (m *SlowMultiplexer) add(*Identity, uint64) (watchedPin, error) {
	return nil, errors.ErrUnsupported
}
func (m *SlowMultiplexer) wait() ([]uint64, error) {
	m.Waiting()
	<-m.woken
	return nil, nil
}
func (m *SlowMultiplexer) reset()       {}
func (m *SlowMultiplexer) close() error { return nil }
func (m *SlowMultiplexer) interrupt() {
	select {
	case m.woken <- struct{}{}:
	default:
	}
	m.Interrupting()
}
