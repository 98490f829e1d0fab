package lifecycle_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

// invalid holds what is wrong with a record, whether judging needs it, and
// which error it is.
var invalid = []struct {
	name  string
	spoil func(*lifecycle.Record)
	judge bool
	want  error
}{
	{"no name", func(r *lifecycle.Record) { r.Name = "" }, true, lifecycle.ErrInvalidRecord},
	{"no incarnation", func(r *lifecycle.Record) { r.Incarnation = "" }, true, lifecycle.ErrInvalidRecord},
	{"no such phase", func(r *lifecycle.Record) { r.Phase = 3 }, true, lifecycle.ErrInvalidRecord},
	{"a negative PID", func(r *lifecycle.Record) { r.Identity.PID = -1 }, true, liveness.ErrInvalid},
	{"no PID", func(r *lifecycle.Record) { r.Identity.PID = 0 }, true, liveness.ErrInvalid},
	{"a huge PID", func(r *lifecycle.Record) { r.Identity.PID = math.MaxInt }, math.MaxInt > math.MaxUint32, liveness.ErrInvalid},
	{"Data that is no JSON", func(r *lifecycle.Record) { r.Data = json.RawMessage("{") }, false, lifecycle.ErrInvalidRecord},
	{"empty Data", func(r *lifecycle.Record) { r.Data = json.RawMessage{} }, false, lifecycle.ErrInvalidRecord},
	{"Data that is nested too deep", func(r *lifecycle.Record) { r.Data = nested(1001) }, false, lifecycle.ErrInvalidRecord},
	{"Data that no decoder of Go reads", func(r *lifecycle.Record) { r.Data = nested(10_001) }, false, lifecycle.ErrInvalidRecord},
	{"a heartbeat that has no text", func(r *lifecycle.Record) { r.Heartbeat.Boot.Boot = "a b" }, false, lifecycle.ErrInvalidRecord},
}

func TestInvalidRecordsAreRefused(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	for _, test := range invalid {
		c.Run(test.name, func(c *qt.C) {
			record := tracking(w, "a", w.Start())
			c.Assert(record.Validate(), qt.IsNil)
			test.spoil(&record)
			if test.name == "a huge PID" && !test.judge {
				c.Skip("no int is larger than a PID here")
			}
			c.Assert(record.Validate(), qt.ErrorIs, test.want)
			c.Assert(record.Validate(), qt.ErrorIs, lifecycle.ErrInvalidRecord)
			if !test.judge {
				return
			}
			got, err := newCleaner(w, new(memstore.Store)).Decide(record)
			c.Assert(err, qt.ErrorIs, test.want)
			c.Assert(err, qt.ErrorMatches, `lifecycle: judge record: .*`)
			c.Assert(got.Stop, qt.IsFalse)
		})
	}
}

// nested is JSON of so many levels.
func nested(levels int) json.RawMessage {
	return json.RawMessage(strings.Repeat("[", levels) + strings.Repeat("]", levels))
}

func TestDataMayHaveAThousandLevels(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	record := lifecycle.Record{Name: "a", Incarnation: "1", Data: nested(1000)}
	c.Assert(record.Validate(), qt.IsNil)
	record.Data = nested(1001)
	c.Assert(record.Validate(), qt.ErrorMatches, `invalid record: "a": Data is nested deeper than 1000 levels`)
	record.Data = nested(1000)[:1999]
	c.Assert(record.Validate(), qt.ErrorMatches, `invalid record: "a": Data is not JSON`)
}

func TestLevelsOfJSONAreCounted(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, text string
		want       int
	}{
		{"a number", `12345678901`, 0},
		{"a text", `"[[[[{{{{"`, 0},
		{"an empty array", `[         ]`, 1},
		{"beside each other", `[[],[],{},{},{}]`, 2},
		{"an object", `{"a":{"b":{"c":[]}}}`, 4},
		{"the deepest comes last", `[[],[[]],{"a":[[]]}]`, 4},
		{"brackets in a key", `{"[[[{":{"]]]}":1}}`, 2},
		{"a quote in a text", `["\"[[[[", "[[[["]`, 1},
		{"a backslash at the end of a text", `["\\",[["\\\\"]]]`, 3},
		{"a backslash and a quote", `["\\\"[[[",[]]`, 2},
		{"an escape of a bracket", `["\u005b\u005b",{"\u007b":1}]`, 2},
		{"a quote as an escape", `["\u0022[[[["]`, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := qt.New(t)
			c.Assert(levels(t, []byte(test.text)), qt.Equals, test.want)
			for limit := range 5 {
				c.Assert(lifecycle.NestsDeeper([]byte(test.text), limit), qt.Equals, test.want > limit, qt.Commentf("%d", limit))
			}
		})
	}
}

// levels counts the levels of JSON by a decoder.
func levels(t *testing.T, text []byte) (deepest int) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	for depth := 0; ; {
		switch token, err := decoder.Token(); {
		case err == io.EOF:
			return deepest
		case err != nil:
			t.Fatalf("%q: %v", text, err)
		case token == json.Delim('[') || token == json.Delim('{'):
			depth++
			deepest = max(deepest, depth)
		case token == json.Delim(']') || token == json.Delim('}'):
			depth--
		}
	}
}

