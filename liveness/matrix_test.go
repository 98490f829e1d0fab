package liveness_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

// A promise is a verdict that must be found, so that it is not enough never to be
// wrong. It is for all combinations of the sights of which its functions are true;
// nil is true of all.
type promise struct {
	name    string
	want    string // what the sentence of the verdict starts with
	boot    func(bootSight) bool
	machine func(machineSight) bool
	pidns   func(p pidnsSight, exclusive bool) bool
	time    func(timeSight) bool
	numbers func(unique, start numberSight) bool
	marker  func(markerSight) bool
	bounds  func(boundsSight) bool
	holder  string // its name
}

// What several promises ask for.
var (
	sameBoot    = func(b bootSight) bool { return b.boots == equal }
	notAnother  = func(b bootSight) bool { return (b.boots != differ || b.containers()) && b.record.Valid() }
	thisMachine = func(m machineSight) bool { return !m.other }
	ourPIDs     = func(p pidnsSight, _ bool) bool {
		switch {
		case !p.recorded:
			return true
		case p.ids == equal:
			return p.inits != differ
		}
		return p.numbers == equal && p.ids == nothing && p.inits != differ
	}
	oneClock  = func(t timeSight) bool { return t.same }
	noNumbers = func(unique, start numberSight) bool { return unique.record == 0 && start.record == 0 }
	noMarker  = func(m markerSight) bool { return m.record == "" }
	unbounded = func(b boundsSight) bool { return b.notBefore.IsZero() && b.notAfter.IsZero() }
)

const (
	living     = "a living process"
	otherMach  = "unknown: it was recorded on another machine"
	rebooted   = "dead: the machine has rebooted since"
	nobodyHas  = "dead: no process has its PID"
	reused     = "dead: its PID belongs to another process now"
	otherSpace = "unknown: it was recorded in another PID namespace"
	itRuns     = "alive: the recorded process runs"
	isZombie   = "dead: it has exited and waits to be reaped"
)

