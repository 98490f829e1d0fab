package bootid_test

import (
	"encoding/json"
	"strings"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/bootid"
)

const (
	machineA = "0123456789abcdef0123456789abcdef"
	machineB = "fedcba9876543210fedcba9876543210"
	boot1    = "6d4c1e0c-5f0e-4a43-9a3c-0f6c3a1f9b11"
	boot2    = "b5a0a1c2-33f0-4c55-8f0d-3d1f2a7c8e22"
)

func native(machine, boot string) bootid.ID {
	return bootid.ID{Machine: machine, Boot: boot, Quality: bootid.Native}
}

func given(machine, boot string) bootid.ID {
	return bootid.ID{Machine: machine, Boot: boot, Quality: bootid.Given}
}

func derived(machine, boot string) bootid.ID {
	return bootid.ID{Machine: machine, Boot: boot, Quality: bootid.Derived}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		name string
		a, b bootid.ID
		want bootid.Relation
	}{
		{"equal", native(machineA, boot1), native(machineA, boot1), bootid.SameBoot},
		{"another boot", native(machineA, boot1), native(machineA, boot2), bootid.OtherBoot},
		{"another machine, another boot", native(machineA, boot1), native(machineB, boot2), bootid.OtherMachine},
		{"another machine ID, equal boot: the machine ID was made anew", native(machineA, boot1), native(machineB, boot1), bootid.SameBoot},
		{"another machine, equal counters", native(machineA, "counter-7"), native(machineB, "counter-7"), bootid.OtherMachine},
		{"equal counters", native(machineA, "counter-7"), native(machineA, "counter-7"), bootid.SameBoot},
		{"another counter", native(machineA, "counter-7"), native(machineA, "counter-8"), bootid.OtherBoot},
		{"given and equal", given(machineA, boot1), given(machineA, boot1), bootid.SameBoot},
		{"given and unequal: another run of a container", given(machineA, boot1), given(machineA, boot2), bootid.OtherBoot},
		{"given, no machine", given("", boot1), given("", boot2), bootid.OtherBoot},
		{"given, another machine, unequal", given(machineA, boot1), given(machineB, boot2), bootid.OtherMachine},
		{"given, another machine ID, equal: the machine ID was made anew", given(machineA, boot1), given(machineB, boot1), bootid.SameBoot},
		{"a UUID and a counter, of two systems on one volume", native("", boot1), native("", "counter-7"), bootid.Incomparable},
		{"given and native: two views of one boot", given(machineA, boot1), native(machineA, boot2), bootid.Incomparable},
		{"given and native of equal text", given(machineA, boot1), native(machineA, boot1), bootid.Incomparable},
		{"given and derived", given(machineA, boot1), derived(machineA, "init-7"), bootid.Incomparable},
		{"upper case", native("", strings.ToUpper(boot1)), native("", boot1), bootid.Incomparable},
		{"without dashes", native("", strings.ReplaceAll(boot1, "-", "")), native("", boot1), bootid.Incomparable},
		{"with the newline of the file", native("", boot1+"\n"), native("", boot1), bootid.Incomparable},
		{"cut short", native("", boot1[:35]), native("", boot1), bootid.Incomparable},
		{"no UUID", native("", "42"), native("", boot1), bootid.Incomparable},
		{"no UUID on both sides", native("", "42"), native("", "42"), bootid.Incomparable},
		{"the nil UUID", native("", "00000000-0000-0000-0000-000000000000"), native("", boot1), bootid.Incomparable},
		{"a quality that does not exist", bootid.ID{Boot: boot1, Quality: 9}, native("", boot2), bootid.Incomparable},
		{"no quality", bootid.ID{Boot: boot1}, native("", boot2), bootid.Incomparable},
		{"a machine with a space", native("a b", boot1), native("a b", boot2), bootid.Incomparable},
		{"one machine missing, equal boot", native("", boot1), native(machineA, boot1), bootid.SameBoot},
		{"one machine missing, another boot", native("", boot1), native(machineA, boot2), bootid.OtherBoot},
		{"both machines missing, equal boot", native("", boot1), native("", boot1), bootid.SameBoot},
		{"both machines missing, another boot", native("", boot1), native("", boot2), bootid.OtherBoot},
		{"derived and equal", derived(machineA, "7"), derived(machineA, "7"), bootid.SameBoot},
		{"derived and unequal", derived(machineA, "7"), derived(machineA, "8"), bootid.Incomparable},
		{"derived and native of equal text", derived(machineA, boot1), native(machineA, boot1), bootid.Incomparable},
		{"derived and native of unequal text", derived(machineA, boot1), native(machineA, boot2), bootid.Incomparable},
		{"both zero", bootid.ID{}, bootid.ID{}, bootid.Incomparable},
		{"zero and readable", bootid.ID{}, native(machineA, boot1), bootid.Incomparable},
		{"both unreadable on one machine", bootid.ID{Machine: machineA}, bootid.ID{Machine: machineA}, bootid.Incomparable},
		{"both unreadable on two machines", bootid.ID{Machine: machineA}, bootid.ID{Machine: machineB}, bootid.OtherMachine},
		{"unreadable and readable", bootid.ID{Machine: machineA}, native(machineA, boot1), bootid.Incomparable},
		{"two empty boots said to be native", native(machineA, ""), native(machineA, ""), bootid.Incomparable},
	} {
		c.Run(test.name, func(c *qt.C) {
			c.Check(test.a.Compare(test.b), qt.Equals, test.want)
			c.Check(test.b.Compare(test.a), qt.Equals, test.want, qt.Commentf("the other way round"))
		})
	}
}

