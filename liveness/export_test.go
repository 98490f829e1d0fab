package liveness

import "time"

// The internals that tests look at.
type (
	Scope    = scope
	ProcStat = procStat
)

var (
	ParseProcStat      = parseProcStat
	StatusField        = statusField
	ProcMountOptions   = procMountOptions
	ParseNamespaceLink = parseNamespaceLink
	JudgeStart         = judgeStart
	JudgeMarker        = judgeMarker
	JudgeWindow        = judgeWindow
	FileTime           = fileTime
	FindCreateTime     = findCreateTime
	ParseStartKey      = parseStartKey
	ParseEnvironment   = parseEnvironment
)

// NewScope makes the scope of a view.
func NewScope(id Identity, exclusive bool) Scope {
	return scope{boot: id.Boot, namespace: id.Namespace, exclusive: exclusive}
}

func (s *scope) Judge(id Identity) (verdict Verdict, sameBoot, decided bool) { return s.judge(&id) }

func (s procStat) State() byte     { return s.state }
func (s procStat) Threads() uint64 { return s.threads }
func (s procStat) Start() uint64   { return s.start }
func (s procStat) Exited() bool    { return s.exited() }
func (s procStat) Replaced() bool  { return s.replaced() }

// Holder is the process that has a PID, as a system's probe sees it.
type Holder struct {
	StartStamp, Unique uint64
	Zombie             bool
	Denied             error
	Marker             string
	Boot, Began        time.Time // in wall time
}

func (h *Holder) readEnviron(int) ([]byte, error) {
	environ := "A=1\x00"
	if h.Marker != "" {
		environ += MarkerVariable + "=" + h.Marker + "\x00"
	}
	return []byte(environ), nil
}

func (h *Holder) wallStart(uint64) (boot, start time.Time, err error) { return h.Boot, h.Began, nil }
func (h *Holder) gone(int) (Verdict, bool)                            { return Verdict{}, false }

// JudgeAll judges by all the rules of evidence. Nobody has the PID if there is
// no holder; it has no unique number if its Unique is 0.
func (s *scope) JudgeAll(id Identity, h *Holder) Verdict {
	s.markerVariable = MarkerVariable
	verdict, sameBoot, decided := s.judge(&id)
	switch {
	case decided:
		return verdict
	case h == nil:
		return Verdict{State: Dead, Reason: NoProcess}
	case h.Denied != nil:
		return unreadable(h.Denied)
	case sameBoot && id.Unique != 0 && h.Unique != 0:
		return verdictOf(id.Unique == h.Unique, h.Zombie)
	}
	return s.judgeHolder(&id, sameBoot, h.StartStamp, h.Zombie, h)
}
