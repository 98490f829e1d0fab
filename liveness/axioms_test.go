package liveness_test

import (
	"time"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/liveness"
)

// This file states the rules of evidence a second time, from the other end: not how
// a verdict is found, but in which worlds a process that is alive or dead would be
// seen as it is. TestMatrix holds the two against each other.
//
// A world is what is true and cannot be seen. Each thing that can be seen, a sight,
// rules worlds out. Dead is wrong while a world is left in which the recorded process
// lives, and Alive is wrong while one is left in which it does not.
//
// The axioms:
//
//   - A process lives in one boot of one machine, and in one PID namespace. While it
//     lives nobody else has its PID in that namespace, and its namespace's number
//     belongs to no other namespace.
//   - Its unique number is given to no other process of its boot, and the ID of a
//     namespace to no other namespace of its boot. Its start is what it was, and so is
//     that of PID 1, if it is read through a clock with the same offset.
//   - Two native boot IDs of one machine that differ are two boots. Two given ones
//     that differ are two boots, or two containers in one boot, which may share a PID
//     namespace. A native and a given one can be two views of one boot. What is derived, unreadable, or not in
//     the form of a boot ID tells nothing.
//   - No other process with the PID has the marker, except in a PID namespace beside
//     the recorded one. A process can lose its marker, by executing a program with
//     another environment.
//   - A process whose start is bounded ran at its NotAfter, with the PID.
//
// The limits, which the package documentation admits, are axioms too. Each is marked
// with the word limit where it rules worlds out.

// A world is one way in which things can be.
type world struct {
	lives  bool
	boot   bootOf
	pidns  namespaceOf
	clock  bool // both readings of start stamps are through clocks with one offset
	same   bool // the process with the PID, in the judge's namespace, is the recorded one
	execed bool // and it has lost its marker
	set    bool // the wall clock was set, so that the bounds are wrong
}

// bootOf says what became of the boot in which the process was recorded.
type bootOf uint8

const (
	running   bootOf = iota // it is the judge's
	over                    // the judge's machine has been booted since
	repeated                // the same, and the later boot has the same boot ID
	elsewhere               // it is that of another machine
)

// namespaceOf says what became of the PID namespace in which the process was
// recorded.
type namespaceOf uint8

const (
	ours   namespaceOf = iota // it is the judge's
	gone                      // it is another one and has ended
	beside                    // it is another one and exists
)

// worlds are those that the axioms allow, whatever is seen.
var worlds = func() (all []world) {
	add := func(w world) { all = append(all, w) }
	for _, set := range []bool{false, true} {
		add(world{boot: over, pidns: gone, set: set})
		for _, lives := range []bool{false, true} {
			add(world{boot: elsewhere, pidns: beside, lives: lives, set: set})
		}
		for _, clock := range []bool{false, true} {
			in := world{clock: clock, set: set}
			add(world{boot: repeated, pidns: gone, clock: clock, set: set})
			add(world{pidns: gone, clock: clock, set: set})
			for _, in.pidns = range []namespaceOf{ours, beside} {
				in.lives, in.same, in.execed = false, false, false
				add(in)
				in.same = true // a zombie
				add(in)
				in.lives = true
				add(in)
				in.execed = true
				add(in)
			}
			// In a namespace beside the judge's, it lives and somebody else has its PID here.
			add(world{pidns: beside, lives: true, clock: clock, set: set})
		}
	}
	return all
}()

// worldSet is a set of worlds, by their index.
type worldSet uint64

// where returns the worlds of which fits is true.
func where(fits func(w world) bool) (set worldSet) {
	for i, w := range worlds {
		if fits(w) {
			set |= 1 << i
		}
	}
	return set
}

var (
	livingWorlds = where(func(w world) bool { return w.lives })
	deadWorlds   = where(func(w world) bool { return !w.lives })
)

// says is what two sides say about each other.
type says uint8

const (
	nothing says = iota // it is missing on a side, or cannot be compared
	equal
	differ
)

// bootSight is the boot that was recorded and the boot that the judge reads.
type bootSight struct {
	name         string
	record, view bootid.ID // without their machines
	boots        says
	random       bool // an equal one is no other machine's
}