func TestNamesOfRelationsAndQualities(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	c.Check(bootid.SameBoot.String(), qt.Equals, "same boot")
	c.Check(bootid.OtherBoot.String(), qt.Equals, "other boot")
	c.Check(bootid.OtherMachine.String(), qt.Equals, "other machine")
	c.Check(bootid.Incomparable.String(), qt.Equals, "incomparable")
	c.Check(bootid.Relation(99).String(), qt.Equals, "incomparable")
	c.Check(bootid.Native.String(), qt.Equals, "native")
	c.Check(bootid.Given.String(), qt.Equals, "given")
	c.Check(bootid.Derived.String(), qt.Equals, "derived")
	c.Check(bootid.Quality(0).String(), qt.Equals, "none")
}

func TestTextRoundTrip(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		name string
		id   bootid.ID
		text string
	}{
		{"zero", bootid.ID{}, ""},
		{"all parts", native(machineA, boot1), "native/" + machineA + "/" + boot1},
		{"no machine", native("", boot1), "native//" + boot1},
		{"no boot", bootid.ID{Machine: machineA}, "none/" + machineA + "/"},
		{"derived", derived(machineA, "1732420000.25"), "derived/" + machineA + "/1732420000.25"},
		{"given", given(machineA, boot1), "given/" + machineA + "/" + boot1},
		{"counter", native(machineA, "counter-24"), "native/" + machineA + "/counter-24"},
		{"odd characters", derived("!~%", "{a=b}"), "derived/!~%/{a=b}"},
	} {
		c.Run(test.name, func(c *qt.C) {
			c.Check(test.id.String(), qt.Equals, test.text)
			parsed, err := bootid.Parse(test.text)
			c.Assert(err, qt.IsNil)
			c.Check(parsed, qt.Equals, test.id)

			text, err := test.id.MarshalText()
			c.Assert(err, qt.IsNil)
			c.Check(string(text), qt.Equals, test.text)
			unmarshalled := native(machineB, boot2)
			c.Assert(unmarshalled.UnmarshalText(text), qt.IsNil)
			c.Check(unmarshalled, qt.Equals, test.id)
		})
	}
}