var promises = []promise{
	{
		name: "another boot of this machine is a reboot, in any PID namespace and whatever else is seen",
		want: rebooted, boot: func(b bootSight) bool { return b.boots == differ && !b.containers() }, machine: thisMachine,
	},
	{
		name: "a boot that is no boot ID makes nothing dead",
		want: "unknown: the evidence could not be read", boot: func(b bootSight) bool { return !b.record.Valid() },
	},
	{
		name: "a record of another machine is left to that one",
		want: otherMach, boot: func(b bootSight) bool { return !b.random && b.record.Valid() && b.view.Valid() },
		machine: func(m machineSight) bool { return m.other && !m.foreign },
	},
	{
		name: "nobody has the PID in our namespace, whatever the boot",
		want: nobodyHas, boot: notAnother, machine: thisMachine, pidns: ourPIDs, holder: "nobody",
	},
	{
		name: "nobody can have the PID, in any namespace",
		want: "dead: ", boot: func(b bootSight) bool { return b.record.Valid() }, machine: thisMachine,
		holder: "nobody, it is an impossible number",
	},
	{
		name: "a zombie has the PID in our namespace, and no number says whose it is",
		want: isZombie, boot: notAnother, machine: thisMachine, pidns: ourPIDs, numbers: noNumbers, holder: "a zombie",
	},
	{
		name: "the recorded process is a zombie",
		want: isZombie, boot: sameBoot, machine: thisMachine, pidns: ourPIDs, time: oneClock,
		numbers: func(u, s numberSight) bool { return u.is == equal && s.is == equal }, holder: "a zombie",
	},
	{
		name: "the number of the namespace was given again: it is gone, whoever has the PID",
		want: "dead: ", boot: notAnother, machine: thisMachine,
		pidns: func(p pidnsSight, _ bool) bool { return p.numbers == equal && p.ids == differ },
	},
	{
		name: "the same by the start of PID 1",
		want: "dead: ", boot: sameBoot, machine: thisMachine, time: oneClock,
		pidns: func(p pidnsSight, _ bool) bool {
			return p.numbers == equal && p.ids == nothing && p.inits == differ
		},
	},
	{
		name: "another namespace, and the host says that there is one at a time",
		want: "dead: ", boot: sameBoot, machine: thisMachine,
		pidns: func(p pidnsSight, exclusive bool) bool { return p.numbers == differ && exclusive },
	},
	{
		name: "another namespace, which may exist",
		want: otherSpace, boot: sameBoot, machine: thisMachine,
		pidns: func(p pidnsSight, exclusive bool) bool { return p.numbers == differ && !exclusive },
		// A unique number that agrees proves more; whether it is asked is free.
		numbers: func(u, _ numberSight) bool { return u.is != equal },
		holder:  living,
	},
	{
		name: "the numbers agree, whatever environment and bounds say",
		want: itRuns, boot: sameBoot, machine: thisMachine, pidns: ourPIDs, time: oneClock,
		numbers: func(u, s numberSight) bool {
			return u.is != differ && s.is != differ && (u.is == equal || s.is == equal)
		},
		holder: living,
	},
	{
		name: "the unique number agrees, and the start was read through another clock",
		want: itRuns, boot: sameBoot, machine: thisMachine,
		pidns:   func(p pidnsSight, exclusive bool) bool { return ourPIDs(p, exclusive) && p.inits == nothing },
		time:    func(t timeSight) bool { return !t.same },
		numbers: func(u, _ numberSight) bool { return u.is == equal },
		holder:  living,
	},
	{
		name: "one number differs, whatever the boot",
		want: reused, boot: notAnother, machine: thisMachine, pidns: ourPIDs, time: oneClock,
		numbers: func(u, s numberSight) bool { return u.is == differ || s.is == differ },
		holder:  living,
	},
	{
		name: "the unique number differs, whatever the clocks",
		want: reused, boot: notAnother, machine: thisMachine, pidns: ourPIDs,
		numbers: func(u, _ numberSight) bool { return u.is == differ },
		holder:  living,
	},
	{
		name: "the marker is there, whatever the boot and the bounds",
		want: itRuns, boot: notAnother, machine: thisMachine, pidns: ourPIDs,
		numbers: func(u, s numberSight) bool { return u.is != differ && s.is != differ },
		marker:  func(m markerSight) bool { return m.is == equal }, holder: living,
	},
	{
		name: "the marker is missing, and nothing else was recorded",
		want: reused, boot: notAnother, machine: thisMachine, pidns: ourPIDs, numbers: noNumbers,
		marker: func(m markerSight) bool { return m.is == differ }, bounds: unbounded, holder: living,
	},
	{
		name: "it had the PID at NotAfter",
		want: itRuns, boot: notAnother, machine: thisMachine, pidns: ourPIDs, numbers: noNumbers, marker: noMarker,
		bounds: func(b boundsSight) bool { return b.fits == equal }, holder: living,
	},
	{
		name: "it began too late or too early",
		want: reused, boot: notAnother, machine: thisMachine, pidns: ourPIDs, numbers: noNumbers, marker: noMarker,
		bounds: func(b boundsSight) bool { return b.fits == differ && !b.impossible }, holder: living,
	},
	{
		name: "it ran before this boot, and its own is not on record",
		want: rebooted, boot: func(b bootSight) bool { return b.record.IsZero() }, machine: thisMachine, pidns: ourPIDs, numbers: noNumbers, marker: noMarker,
		bounds: func(b boundsSight) bool { return b.beforeBoot }, holder: living,
	},
	{
		name: "it ran before this boot, and its own is this one: the clock was set",
		want: "unknown: ", boot: sameBoot, machine: thisMachine, pidns: ourPIDs, numbers: noNumbers, marker: noMarker,
		bounds: func(b boundsSight) bool { return b.beforeBoot || b.impossible }, holder: living,
	},
}

// promiseSet is a set of promises, by their index.
type promiseSet uint64

func promisesOf(of func(p *promise) bool) (set promiseSet) {
	for i := range promises {
		if of(&promises[i]) {
			set |= 1 << i
		}
	}
	return set
}

func holds[T any](f func(T) bool, sight T) bool { return f == nil || f(sight) }

