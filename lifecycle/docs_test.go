package lifecycle_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

// situation is all that a decision rests on.
type situation struct {
	owner     string
	phase     lifecycle.Phase
	tracked   bool
	verdict   liveness.Verdict // where a process is tracked
	heartbeat string
	limits    bool // all are set, or none is
}

func (s situation) is(state liveness.State) bool { return s.tracked && s.verdict.State == state }

// conditions are those of the tree in docs/how-it-works.md. A line is looked at
// where those above it, and before it, did not apply.
var conditions = map[string]func(situation) bool{
	"of another owner":        func(s situation) bool { return s.owner != "" },
	"launching":               func(s situation) bool { return s.phase == lifecycle.Launching },
	"inactive":                func(s situation) bool { return s.phase == lifecycle.Inactive },
	"running: Liveness.Check": func(s situation) bool { return s.phase == lifecycle.Running },
	"alive":                   func(s situation) bool { return s.is(liveness.Alive) },
	"dead":                    func(s situation) bool { return s.is(liveness.Dead) },
	"unknown":                 func(s situation) bool { return s.is(liveness.Unknown) },
	"no process is tracked":   func(s situation) bool { return !s.tracked },
	"unknown, or no process is tracked; StaleAfter is set": func(s situation) bool {
		return s.limits && (s.is(liveness.Unknown) || !s.tracked)
	},
	"since an earlier boot":           func(s situation) bool { return s.heartbeat == "of an earlier boot" },
	"heartbeat of an earlier boot":    func(s situation) bool { return s.heartbeat == "of an earlier boot" },
	"for longer than LaunchTimeout":   func(s situation) bool { return s.limits && s.heartbeat == "old" },
	"for longer than InactiveAfter":   func(s situation) bool { return s.limits && s.heartbeat == "old" },
	"heartbeat older than StaleAfter": func(s situation) bool { return s.heartbeat == "old" },
	"heartbeat of this boot":          func(s situation) bool { return s.heartbeat == "recent" || s.heartbeat == "old" },
	"otherwise":                       func(situation) bool { return true },
}

// branch is a line of the tree.
type branch struct {
	depth     int
	condition string
	decision  string // empty where there are branches below
}

var branchLine = regexp.MustCompile(`^([│ ]*)[├└]─ (.*?)(?: \.+ ((?:skip|keep|stop): .*))?$`)

func readTree(c *qt.C) (tree []branch) {
	text, err := os.ReadFile("../docs/how-it-works.md")
	c.Assert(err, qt.IsNil)
	_, rest, found := strings.Cut(string(text), "\na record\n")
	c.Assert(found, qt.IsTrue)
	lines, _, _ := strings.Cut(rest, "\n```")
	for line := range strings.SplitSeq(lines, "\n") {
		m := branchLine.FindStringSubmatch(line)
		c.Assert(m, qt.IsNotNil, qt.Commentf("%s", line))
		tree = append(tree, branch{utf8.RuneCountInString(m[1]) / 3, m[2], m[3]})
	}
	return tree
}

// decide returns the number of the line that applies to s.
func decide(c *qt.C, tree []branch, s situation) int {
	open := 0 // below this depth all conditions above hold
	for i, b := range tree {
		if b.depth > open {
			continue
		}
		open = b.depth
		holds := conditions[b.condition]
		if holds == nil { // a reason of a dead verdict
			holds = func(s situation) bool { return s.verdict.Reason.String() == b.condition }
		}
		switch {
		case !holds(s):
		case b.decision != "":
			return i
		default:
			open++
		}
	}
	c.Fatalf("no line applies to %+v", s)
	return 0
}

func situations() (all []situation) {
	verdicts := []liveness.Verdict{{State: liveness.Alive, Reason: liveness.SameProcess}}
	for _, reason := range []liveness.Reason{
		liveness.Rebooted, liveness.NoProcess, liveness.PIDReused, liveness.Zombie, liveness.NotAProcess, liveness.OtherNamespace,
	} {
		verdicts = append(verdicts, liveness.Verdict{State: liveness.Dead, Reason: reason})
	}
	for _, reason := range []liveness.Reason{
		liveness.NoEvidence, liveness.OtherMachine, liveness.OtherNamespace, liveness.Unreadable,
	} {
		verdicts = append(verdicts, liveness.Verdict{Reason: reason})
	}
	for _, owner := range []string{"", "another"} {
		for _, phase := range []lifecycle.Phase{lifecycle.Launching, lifecycle.Running, lifecycle.Inactive} {
			for _, heartbeat := range []string{"recent", "old", "of an earlier boot", "of another machine", "none"} {
				for _, limits := range []bool{false, true} {
					all = append(all, situation{owner, phase, false, liveness.Verdict{}, heartbeat, limits})
					for _, verdict := range verdicts {
						all = append(all, situation{owner, phase, true, verdict, heartbeat, limits})
					}
				}
			}
		}
	}
	return all
}

// judge has a Cleaner judge a record in the situation.
func (s situation) judge(c *qt.C) string {
	world := livenesstest.New()
	record := newRecord(world, "a")
	record.Owner, record.Phase = s.owner, s.phase
	if s.tracked {
		record.Identity = world.Start()
	}
	switch s.heartbeat {
	case "old":
		world.Advance(2 * time.Hour)
	case "of an earlier boot":
		world.Reboot()
	case "of another machine":
		record.Heartbeat.Boot.Machine, record.Heartbeat.Boot.Boot = "another", otherBoot
		world.Advance(2 * time.Hour)
	case "none":
		record.Heartbeat = lifecycle.Heartbeat{}
		world.Advance(2 * time.Hour)
	}
	cleaner := lifecycle.Cleaner{Store: new(memstore.Store), Liveness: always(s.verdict), Clock: world}
	if s.limits {
		cleaner.LaunchTimeout, cleaner.StaleAfter, cleaner.InactiveAfter = time.Hour, time.Hour, time.Hour
	}
	limits := reflect.ValueOf(cleaner)
	for _, field := range reflect.VisibleFields(limits.Type()) {
		if field.Type == reflect.TypeFor[time.Duration]() {
			c.Assert(limits.FieldByIndex(field.Index).IsZero(), qt.Equals, !s.limits, qt.Commentf("%s is a limit: set it above", field.Name))
		}
	}
	decision, err := cleaner.Decide(record)
	c.Assert(err, qt.IsNil)
	return decision.Verb() + ": " + decision.Reason
}

func TestDecisionsAreAsTheTreeOfTheDocsSays(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	tree := readTree(c)
	applied := map[int]bool{}
	for _, s := range situations() {
		i := decide(c, tree, s)
		applied[i] = true
		want := strings.ReplaceAll(tree[i].decision, "the verdict's reason", s.verdict.Reason.String())
		c.Check(s.judge(c), qt.Equals, want, qt.Commentf("%+v", s))
	}
	for i, b := range tree {
		c.Check(applied[i], qt.Equals, b.decision != "", qt.Commentf("no situation comes to the line %q", b.condition))
	}
}

func TestEachReasonIsInTheTroubleshooting(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	text, err := os.ReadFile("../docs/troubleshooting.md")
	c.Assert(err, qt.IsNil)
	reasons := map[string]bool{lifecycle.ReasonChanged: true, lifecycle.ReasonParentStopped: true}
	for _, s := range situations() {
		_, reason, _ := strings.Cut(s.judge(c), ": ")
		reasons[reason] = true
	}
	for reason := range reasons {
		c.Check(strings.Contains(string(text), "\n| `"+reason+"` | "), qt.IsTrue, qt.Commentf("%s", reason))
	}
}