// The real Liveness agrees with the scripted one on what is no PID.
func TestInvalidPIDsOfTheRunningSystem(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	cleaner := lifecycle.Cleaner{Store: new(memstore.Store)}
	for _, pid := range []int{-1, math.MinInt} {
		record := lifecycle.Record{Name: "a", Incarnation: "1", Identity: liveness.Identity{PID: pid}}
		got, err := cleaner.Decide(record)
		c.Assert(got.Stop, qt.IsFalse)
		if !errors.Is(got.Verdict.Err, errors.ErrUnsupported) {
			c.Assert(err, qt.ErrorIs, liveness.ErrInvalid)
		}
	}
}

func TestRecordSurvivesJSON(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	for _, phase := range []lifecycle.Phase{lifecycle.Running, lifecycle.Launching, lifecycle.Inactive} {
		want := tracking(w, "a", w.StartMarked("marker"))
		want.Phase, want.Owner, want.Parent, want.Data = phase, "laptop", "b", json.RawMessage(`{"n":1.50}`)
		text, err := json.Marshal(lifecycle.Snapshot{Record: want, Bindings: []string{"k"}})
		c.Assert(err, qt.IsNil)
		var got lifecycle.Snapshot
		c.Assert(json.Unmarshal(text, &got), qt.IsNil)
		c.Assert(got.SameState(want), qt.IsTrue, qt.Commentf("%s", text))
		c.Assert(string(got.Data), qt.Equals, `{"n":1.50}`)
		c.Assert(got.Bindings, qt.DeepEquals, []string{"k"})
		c.Assert(got.Owner+got.Parent+got.Name+got.Incarnation, qt.Equals, "laptopbaa-1")
	}
}

func TestPhaseText(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	c.Assert(lifecycle.Launching.String(), qt.Equals, "launching")
	c.Assert(lifecycle.Phase(7).String(), qt.Equals, "invalid(7)")
	_, err := lifecycle.Phase(7).MarshalText()
	c.Assert(err, qt.ErrorIs, lifecycle.ErrInvalidRecord)
	phase := lifecycle.Inactive
	c.Assert(phase.UnmarshalText([]byte("asleep")), qt.ErrorIs, lifecycle.ErrInvalidRecord)
	c.Assert(phase, qt.Equals, lifecycle.Inactive)
}

func TestSameStateIsPhaseIdentityAndHeartbeat(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	record := tracking(w, "a", w.Start())
	for what, test := range map[string]struct {
		change func(*lifecycle.Record)
		same   bool
	}{
		"nothing":         {func(*lifecycle.Record) {}, true},
		"wall time zone":  {func(r *lifecycle.Record) { r.Heartbeat.Wall = r.Heartbeat.Wall.In(time.FixedZone("", 3600)) }, true},
		"Data":            {func(r *lifecycle.Record) { r.Data = json.RawMessage("1") }, true},
		"phase":           {func(r *lifecycle.Record) { r.Phase = lifecycle.Inactive }, false},
		"PID":             {func(r *lifecycle.Record) { r.Identity.PID++ }, false},
		"start":           {func(r *lifecycle.Record) { r.Identity.Start++ }, false},
		"heartbeat":       {func(r *lifecycle.Record) { r.Heartbeat.Awake++ }, false},
		"heartbeat boot":  {func(r *lifecycle.Record) { r.Heartbeat.Boot.Boot = "another" }, false},
		"heartbeat clock": {func(r *lifecycle.Record) { r.Heartbeat.Wall = r.Heartbeat.Wall.Add(1) }, false},
	} {
		other := record
		test.change(&other)
		c.Assert(record.SameState(other), qt.Equals, test.same, qt.Commentf("%s changed", what))
		c.Assert(other.SameState(record), qt.Equals, test.same, qt.Commentf("%s changed", what))
	}
}

// brokenClock cannot be read.
type brokenClock struct{ boot, awake error }

func (b brokenClock) Boot() (bootid.ID, error) {
	return bootid.ID{Boot: "b", Quality: bootid.Native}, b.boot
}
func (b brokenClock) Awake() (time.Duration, error) { return time.Hour, b.awake }

func TestNothingIsStaleByAClockThatCannotBeRead(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	w := livenesstest.New()
	for _, clock := range []brokenClock{{boot: errors.ErrUnsupported}, {awake: errors.ErrUnsupported}} {
		beat := lifecycle.Beat(clock)
		c.Assert(beat.Boot.IsZero(), qt.IsTrue)
		c.Assert(beat.Awake, qt.Equals, time.Duration(0))
		c.Assert(beat.Wall.IsZero(), qt.IsFalse)
		c.Assert(beat.IsZero(), qt.IsFalse)

		cleaner := lifecycle.Cleaner{Store: new(memstore.Store), Liveness: w, Clock: clock, StaleAfter: 1, LaunchTimeout: 1, InactiveAfter: 1}
		for _, phase := range []lifecycle.Phase{lifecycle.Running, lifecycle.Launching, lifecycle.Inactive} {
			record := newRecord(w, "a")
			record.Phase = phase
			got, err := cleaner.Decide(record)
			c.Assert(err, qt.IsNil)
			c.Assert(got.Stop, qt.IsFalse)
		}
	}
}

func TestBeatOfTheRunningSystem(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	boot, err := bootid.Current()
	if err != nil {
		proctest.Skip(c, "%v", err)
	}
	before, err := bootid.Awake()
	c.Assert(err, qt.IsNil)
	beat := lifecycle.Beat(nil)
	after, err := bootid.Awake()
	c.Assert(err, qt.IsNil)
	c.Assert(beat.Boot, qt.Equals, boot)
	c.Assert(before <= beat.Awake && beat.Awake <= after, qt.IsTrue)
}
