package liveness

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