func TestGarbledTextIsRefused(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, text := range []string{
		" ", "/", "//", "native", "native/", "native//", "native/" + machineA, "native/" + machineA + "/",
		"none//", "none//" + boot1, "derived//", "none/" + machineA, "Native//" + boot1, "nativ//" + boot1,
		"native//" + boot1 + "/", "native//" + boot1 + "\n", " native//" + boot1, "native/a b/" + boot1,
		"native//b\x00", "native//\xff", "native//ü", "native//\x7f", "rollcall1 pid=1",
	} {
		c.Run(text, func(c *qt.C) {
			id, err := bootid.Parse(text)
			c.Check(err, qt.ErrorIs, bootid.ErrInvalid)
			c.Check(err, qt.ErrorMatches, `bootid: parse ".*": invalid boot ID`)
			c.Check(id, qt.Equals, bootid.ID{})

			kept := native(machineA, boot1)
			c.Check(kept.UnmarshalText([]byte(text)), qt.ErrorIs, bootid.ErrInvalid)
			c.Check(kept, qt.Equals, native(machineA, boot1), qt.Commentf("a failed read changes nothing"))
		})
	}
}

func TestTruncatedTextIsRefused(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, id := range []bootid.ID{native(machineA, boot1), given(machineA, boot1)} {
		text := id.String()
		for n := 1; n < len(text); n++ {
			id, err := bootid.Parse(text[:n])
			c.Check(err, qt.ErrorIs, bootid.ErrInvalid, qt.Commentf("%s", text[:n]))
			c.Check(id, qt.Equals, bootid.ID{})
		}
	}
}

// The form that a host has read the boot ID in makes no other boot of it.
func TestNewTakesEachFormOfABootID(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	plain := strings.ReplaceAll(boot1, "-", "")
	for _, text := range []string{
		boot1, boot1 + "\n", strings.ToUpper(boot1), strings.ToUpper(boot1) + "\n",
		plain, plain + "\n", strings.ToUpper(plain),
	} {
		id, err := bootid.New(text)
		c.Assert(err, qt.IsNil)
		c.Check(id, qt.Equals, native("", boot1), qt.Commentf("%q", text))
		c.Check(id.Valid(), qt.IsTrue)
		c.Check(id.Compare(native(machineA, boot1)), qt.Equals, bootid.SameBoot)
	}
	for _, text := range []string{
		"", "\n", boot1 + "\n\n", " " + boot1, "{" + boot1 + "}", "urn:uuid:" + boot1, boot1[:35], plain[:31], "counter-7",
		"00000000-0000-0000-0000-000000000000", "6d4c1e0-c5f0e-4a43-9a3c-0f6c3a1f9b11", "native//" + boot1,
	} {
		id, err := bootid.New(text)
		c.Check(err, qt.ErrorIs, bootid.ErrInvalid, qt.Commentf("%q", text))
		c.Check(err, qt.ErrorMatches, `bootid: invalid boot ID: no UUID: ".*"`)
		c.Check(id, qt.Equals, bootid.ID{})
	}
}