func bootSights() []bootSight {
	id := func(quality bootid.Quality, boot string) bootid.ID { return bootid.ID{Boot: boot, Quality: quality} }
	const (
		uuidA, uuidB = "0f1e2d3c-4b5a-4697-8877-665544332211", "1e2d3c4b-5a69-4788-9766-554433221100"
		upper        = "0F1E2D3C-4B5A-4697-8877-665544332211"
	)
	var (
		nativeA, nativeB   = id(bootid.Native, uuidA), id(bootid.Native, uuidB)
		givenA, givenB     = id(bootid.Given, uuidA), id(bootid.Given, uuidB)
		derivedA, derivedB = id(bootid.Derived, "start-100"), id(bootid.Derived, "start-101")
		derivedUUID        = id(bootid.Derived, uuidA)
		counterA, counterB = id(bootid.Native, "counter-24"), id(bootid.Native, "counter-25")
		unread             bootid.ID
	)
	return []bootSight{
		{"equal native", nativeA, nativeA, equal, true},
		{"equal given", givenA, givenA, equal, true},
		{"equal derived", derivedA, derivedA, equal, false},
		{"equal counters", counterA, counterA, equal, false},

		{"other native", nativeA, nativeB, differ, false},
		{"other given", givenA, givenB, differ, false},
		{"other counter", counterA, counterB, differ, false},
		{"native UUID and counter", nativeA, counterA, nothing, false},
		{"other derived", derivedA, derivedB, nothing, false},

		{"native and given", nativeA, givenB, nothing, false},
		{"given and native, one text", givenA, nativeA, nothing, false},
		{"native and derived", nativeA, derivedB, nothing, false},
		{"derived and native, one text", derivedUUID, nativeA, nothing, false},
		{"given and derived", givenA, derivedB, nothing, false},
		{"counter and derived", counterA, derivedB, nothing, false},

		{"not recorded", unread, nativeA, nothing, false},
		{"unreadable here", nativeA, unread, nothing, false},
		{"unreadable on both sides", unread, unread, nothing, false},

		{"record in upper case", id(bootid.Native, upper), nativeA, nothing, false},
		{"record of no quality", id(0, uuidA), nativeA, nothing, false},
		{"invalid here", nativeA, id(bootid.Native, upper), nothing, false},
		{"invalid on both sides, one text", id(bootid.Native, upper), id(bootid.Native, upper), nothing, false},
	}
}

// containers reports whether the boot IDs are those of two runs of a container, or of
// two containers.
func (b bootSight) containers() bool {
	return b.boots == differ && b.record.Quality == bootid.Given && b.view.Quality == bootid.Given
}

// machineSight is the machine ID of both sides, and what is known of them besides.
type machineSight struct {
	name         string
	record, view string
	sameMachine  bool // Options.SameMachine
	foreign      bool // the judge's view may be one of another machine
	other        bool // the process may be another machine's
}

func machineSights() []machineSight {
	return []machineSight{
		// Limit: machines that were cloned with their ID count as one.
		{name: "equal", record: "aa", view: "aa"},
		{name: "other", record: "aa", view: "bb", other: true},
		{name: "other, of this machine as the host says", record: "aa", view: "bb", sameMachine: true},
		// Limit: machines without an ID count as this one.
		{name: "not recorded", view: "aa"},
		{name: "none here", record: "aa"},
		{name: "none", record: "", view: ""},
		{name: "none, of this machine as the host says", sameMachine: true},
		{name: "none here, which may be another machine", record: "aa", foreign: true, other: true},
		{name: "the same, of this machine as the host says", record: "aa", foreign: true, sameMachine: true},
	}
}

// allows returns the worlds in which the boots and machines look like this.
func (b bootSight) allows(m machineSight) worldSet {
	return where(func(w world) bool {
		switch w.boot {
		case running:
			return b.boots != differ || b.containers()
		case over:
			return b.boots != equal
		case repeated:
			return b.boots == equal
		default:
			// Limit: a clone of a running virtual machine has its boot ID. What is
			// not in the form of a boot ID has no machine either.
			return m.other && !b.random && b.record.Valid() && b.view.Valid()
		}
	})
}

// pidnsSight is the PID namespace that was recorded and that of the judge.
type pidnsSight struct {
	name         string
	record, view liveness.Namespace
	recorded     bool
	numbers      says
	ids, inits   says
}

func pidnsSights() []pidnsSight {
	at := func(number, id, init uint64) liveness.Namespace {
		return liveness.Namespace{PID: number, PIDUnique: id, InitStart: init}
	}
	none := liveness.Namespace{}
	return []pidnsSight{
		{"none", none, none, false, nothing, nothing, nothing},
		{"not recorded", none, at(7, 1, 20), false, nothing, nothing, nothing},
		{"unreadable here", at(7, 1, 20), none, true, nothing, nothing, nothing},

		{"same number and ID", at(7, 1, 0), at(7, 1, 20), true, equal, equal, nothing},
		{"same number, ID and init", at(7, 1, 20), at(7, 1, 20), true, equal, equal, equal},
		{"same number and ID, other init", at(7, 1, 20), at(7, 1, 21), true, equal, equal, differ},
		{"same number and init", at(7, 0, 20), at(7, 0, 20), true, equal, nothing, equal},
		{"same number", at(7, 0, 0), at(7, 0, 0), true, equal, nothing, nothing},
		{"same number, ID and init unreadable here", at(7, 1, 20), at(7, 0, 0), true, equal, nothing, nothing},

		{"number given again: other ID", at(7, 1, 0), at(7, 2, 20), true, equal, differ, nothing},
		{"number given again: other ID, same init", at(7, 1, 20), at(7, 2, 20), true, equal, differ, equal},
		{"number given again: other init", at(7, 0, 20), at(7, 0, 21), true, equal, nothing, differ},

		{"other number", at(7, 0, 0), at(8, 0, 0), true, differ, nothing, nothing},
		{"other number and ID", at(7, 1, 20), at(8, 2, 21), true, differ, differ, differ},
	}
}