// An option is a sight, or two that belong together, with the worlds in which it is
// seen and the promises that are for it.
type option[T any] struct {
	sight    T
	worlds   worldSet
	promises promiseSet
}

func options[T any](sights []T, allows func(T) worldSet, applies func(*promise, T) bool) []option[T] {
	all := make([]option[T], len(sights))
	for i, sight := range sights {
		all[i] = option[T]{sight, allows(sight), promisesOf(func(p *promise) bool { return applies(p, sight) })}
	}
	return all
}

type (
	numberPair struct {
		unique, start numberSight
		unseen        bool // nothing of the process is to be seen
		tells         bool // they can tell that it is the recorded one
	}
	namespaces struct {
		pidnsSight
		exclusive bool
	}
)

// matrix is all the options, but for the boots.
type matrix struct {
	boot    option[bootSight]
	pidns   []option[namespaces]
	times   []option[timeSight]
	numbers [][]option[numberPair] // by time
	markers []option[markerSight]
	bounds  [2][]option[boundsSight] // by whether others can tell that the clock was set
	holders []option[holderSight]
}

func newMatrix(boot bootSight) *matrix {
	var spaces []namespaces
	for _, p := range pidnsSights() {
		spaces = append(spaces, namespaces{p, false}, namespaces{p, true})
	}
	m := &matrix{
		boot: option[bootSight]{boot, 0, promisesOf(func(p *promise) bool { return holds(p.boot, boot) })},
		pidns: options(spaces, func(n namespaces) worldSet { return n.allows(n.exclusive) },
			func(p *promise, n namespaces) bool { return p.pidns == nil || p.pidns(n.pidnsSight, n.exclusive) }),
		times: options(timeSights(), timeSight.allows,
			func(p *promise, t timeSight) bool { return holds(p.time, t) }),
		markers: options(markerSights(), markerSight.allows,
			func(p *promise, m markerSight) bool { return holds(p.marker, m) }),
		holders: options(holderSights(), holderSight.allows,
			func(p *promise, h holderSight) bool { return p.holder == "" || p.holder == h.name }),
	}
	for _, t := range timeSights() {
		m.numbers = append(m.numbers, options(numberPairs(t),
			func(n numberPair) worldSet { return numbersAllow(n.unique, n.start, t) },
			func(p *promise, n numberPair) bool { return p.numbers == nil || p.numbers(n.unique, n.start) }))
	}
	for i := range m.bounds {
		m.bounds[i] = options(boundsSights(), func(b boundsSight) worldSet { return b.allows(boot.boots, i == 1) },
			func(p *promise, b boundsSight) bool { return holds(p.bounds, b) })
	}
	return m
}

func numberPairs(t timeSight) (pairs []numberPair) {
	for _, unique := range numberSights() {
		for _, start := range numberSights() {
			pairs = append(pairs, numberPair{
				unique: unique, start: start,
				unseen: unique.is == nothing && start.is == nothing,
				tells:  unique.is == equal || start.is == equal && (t.same || t.unknown),
			})
		}
	}
	return pairs
}

// tally counts what a walk through the matrix has seen.
type tally struct {
	combinations, impossible, open int
	states                         [3]int
	promises                       []int
	wrong                          map[string]*mistake
}

// A mistake is a kind of verdict that is wrong.
type mistake struct {
	count int
	first string
}

func newTally() *tally {
	return &tally{promises: make([]int, len(promises)), wrong: map[string]*mistake{}}
}

func (t *tally) add(other *tally) {
	t.combinations += other.combinations
	t.impossible += other.impossible
	t.open += other.open
	for i, n := range other.states {
		t.states[i] += n
	}
	for i, n := range other.promises {
		t.promises[i] += n
	}
}

// walk judges all the combinations of one boot and machine.
func (m *matrix) walk(machine machineSight, t *tally) {
	worlds := m.boot.sight.allows(machine)
	promised := m.boot.promises & promisesOf(func(p *promise) bool { return holds(p.machine, machine) })
	for i := range m.pidns {
		for j := range m.times {
			if fewer() && (3*i+j)%8 != 0 {
				continue
			}
			m.walkProcess(m.numbers[j], &combination{
				machine: machine, pidns: &m.pidns[i], time: &m.times[j],
				worlds:   worlds & m.pidns[i].worlds & m.times[j].worlds,
				promises: promised & m.pidns[i].promises & m.times[j].promises,
			}, t)
		}
	}
}