func TestIDWithoutTextIsNotMarshalled(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		name string
		id   bootid.ID
	}{
		{"slash in the machine", native("a/b", boot1)},
		{"slash in the boot", native(machineA, "a/b")},
		{"space", native(machineA, "a b")},
		{"newline", native(machineA, "a\n")},
		{"no ASCII", native(machineA, "ä")},
		{"boot without quality", bootid.ID{Boot: boot1}},
		{"quality without boot", bootid.ID{Machine: machineA, Quality: bootid.Native}},
		{"quality alone", bootid.ID{Quality: bootid.Derived}},
		{"unknown quality", bootid.ID{Boot: boot1, Quality: 4}},
		{"native boot in upper case", native("", strings.ToUpper(boot1))},
		{"native boot without dashes", native("", strings.ReplaceAll(boot1, "-", ""))},
		{"native boot cut short", native("", boot1[:35])},
		{"native boot of a word", native("", "yesterday")},
		{"counter of nothing", native("", "counter-")},
		{"counter of zero", native("", "counter-0")},
		{"counter with a leading zero", native("", "counter-07")},
		{"counter above 32 bits", native("", "counter-4294967296")},
		{"given counter", given("", "counter-7")},
	} {
		c.Run(test.name, func(c *qt.C) {
			_, err := test.id.MarshalText()
			c.Check(err, qt.ErrorIs, bootid.ErrInvalid)
			_, err = json.Marshal(test.id)
			c.Check(err, qt.ErrorIs, bootid.ErrInvalid)
		})
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	type row struct {
		Name string    `json:"name"`
		Boot bootid.ID `json:"boot,omitzero"`
	}
	for _, test := range []struct {
		name string
		row  row
		json string
	}{
		{"set", row{"a", native(machineA, boot1)}, `{"name":"a","boot":"native/` + machineA + `/` + boot1 + `"}`},
		{"zero is left out by omitzero", row{"a", bootid.ID{}}, `{"name":"a"}`},
	} {
		c.Run(test.name, func(c *qt.C) {
			text, err := json.Marshal(test.row)
			c.Assert(err, qt.IsNil)
			c.Check(string(text), qt.Equals, test.json)
			var read row
			c.Assert(json.Unmarshal(text, &read), qt.IsNil)
			c.Check(read, qt.Equals, test.row)
		})
	}

	text, err := json.Marshal(bootid.ID{})
	c.Assert(err, qt.IsNil)
	c.Check(string(text), qt.Equals, `""`)
	id := native(machineA, boot1)
	c.Assert(json.Unmarshal(text, &id), qt.IsNil)
	c.Check(id.IsZero(), qt.IsTrue)
}

func FuzzParse(f *testing.F) {
	for _, id := range []bootid.ID{{}, native(machineA, boot1), native("", boot2), given("", boot2), native("", "counter-7"), derived(machineA, "7"), {Machine: machineB}} {
		f.Add(id.String())
	}
	f.Add("native//")
	f.Add("none/a/b/c")
	f.Fuzz(func(t *testing.T, text string) {
		id, err := bootid.Parse(text)
		if err != nil {
			if id != (bootid.ID{}) {
				t.Fatalf("Parse(%q) = %#v with an error", text, id)
			}
			return
		}
		if id.String() != text {
			t.Fatalf("Parse(%q).String() = %q", text, id.String())
		}
		marshalled, err := id.MarshalText()
		if err != nil || string(marshalled) != text {
			t.Fatalf("Parse(%q).MarshalText() = %q, %v", text, marshalled, err)
		}
		if same := id.Compare(id) == bootid.SameBoot; same != (id.Boot != "") {
			t.Fatalf("%q compared with itself: same boot is %t", text, same)
		}
	})
}

func TestFormsOfAnID(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		name string
		id   bootid.ID
		want bool
	}{
		{"a UUID", native(machineA, boot1), true},
		{"a digit for each dash", native("", strings.ReplaceAll(boot1, "-", "0")), false},
		{"a slash for each dash", native("", strings.ReplaceAll(boot1, "-", "/")), false},
		{"below the digits", native("", "/"+boot1[1:]), false},
		{"a dash for a digit", native("", "-"+boot1[1:]), false},
		{"above the digits", native("", ":"+boot1[1:]), false},
		{"below the letters", native("", "`"+boot1[1:]), false},
		{"above the letters", native("", "g"+boot1[1:]), false},
		{"the first and last digits and letters", native("", "09af"+boot1[4:]), true},
		{"a machine of the first and last characters", derived("!~", "!~"), true},
		{"a machine with a space", derived("a b", "7"), false},
		{"a machine with a DEL", derived("a\x7f", "7"), false},
		{"a machine that is not ASCII", derived("ä", "7"), false},
		{"a derived boot that is not ASCII", derived("", "ä"), false},
		{"the highest counter", native("", "counter-4294967295"), true},
	} {
		c.Run(test.name, func(c *qt.C) {
			c.Check(test.id.Valid(), qt.Equals, test.want)
		})
	}
}