// allows returns the worlds in which the PID namespaces look like this.
func (p pidnsSight) allows(exclusive bool) worldSet {
	return where(func(w world) bool {
		if w.boot != running {
			return true // that of another boot can have any of the numbers
		}
		if exclusive && w.pidns == beside && w.lives {
			return false // the host's word
		}
		if !p.recorded {
			return w.pidns == ours // limit: what was not recorded counts as this one
		}
		if p.ids != nothing && (p.ids == equal) != (w.pidns == ours) {
			return false
		}
		if w.pidns == ours && p.inits != nothing && (p.inits == equal) != w.clock {
			return false // the start of one PID 1, through one clock or through two
		}
		if p.numbers == equal && p.inits == equal && p.ids == nothing && w.pidns != ours {
			return false // limit: the number was given again, to one whose PID 1 has that start
		}
		switch p.numbers {
		case equal:
			return w.pidns != beside
		case differ:
			return w.pidns != ours
		default:
			return true
		}
	})
}

// timeSight is the time namespace that was recorded and that of the judge.
type timeSight struct {
	name         string
	record, view liveness.Namespace
	same         bool // the two have one offset; otherwise they may
	unknown      bool // there is none on record
}

func timeSights() []timeSight {
	at := func(number, id uint64) liveness.Namespace { return liveness.Namespace{Time: number, TimeUnique: id} }
	const initial = 4026531834 // PROC_TIME_INIT_INO of Linux
	return []timeSight{
		{"none", at(0, 0), at(0, 0), true, true},
		{"initial", at(initial, 0), at(initial, 0), true, false},
		{"same by ID", at(9, 3), at(9, 3), true, false},
		{"same number, which can have been given again", at(9, 0), at(9, 0), false, false},
		{"number given again: other ID", at(9, 3), at(9, 4), false, false},
		{"other than the initial", at(initial, 0), at(9, 3), false, false},
		{"not recorded", at(0, 0), at(initial, 0), false, true},
		{"unreadable here", at(initial, 0), at(0, 0), false, false},
	}
}

func (t timeSight) allows() worldSet {
	return where(func(w world) bool {
		switch w.boot {
		case running:
			return w.clock || !t.same
		case repeated:
			// Limit: a boot ID that repeats is noticed by start stamps that surely
			// can be compared.
			return w.clock == t.same
		default:
			return true
		}
	})
}

// numberSight is a number of the record and that of the process with the PID.
type numberSight struct {
	name           string
	record, holder uint64
	is             says
}

func numberSights() []numberSight {
	return []numberSight{
		{"not recorded", 0, 500, nothing},
		{"unreadable", 500, 0, nothing},
		{"equal", 500, 500, equal},
		{"other", 500, 501, differ},
	}
}

// numbersAllow returns the worlds in which Unique and Start of the process with the
// PID look like this.
func numbersAllow(unique, start numberSight, clocks timeSight) worldSet {
	recorded := unique.record != 0 || start.record != 0
	return where(func(w world) bool {
		// Limit: what was not recorded counts as this one.
		sameStart := start.is == equal && (w.clock || clocks.unknown)
		otherStart := start.is == differ && w.clock
		switch w.boot {
		case running:
		case repeated:
			// Limit: where a boot ID repeats, not all numbers of the process do.
			return (unique.is != equal || otherStart) && (start.is != equal || unique.is == differ)
		default:
			return true // they can come to anything
		}
		if w.execed && !recorded {
			return false // limit: a marker alone is taken for one that is not lost
		}
		switch {
		case unique.is != nothing && (unique.is == equal) != w.same:
			return false
		case otherStart:
			return !w.same
		case sameStart:
			// Limit: an equal start is the same process, but for namespaces that
			// exist beside each other; a PID was not given again within a tick.
			return w.same || w.pidns == beside
		case start.is == equal:
			return !w.same // through another clock, its own would look different
		}
		return true
	})
}

// markerSight is a recorded marker and the environment of the process with the PID.
type markerSight struct {
	name     string
	record   string
	environ  string // empty if it cannot be read
	editable bool   // on this system a process can edit it
	borrowed bool   // it is that of its parent
	is       says   // equal if the marker is there, differ if it is surely missing
}

