package liveness_test

import (
	"strings"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/liveness"
)

func TestGarbledTextIsRefused(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range []struct {
		name  string
		text  string
		field string // in the error, or ""
	}{
		{"space", " ", ""},
		{"bare PID, as in an old pid file", "4711", ""},
		{"other prefix", "rollcaII1 pid=1", ""},
		{"upper case", "ROLLCALL1 pid=1", ""},
		{"prefix alone", "rollcall1", ""},
		{"no PID", "rollcall1 start=5", ""},
		{"negative PID", "rollcall1 pid=-1", "pid=-1"},
		{"zero PID", "rollcall1 pid=0", "pid=0"},
		{"empty PID", "rollcall1 pid=", "pid="},
		{"huge PID", "rollcall1 pid=4294967296", "pid=4294967296"},
		{"PID beyond 64 bits", "rollcall1 pid=18446744073709551617", "pid=18446744073709551617"},
		{"PID with sign", "rollcall1 pid=+1", "pid=+1"},
		{"PID with leading zero", "rollcall1 pid=01", "pid=01"},
		{"PID in hexadecimal", "rollcall1 pid=0x1", "pid=0x1"},
		{"PID with underscore", "rollcall1 pid=1_000", "pid=1_000"},
		{"PID twice", "rollcall1 pid=1 pid=2", "pid=2"},
		{"start twice", "rollcall1 pid=1 start=2 start=2", "start=2"},
		{"zero start", "rollcall1 pid=1 start=0", "start=0"},
		{"negative start", "rollcall1 pid=1 start=-1", "start=-1"},
		{"huge start", "rollcall1 pid=1 start=18446744073709551616", "start=18446744073709551616"},
		{"unique that is no number", "rollcall1 pid=1 unique=x", "unique=x"},
		{"namespace that is no number", "rollcall1 pid=1 pidns=x", "pidns=x"},
		{"namespace ID that is no number", "rollcall1 pid=1 pidnsid=x", "pidnsid=x"},
		{"init that is no number", "rollcall1 pid=1 init=x", "init=x"},
		{"time namespace that is no number", "rollcall1 pid=1 timens=x", "timens=x"},
		{"boot of unknown quality", "rollcall1 pid=1 boot=good//x", "boot=good//x"},
		{"empty boot", "rollcall1 pid=1 boot=", "boot="},
		{"empty marker", "rollcall1 pid=1 marker=", "marker="},
		{"marker with a cut escape", "rollcall1 pid=1 marker=a%2", "marker=a%2"},
		{"marker with a bad escape", "rollcall1 pid=1 marker=%zz", "marker=%zz"},
		{"marker with a signed escape", "rollcall1 pid=1 marker=%+1", "marker=%+1"},
		{"time that is none", "rollcall1 pid=1 notafter=noon", "notafter=noon"},
		{"time without zone", "rollcall1 pid=1 notafter=2026-11-24T12:00:00", "notafter=2026-11-24T12:00:00"},
		{"zero time", "rollcall1 pid=1 notbefore=0001-01-01T00:00:00Z", "notbefore=0001-01-01T00:00:00Z"},
		{"no key", "rollcall1 pid=1 =5", "=5"},
		{"no equals sign", "rollcall1 pid=1 start", "start"},
		{"two spaces", "rollcall1  pid=1", ""},
		{"a check within", "rollcall1 check=0123456789abcdef pid=1", "check=0123456789abcdef"},
		{"tab", "rollcall1 pid=1\tstart=2", `pid=1\tstart=2`},
		{"newline at the end", "rollcall1 pid=1\n", `pid=1\n`},
		{"newline between", "rollcall1 pid=1\n start=2", `pid=1\n`},
		{"carriage return", "rollcall1 pid=1\r", `pid=1\r`},
		{"time whose text would be of another year", "rollcall1 pid=1 notbefore=0000-01-01T00:00:00+01:00", "notbefore=0000-01-01T00:00:00+01:00"},
		{"NUL", "rollcall1 pid=1 marker=\x00", `marker=\x00`},
		{"DEL", "rollcall1 pid=1 other=\x7f", `other=\x7f`},
		{"no ASCII", "rollcall1 pid=1 marker=ü", `marker=\u00fc`},
		{"NUL bytes, as after a crash", strings.Repeat("\x00", 300), ""},
	} {
		c.Run(test.name, func(c *qt.C) {
			_, err := liveness.Parse(test.text)
			c.Check(err, qt.ErrorIs, liveness.ErrInvalid)
			id, err := liveness.Parse(checked(test.text))
			c.Assert(err, qt.ErrorIs, liveness.ErrInvalid)
			c.Check(id.IsZero(), qt.IsTrue)
			c.Check(strings.HasPrefix(err.Error(), "liveness: parse identity "), qt.IsTrue)
			if test.field != "" {
				c.Check(err.Error(), qt.Contains, `: field "`+test.field+`"`)
			}
		})
	}
}

func TestErrorsQuoteOnlyTheStartOfALongText(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	long := strings.Repeat("x", 1<<16)
	for _, text := range []string{
		long, "rollcall1 " + long, "rollcall1 pid=" + long, "rollcall1 pid=1 boot=" + long, "rollcall1 pid=1 notafter=" + long,
		"rollcall2" + long, "rollcall1 " + long + "=1",
	} {
		_, err := liveness.Parse(text)
		c.Assert(err, qt.ErrorIs, liveness.ErrInvalid)
		_, err = liveness.Parse(checked(text))
		c.Assert(err, qt.ErrorIs, liveness.ErrInvalid)
		quoted := strings.Count(err.Error(), "x")
		c.Check(quoted <= 2*80, qt.IsTrue, qt.Commentf("%d bytes of the text: %s", quoted, err))
	}
}

func TestLongTextIsReadInLinearTime(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	text := checked("rollcall1 pid=1" + strings.Repeat(" a=", 1<<18))
	id, err := liveness.Parse(text)
	c.Assert(err, qt.IsNil)
	c.Check(id.String(), qt.Equals, text)
}

// A text that a full disk cut short, or of which a part was written over, is
// another text: the start of that of PID 12462 is "rollcall1 pid=124".
func TestTextThatWasCutOrChangedIsRefused(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	refused := func(text string) {
		c.Helper()
		id, err := liveness.Parse(text)
		c.Check(err, qt.ErrorIs, liveness.ErrInvalid, qt.Commentf("%q: %v", text, id))
		c.Check(id.IsZero(), qt.IsTrue)
	}
	refused("rollcall1 pid=124")
	for _, identity := range identities[1:] {
		text := checked(identity.text)
		for n := 1; n < len(text); n++ {
			refused(text[:n])
			refused(text[n:])
		}
		for i := range len(text) {
			for bit := range 8 {
				changed := []byte(text)
				changed[i] ^= 1 << bit
				refused(string(changed))
			}
			refused(text[:i] + text[i+1:])
			refused(text[:i] + "1" + text[i:])
		}
		for _, other := range identities[1:] {
			front := other.text[:min(len(other.text), len(text)-1)]
			if spliced := front + text[len(front):]; spliced != text {
				refused(spliced) // the shorter one was written over the front of the longer one
			}
			refused(text + checked(other.text))
			refused(text + "\n" + checked(other.text))
		}
	}
	_, err := liveness.Parse(checked(fullText) + "\n")
	c.Check(err, qt.IsNil, qt.Commentf("a newline at the end"))
	refused(checked(fullText) + "\n\n")
	refused(checked(fullText) + " ")
}