// walkProcess judges all the combinations of what is seen of the process that has
// the PID. Where nobody has it nothing is seen of its numbers and its environment.
func (m *matrix) walkProcess(numbers []option[numberPair], c *combination, t *tally) {
	c.boot = m.boot.sight
	c.begin()
	for i := range numbers {
		c.setNumbers(&numbers[i])
		pair := &c.numbers.sight
		for j := range m.markers {
			c.setMarker(&m.markers[j])
			marker := &c.marker.sight
			bounds := m.bounds[0]
			if pair.tells || marker.is == equal {
				bounds = m.bounds[1]
			}
			for k := range bounds {
				c.setBounds(&bounds[k])
				for l := range m.holders {
					holder := &m.holders[l]
					if (holder.sight.numbered || pair.unseen) && (holder.sight.readable || marker.unseen()) {
						c.judge(holder, t)
					}
				}
			}
		}
	}
}

// A combination is one sight of each kind, and the record and the process that look
// like it.
type combination struct {
	boot     bootSight
	machine  machineSight
	pidns    *option[namespaces]
	time     *option[timeSight]
	numbers  *option[numberPair]
	marker   *option[markerSight]
	bounds   *option[boundsSight]
	worlds   worldSet
	promises promiseSet

	scopes [2]liveness.Scope // by whether a process can edit its environment
	scope  *liveness.Scope
	id     liveness.Identity
	holder liveness.Holder
}

var errDenied = errors.New("permission denied")

// begin makes the view and the record.
func (c *combination) begin() {
	view := liveness.Identity{Boot: c.boot.view, Namespace: c.pidns.sight.view}
	view.Boot.Machine = c.machine.view
	view.Namespace.Time, view.Namespace.TimeUnique = c.time.sight.view.Time, c.time.sight.view.TimeUnique
	for i := range c.scopes {
		scope := &c.scopes[i]
		*scope = liveness.NewScope(view, liveness.Options{
			ExclusiveNamespace: c.pidns.sight.exclusive, SameMachine: c.machine.sameMachine,
		})
		scope.RememberBoot()
		if c.machine.foreign {
			scope.SetForeign()
		}
	}
	c.scopes[1].SetEditableEnviron()

	c.id = liveness.Identity{PID: 77, Boot: c.boot.record, Namespace: c.pidns.sight.record}
	c.id.Boot.Machine = c.machine.record
	c.id.Namespace.Time, c.id.Namespace.TimeUnique = c.time.sight.record.Time, c.time.sight.record.TimeUnique
	c.holder.Boot, c.holder.Began, c.holder.Now = bootedAt, beganAt, judgedAt
}

func (c *combination) setNumbers(numbers *option[numberPair]) {
	c.numbers = numbers
	c.id.Unique, c.id.Start = numbers.sight.unique.record, numbers.sight.start.record
	c.holder.Unique, c.holder.StartStamp = numbers.sight.unique.holder, numbers.sight.start.holder
}

func (c *combination) setMarker(marker *option[markerSight]) {
	c.marker = marker
	c.scope = &c.scopes[0]
	if marker.sight.editable {
		c.scope = &c.scopes[1]
	}
	c.id.Marker = marker.sight.record
	c.holder.Borrowed = marker.sight.borrowed
	c.holder.Environ, c.holder.NoEnviron = []byte(marker.sight.environ), nil
	if marker.sight.environ == "" {
		c.holder.Environ, c.holder.NoEnviron = nil, errDenied
	}
}

func (c *combination) setBounds(bounds *option[boundsSight]) {
	c.bounds = bounds
	c.id.NotBefore, c.id.NotAfter = bounds.sight.notBefore, bounds.sight.notAfter
}

