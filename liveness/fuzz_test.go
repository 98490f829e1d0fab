package liveness_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/rollcall-go/rollcall/liveness"
)

// What is read is written as a text that reads the same.
func FuzzParse(f *testing.F) {
	for _, test := range identities {
		f.Add(test.text)
	}
	f.Add("rollcall1 pid=12 colour=blue start=5 colour=red empty=")
	f.Add("rollcall1 pid=1 marker=%0a notafter=2026-11-24T13:00:00.5+01:00")
	f.Add("rollcall2 pid=1")
	f.Fuzz(func(t *testing.T, text string) {
		text = checked(text) // what comes behind the check
		id, err := liveness.Parse(text)
		if err != nil {
			if !id.IsZero() {
				t.Fatalf("Parse(%q) = %v with an error", text, id)
			}
			return
		}
		written := id.String()
		again, err := liveness.Parse(written)
		if err != nil || again != id {
			t.Fatalf("Parse(%q) wrote %q, which reads as %v, %v", text, written, again, err)
		}
		if again.String() != written {
			t.Fatalf("Parse(%q) wrote %q, then %q", text, written, again)
		}
		quoted, err := json.Marshal(id)
		if err != nil {
			t.Fatalf("%q: %v", written, err)
		}
		var unquoted, scanned liveness.Identity
		if err := json.Unmarshal(quoted, &unquoted); err != nil || unquoted != id {
			t.Fatalf("%q became %s, which is %v, %v", written, quoted, unquoted, err)
		}
		value, err := id.Value()
		if err != nil {
			t.Fatalf("%q: %v", written, err)
		}
		if err := scanned.Scan(value); err != nil || scanned != id {
			t.Fatalf("%q became %v, which is %v, %v", written, value, scanned, err)
		}
		if marshalled, err := id.MarshalText(); err != nil || string(marshalled) != written {
			t.Fatalf("Parse(%q).MarshalText() = %q, %v", text, marshalled, err)
		}
	})
}

// No text is accepted that differs from one that was written: not one of which a
// part was cut out or written over, nor one put together out of two.
func FuzzChangedText(f *testing.F) {
	f.Add(12462, uint64(5), uint64(7), "m", 1, uint64(8), uint16(0), uint16(17), uint16(300), byte(0))
	f.Add(1, uint64(0), uint64(0), "", 2, uint64(0), uint16(16), uint16(16), uint16(16), byte(1))
	f.Add(1<<22, uint64(1)<<63, uint64(9), "a b%", 10, uint64(3), uint16(4), uint16(9), uint16(4), byte(0))
	f.Fuzz(func(t *testing.T, pid int, start, unique uint64, marker string, otherPID int, otherStart uint64, from, to, at uint16, flip byte) {
		id := liveness.Identity{PID: pid, Boot: full.Boot, Start: start, Unique: unique, Marker: marker}
		other := liveness.Identity{PID: otherPID, Boot: full.Boot, Start: otherStart, Namespace: full.Namespace}
		text, err := id.MarshalText()
		otherText, otherErr := other.MarshalText()
		if err != nil || otherErr != nil {
			return
		}
		i, j := int(min(from, to))%(len(text)+1), int(max(from, to))%(len(text)+1)
		i, j = min(i, j), max(i, j)
		k := int(at) % (len(otherText) + 1)
		changed := append(append(bytes.Clone(text[:i]), otherText[min(k, len(otherText)):]...), text[j:]...) // a part of one within the other
		cut := append(bytes.Clone(text[:i]), text[j:]...)
		flipped := bytes.Clone(text)
		if i < len(flipped) {
			flipped[i] ^= flip
		}
		for _, changed := range [][]byte{changed, cut, flipped, append(bytes.Clone(text[:i]), otherText[k:]...)} {
			line := bytes.TrimSuffix(changed, []byte("\n"))
			if len(line) == 0 || bytes.Equal(line, text) || bytes.Equal(line, otherText) {
				continue
			}
			if id, err := liveness.Parse(string(changed)); err == nil {
				t.Fatalf("%q was read as %v; %q and %q were written", changed, id, text, otherText)
			}
		}
	})
}

func FuzzMarker(f *testing.F) {
	f.Add([]byte("A=1\x00ROLLCALL_MARKER=abc\x00"))
	f.Add([]byte("ROLLCALL_MARKER=abcd\x00ROLLCALL_MARKER=abc\x00=\x00"))
	f.Add([]byte("\x00\x00"))
	f.Add([]byte("worker: idle\x00\x00B=2\x00"))
	f.Fuzz(func(t *testing.T, environ []byte) {
		present, wellFormed := liveness.LookForMarker(environ, liveness.MarkerVariable, "abc")
		planted := bytes.Contains(append([]byte{0}, environ...), []byte("\x00ROLLCALL_MARKER=abc\x00"))
		if present != planted {
			t.Fatalf("%q: present is %t", environ, present)
		}
		odd := len(environ) == 0 || environ[len(environ)-1] != 0 || environ[0] == 0 || environ[0] == '=' ||
			bytes.Contains(environ, []byte("\x00\x00")) || bytes.Contains(environ, []byte("\x00="))
		if odd && wellFormed && !present {
			t.Fatalf("%q is said to be well-formed", environ)
		}
	})
}