func markerSights() []markerSight {
	const (
		present = "A=1\x00ROLLCALL_MARKER=m\x00"
		absent  = "A=1\x00"
		odd     = "=\x00" // Go's exec passes such on
	)
	return []markerSight{
		{"not recorded", "", present, false, false, nothing},
		{"present", "m", present, false, false, equal},
		{"present beside an odd entry", "m", odd + present, false, false, equal},
		{"absent", "m", absent, false, false, differ},
		{"another one", "m", absent + "ROLLCALL_MARKER=n\x00", false, false, differ},
		{"absent beside an odd entry", "m", odd + absent, false, false, nothing},
		{"absent in an environment that can be edited", "m", absent, true, false, nothing},
		{"unreadable", "m", "", false, false, nothing},
		{"absent in the environment of the parent", "m", absent, false, true, nothing},
	}
}

// unseen reports whether nothing of the process is to be seen.
func (m markerSight) unseen() bool { return m.record == "" || m.environ == "" }

func (m markerSight) allows() worldSet {
	return where(func(w world) bool {
		switch m.is {
		case equal:
			return w.same && !w.execed || w.pidns == beside
		case differ:
			return !w.same || !w.lives || w.execed
		default:
			return true
		}
	})
}

// boundsSight is the bounds of the start that were recorded, held against that of the
// process with the PID.
type boundsSight struct {
	name                string
	notBefore, notAfter time.Time
	fits                says // equal if it had the PID at NotAfter, differ if it began too late or too early
	beforeBoot          bool // the recorded process ran before this boot
	impossible          bool // the clock was set
}

var (
	bootedAt        = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	beganAt         = bootedAt.Add(time.Hour) // the process with the PID
	judgedAt        = bootedAt.Add(10 * time.Hour)
	justBefore      = beganAt.Add(-time.Minute)
	justAfter       = beganAt.Add(time.Minute)
	beforeTheBoot   = bootedAt.Add(-time.Minute)
	afterTheVerdict = judgedAt.Add(time.Minute)
)

func boundsSights() []boundsSight {
	var none time.Time
	return []boundsSight{
		{"none", none, none, nothing, false, false},
		{"NotAfter fits", none, justAfter, equal, false, false},
		{"NotBefore fits", justBefore, none, nothing, false, false},
		{"it began after NotAfter", none, justBefore, differ, false, false},
		{"it began before NotBefore", justAfter, none, differ, false, false},
		{"NotAfter in the future", none, afterTheVerdict, nothing, false, true},
		{"NotBefore in the future", afterTheVerdict, none, nothing, false, true},
		{"NotAfter in the future, it began before NotBefore", justAfter, afterTheVerdict, differ, false, true},
		{"NotAfter before the boot", none, beforeTheBoot, nothing, true, false},
		{"they exclude each other", justAfter, justBefore, differ, false, true},
	}
}

// allows returns the worlds in which the bounds look like this. Others is whether
// anything else is seen by which a clock that was set can be noticed.
func (b boundsSight) allows(boots says, others bool) worldSet {
	return where(func(w world) bool {
		if w.set {
			// Limit: NotBefore and NotAfter trust the wall clock, unless they
			// contradict the clock, the boot, or stronger evidence.
			return b.impossible || b.beforeBoot && boots == equal || others && w.same
		}
		switch {
		case b.impossible:
			return false
		case b.beforeBoot:
			return w.boot != running
		case b.fits == equal:
			// At NotAfter, in this boot, both had the PID.
			return w.boot == elsewhere || w.boot == running && (w.same || w.pidns == beside)
		case b.fits == differ:
			return !w.same
		}
		return true
	})
}

// holderSight is whether somebody has the PID.
type holderSight struct {
	name     string
	pid      int
	nobody   bool
	zombie   bool
	denied   error
	numbered bool // its numbers can be read
	readable bool // and its environment, and its start in wall time
}

const impossiblePID = 1<<22 + 1 // beyond those that this system gives

func holderSights() []holderSight {
	return []holderSight{
		{name: "nobody", pid: 77, nobody: true},
		{name: "nobody, it is an impossible number", pid: impossiblePID, nobody: true},
		{name: "a living process", pid: 77, numbered: true, readable: true},
		{name: "a zombie", pid: 77, zombie: true, numbered: true},
		{name: "one that may not be looked at", pid: 77, denied: errDenied},
	}
}

func (h holderSight) allows() worldSet {
	return where(func(w world) bool {
		switch here := w.boot == running && w.pidns == ours; {
		case h.pid == impossiblePID && w.boot != elsewhere && w.lives:
			return false
		case h.nobody:
			return !w.same && (!here || !w.lives)
		case h.zombie:
			return !w.lives || (!w.same && !here)
		case h.numbered:
			return !w.same || w.lives
		default:
			return true
		}
	})
}