// judge holds the verdict against the worlds and the promises.
func (c *combination) judge(holder *option[holderSight], t *tally) {
	verdict := c.verdict(&holder.sight)
	t.combinations++
	t.states[verdict.State]++

	possible := c.worlds & holder.worlds
	if holder.sight.numbered {
		possible &= c.numbers.worlds
	}
	if holder.sight.readable {
		possible &= c.marker.worlds & c.bounds.worlds
	}
	switch {
	case possible == 0:
		t.impossible++
	case verdict.State == liveness.Dead && possible&livingWorlds != 0:
		t.mistake(c, holder, verdict, "it can be alive")
	case verdict.State == liveness.Alive && possible&deadWorlds != 0:
		t.mistake(c, holder, verdict, "it can be dead")
	case verdict.State == liveness.Unknown && (possible&livingWorlds == 0 || possible&deadWorlds == 0):
		t.open++
	}

	promised := c.promises & c.numbers.promises & c.marker.promises & c.bounds.promises & holder.promises
	for i := 0; promised != 0; i, promised = i+1, promised>>1 {
		if promised&1 != 0 {
			t.promises[i]++
			if !strings.HasPrefix(sentence(verdict), promises[i].want) {
				t.mistake(c, holder, verdict, promises[i].want+": "+promises[i].name)
			}
		}
	}
}

func (c *combination) verdict(of *holderSight) liveness.Verdict {
	c.id.PID, c.holder.Zombie, c.holder.Denied = of.pid, of.zombie, of.denied
	if of.nobody {
		return c.scope.JudgeEach(&c.id, nil)
	}
	return c.scope.JudgeEach(&c.id, &c.holder)
}

// sentences are those of the verdicts without an error.
var sentences = func() (all [3][]string) {
	for state := range all {
		for reason := range liveness.Unreadable + 1 {
			all[state] = append(all[state], liveness.Verdict{State: liveness.State(state), Reason: reason}.String())
		}
	}
	return all
}()

func sentence(v liveness.Verdict) string { return sentences[v.State][v.Reason] }

// mistake notes a verdict that is wrong, and why.
func (t *tally) mistake(c *combination, holder *option[holderSight], verdict liveness.Verdict, why string) {
	kind := sentence(verdict) + ", but " + why
	if m := t.wrong[kind]; m != nil {
		m.count++
		return
	}
	t.wrong[kind] = &mistake{count: 1, first: fmt.Sprintf(`
	boot:           %s
	machine:        %s
	PID namespace:  %s (ExclusiveNamespace %t)
	time namespace: %s
	unique number:  %s
	start:          %s
	marker:         %s
	bounds:         %s
	who has it:     %s
	record:         %+v`,
		c.boot.name, c.machine.name, c.pidns.sight.name, c.pidns.sight.exclusive, c.time.sight.name,
		c.numbers.sight.unique.name, c.numbers.sight.start.name, c.marker.sight.name, c.bounds.sight.name,
		holder.sight.name, c.id)}
}

// fewer reports whether one in eight of the pairs of namespaces is enough: with
// -short, and with the race detector, which takes twenty times as long.
func fewer() bool { return testing.Short() || proctest.Race }

// TestMatrix goes through all combinations of what can be seen.
func TestMatrix(t *testing.T) {
	t.Parallel()
	total := newTally()
	var mu sync.Mutex
	t.Run("boots", func(t *testing.T) {
		for _, boot := range bootSights() {
			t.Run(boot.name, func(t *testing.T) {
				t.Parallel()
				sum := newTally()
				m := newMatrix(boot)
				for _, machine := range machineSights() {
					m.walk(machine, sum)
				}
				for kind, wrong := range sum.wrong {
					t.Errorf("%s, %d times, first with%s", kind, wrong.count, wrong.first)
				}
				mu.Lock()
				defer mu.Unlock()
				total.add(sum)
			})
		}
	})
	c := qt.New(t)
	t.Logf("%d combinations: %d alive, %d dead, %d unknown", total.combinations,
		total.states[liveness.Alive], total.states[liveness.Dead], total.states[liveness.Unknown])
	t.Logf("%d are in no world, %d are unknown where all worlds agree",
		total.impossible, total.open)
	for i, n := range total.promises {
		c.Check(n > 0 || fewer(), qt.IsTrue, qt.Commentf("no combination is promised: %s", promises[i].name))
	}
}
