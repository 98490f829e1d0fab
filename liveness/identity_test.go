package liveness_test

import (
	"encoding/json"
	"fmt"
	"hash/crc64"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/liveness"
)

const (
	machineA = "0123456789abcdef0123456789abcdef"
	machineB = "fedcba9876543210fedcba9876543210"
	boot1    = "6d4c1e0c-5f0e-4a43-9a3c-0f6c3a1f9b11"
	boot2    = "b5a0a1c2-33f0-4c55-8f0d-3d1f2a7c8e22"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// full has every field.
var full = liveness.Identity{
	PID:       4711,
	Boot:      bootid.ID{Machine: machineA, Boot: boot1, Quality: bootid.Native},
	Namespace: liveness.Namespace{PID: 4026531836, PIDUnique: 3, InitStart: 7, Time: 4026532300, TimeUnique: 11},
	Start:     123456,
	Unique:    98765,
	Marker:    "0193f0a4-7b1c-7d2e-9f30-0123456789ab",
	NotBefore: noon,
	NotAfter:  noon.Add(time.Minute + time.Nanosecond),
}

const fullText = "rollcall1 pid=4711 boot=native/" + machineA + "/" + boot1 +
	" pidns=4026531836 pidnsid=3 init=7 timens=4026532300 timensid=11 start=123456 unique=98765" +
	" marker=0193f0a4-7b1c-7d2e-9f30-0123456789ab" +
	" notbefore=2026-11-24T12:00:00Z notafter=2026-11-24T12:01:00.000000001Z"

// checked ends a text in its check, as String does.
func checked(text string) string {
	if text == "" {
		return ""
	}
	return fmt.Sprintf("%s check=%016x", text, crc64.Checksum([]byte(text), crc64.MakeTable(crc64.ECMA)))
}

func TestFullIdentityHasEveryField(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, part := range []reflect.Value{reflect.ValueOf(full), reflect.ValueOf(full.Namespace)} {
		for _, field := range reflect.VisibleFields(part.Type()) {
			if field.IsExported() {
				c.Check(part.FieldByIndex(field.Index).IsZero(), qt.IsFalse, qt.Commentf("%s", field.Name))
			}
		}
	}
}

// identities has the zero Identity, each field alone with the PID, and all of
// them together.
var identities = []struct {
	name string
	id   liveness.Identity
	text string
}{
	{"zero", liveness.Identity{}, ""},
	{"PID", liveness.Identity{PID: 1}, "rollcall1 pid=1"},
	{"largest PID of Linux", liveness.Identity{PID: 1 << 22}, "rollcall1 pid=4194304"},
	{"boot", liveness.Identity{PID: 1, Boot: full.Boot}, "rollcall1 pid=1 boot=native/" + machineA + "/" + boot1},
	{"boot without machine", liveness.Identity{PID: 1, Boot: bootid.ID{Boot: boot1, Quality: bootid.Native}}, "rollcall1 pid=1 boot=native//" + boot1},
	{"machine without boot", liveness.Identity{PID: 1, Boot: bootid.ID{Machine: machineA}}, "rollcall1 pid=1 boot=none/" + machineA + "/"},
	{"derived boot", liveness.Identity{PID: 1, Boot: bootid.ID{Boot: "17", Quality: bootid.Derived}}, "rollcall1 pid=1 boot=derived//17"},
	{"PID namespace", liveness.Identity{PID: 1, Namespace: liveness.Namespace{PID: 2}}, "rollcall1 pid=1 pidns=2"},
	{"PID namespace's ID", liveness.Identity{PID: 1, Namespace: liveness.Namespace{PIDUnique: 2}}, "rollcall1 pid=1 pidnsid=2"},
	{"init's start", liveness.Identity{PID: 1, Namespace: liveness.Namespace{InitStart: 2}}, "rollcall1 pid=1 init=2"},
	{"time namespace", liveness.Identity{PID: 1, Namespace: liveness.Namespace{Time: 2}}, "rollcall1 pid=1 timens=2"},
	{"time namespace's ID", liveness.Identity{PID: 1, Namespace: liveness.Namespace{TimeUnique: 2}}, "rollcall1 pid=1 timensid=2"},
	{"given boot", liveness.Identity{PID: 1, Boot: bootid.ID{Boot: boot1, Quality: bootid.Given}}, "rollcall1 pid=1 boot=given//" + boot1},
	{"start", liveness.Identity{PID: 1, Start: 2}, "rollcall1 pid=1 start=2"},
	{"largest start", liveness.Identity{PID: 1, Start: math.MaxUint64}, "rollcall1 pid=1 start=18446744073709551615"},
	{"unique", liveness.Identity{PID: 1, Unique: 2}, "rollcall1 pid=1 unique=2"},
	{"marker", liveness.Identity{PID: 1, Marker: "a"}, "rollcall1 pid=1 marker=a"},
	{"marker with spaces and percent", liveness.Identity{PID: 1, Marker: " a 100% b "}, "rollcall1 pid=1 marker=%20a%20100%25%20b%20"},
	{"marker with UTF-8", liveness.Identity{PID: 1, Marker: "Zürich"}, "rollcall1 pid=1 marker=Z%C3%BCrich"},
	{"marker with no UTF-8, NUL, newline", liveness.Identity{PID: 1, Marker: "\xff\x00\n"}, "rollcall1 pid=1 marker=%FF%00%0A"},
	{"marker like a field", liveness.Identity{PID: 1, Marker: "x start=9"}, "rollcall1 pid=1 marker=x%20start=9"},
	{"not before", liveness.Identity{PID: 1, NotBefore: noon}, "rollcall1 pid=1 notbefore=2026-11-24T12:00:00Z"},
	{"not after", liveness.Identity{PID: 1, NotAfter: noon.Add(5 * time.Millisecond)}, "rollcall1 pid=1 notafter=2026-11-24T12:00:00.005Z"},
	{"all", full, fullText},
}

func TestTextRoundTrip(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range identities {
		c.Run(test.name, func(c *qt.C) {
			want := checked(test.text)
			c.Check(test.id.String(), qt.Equals, want)
			parsed, err := liveness.Parse(want)
			c.Assert(err, qt.IsNil)
			c.Check(parsed, qt.Equals, test.id)

			text, err := test.id.MarshalText()
			c.Assert(err, qt.IsNil)
			c.Check(string(text), qt.Equals, want)
			read := full
			c.Assert(read.UnmarshalText(text), qt.IsNil)
			c.Check(read, qt.Equals, test.id)
		})
	}
}

func TestJSONRoundTrip(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	type row struct {
		Name    string            `json:"name"`
		Process liveness.Identity `json:"process"`
		Parent  liveness.Identity `json:"parent,omitzero"`
	}
	for _, test := range identities {
		c.Run(test.name, func(c *qt.C) {
			text, err := json.Marshal(row{Name: "a", Process: test.id})
			c.Assert(err, qt.IsNil)
			c.Check(string(text), qt.Equals, fmt.Sprintf(`{"name":"a","process":%q}`, checked(test.text)))
			read := row{Process: full}
			c.Assert(json.Unmarshal(text, &read), qt.IsNil)
			c.Check(read, qt.Equals, row{Name: "a", Process: test.id})
		})
	}
}

func TestSQLRoundTrip(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range identities {
		c.Run(test.name, func(c *qt.C) {
			value, err := test.id.Value()
			c.Assert(err, qt.IsNil)
			c.Check(value, qt.Equals, checked(test.text))
			for _, column := range []any{value, []byte(checked(test.text))} {
				scanned := full
				c.Assert(scanned.Scan(column), qt.IsNil)
				c.Check(scanned, qt.Equals, test.id)
			}
		})
	}
}

func TestNullScansAsZero(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	scanned := full
	c.Assert(scanned.Scan(nil), qt.IsNil)
	c.Check(scanned.IsZero(), qt.IsTrue)
}

func TestColumnOfAnotherTypeIsRefused(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, value := range []any{int64(4711), 1.5, true, noon} {
		scanned := full
		err := scanned.Scan(value)
		c.Check(err, qt.ErrorIs, liveness.ErrInvalid)
		c.Check(err, qt.ErrorMatches, fmt.Sprintf("liveness: scan identity: invalid identity: a %T, not a text", value))
		c.Check(scanned, qt.Equals, full, qt.Commentf("a failed scan changes nothing"))
	}
	scanned := full
	c.Check(scanned.Scan("4711"), qt.ErrorIs, liveness.ErrInvalid)
	c.Check(scanned, qt.Equals, full)
}

func TestTimesAreWrittenInUTC(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	id := liveness.Identity{PID: 1, NotAfter: noon.In(time.FixedZone("", 3600))}
	c.Check(id.String(), qt.Equals, checked("rollcall1 pid=1 notafter=2026-11-24T12:00:00Z"))
	parsed, err := liveness.Parse(checked("rollcall1 pid=1 notafter=2026-11-24T13:00:00+01:00"))
	c.Assert(err, qt.IsNil)
	c.Check(parsed.NotAfter, qt.Equals, noon)
}

func TestFieldsOfANewerWriterSurvive(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	parsed, err := liveness.Parse(checked("rollcall1 colour=blue pid=12 jail=7%20x start=5 empty="))
	c.Assert(err, qt.IsNil)
	c.Check(parsed.PID, qt.Equals, 12)
	c.Check(parsed.Start, qt.Equals, uint64(5))
	parsed.Start = 6
	c.Check(parsed.String(), qt.Equals, checked("rollcall1 pid=12 start=6 colour=blue jail=7%20x empty="))

	again, err := liveness.Parse(parsed.String())
	c.Assert(err, qt.IsNil)
	c.Check(again, qt.Equals, parsed)
	text, err := json.Marshal(again)
	c.Assert(err, qt.IsNil)
	c.Check(string(text), qt.Contains, "colour=blue")
}

func TestNewerFormatIsRefused(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, text := range []string{
		"rollcall2 pid=1", "rollcall2", "rollcall10 what=ever", "rollcall18446744073709551615 pid=1",
		"rollcall" + strings.Repeat("0", 500) + "2 pid=1",
	} {
		id, err := liveness.Parse(text)
		c.Check(err, qt.ErrorIs, liveness.ErrNewerVersion)
		c.Check(err, qt.ErrorIs, liveness.ErrInvalid)
		c.Check(id.IsZero(), qt.IsTrue)
		c.Check(len(err.Error()) < 300, qt.IsTrue, qt.Commentf("%s", err))
	}
	for _, text := range []string{"rollcall0 pid=1", "rollcall pid=1", "rollcall01 pid=1", "rollcall-1 pid=1", "rollcallx pid=1"} {
		_, err := liveness.Parse(text)
		c.Check(err, qt.ErrorIs, liveness.ErrInvalid)
		c.Check(err, qt.Not(qt.ErrorIs), liveness.ErrNewerVersion, qt.Commentf("%s", text))
	}
}

func TestImpossibleIdentityIsNotMarshalled(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		name string
		id   liveness.Identity
	}{
		{"negative PID", liveness.Identity{PID: -1}},
		{"smallest PID", liveness.Identity{PID: math.MinInt}},
		{"evidence without PID", liveness.Identity{Start: 5}},
		{"boot with a space", liveness.Identity{PID: 1, Boot: bootid.ID{Boot: "a b", Quality: bootid.Native}}},
		{"boot without quality", liveness.Identity{PID: 1, Boot: bootid.ID{Boot: boot1}}},
		{"year that no text has", liveness.Identity{PID: 1, NotAfter: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}},
		{"year before all", liveness.Identity{PID: 1, NotBefore: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)}},
	} {
		c.Run(test.name, func(c *qt.C) {
			_, err := test.id.MarshalText()
			c.Check(err, qt.ErrorIs, liveness.ErrInvalid)
			c.Check(err, qt.ErrorMatches, "liveness: marshal identity: .*")
			_, err = test.id.Value()
			c.Check(err, qt.ErrorIs, liveness.ErrInvalid)
			_, err = json.Marshal(test.id)
			c.Check(err, qt.ErrorIs, liveness.ErrInvalid)
		})
	}
}
