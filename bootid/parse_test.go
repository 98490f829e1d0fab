package bootid_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	qt "github.com/frankban/quicktest"
	"github.com/google/uuid"

	"github.com/rollcall-go/rollcall/bootid"
)

func TestUUID(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	const plain = "6d4c1e0c5f0e4a439a3c0f6c3a1f9b11"
	for _, test := range []struct {
		name   string
		text   string
		length int
		ok     bool
	}{
		{"with dashes", boot1, 36, true},
		{"with dashes and newline", boot1 + "\n", 36, true},
		{"without dashes", plain, 32, true},
		{"without dashes, newline", plain + "\n", 32, true},
		{"upper case", "6D4C1E0C-5F0E-4A43-9A3C-0F6C3A1F9B11\n", 36, true},
		{"dashes where none belong", boot1, 32, false},
		{"no dashes where they belong", plain, 36, false},
		{"two newlines", boot1 + "\n\n", 36, false},
		{"space before", " " + boot1, 36, false},
		{"empty", "", 36, false},
		{"newline alone", "\n", 32, false},
		{"uninitialized, as in the first boot of an image", "uninitialized\n", 32, false},
		{"no hexadecimal", "zz4c1e0c5f0e4a439a3c0f6c3a1f9b11", 32, false},
		{"dashes elsewhere", "6d4c1e0-c5f0e-4a43-9a3c-0f6c3a1f9b11", 36, false},
		{"nil, with dashes", uuid.Nil.String() + "\n", 36, false},
		{"nil, without dashes", "00000000000000000000000000000000\n", 32, false},
		{"cut", boot1[:35], 36, false},
		{"braces", "{" + boot1 + "}", 36, false},
	} {
		c.Run(test.name, func(c *qt.C) {
			id, ok := bootid.ParseUUID([]byte(test.text), test.length)
			c.Assert(ok, qt.Equals, test.ok)
			if ok {
				c.Check(id.String(), qt.Equals, boot1)
			}
		})
	}
}

func TestMachineIsAKeyedHash(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	const raw = "6d4c1e0c5f0e4a439a3c0f6c3a1f9b11"
	hashed := bootid.HashMachine(uuid.MustParse(raw))
	c.Check(hashed, qt.Equals, bootid.HashMachine(uuid.MustParse(raw)), qt.Commentf("stable"))
	c.Check(hashed, qt.Matches, `[0-9a-f]{32}`)
	c.Check(hashed, qt.Not(qt.Equals), raw)
	c.Check(hashed, qt.Not(qt.Equals), bootid.HashMachine(uuid.MustParse("6d4c1e0c5f0e4a439a3c0f6c3a1f9b12")))

	// sd_id128_get_machine_app_specific(3), computed here from hexadecimal.
	key, err := hex.DecodeString(raw)
	c.Assert(err, qt.IsNil)
	application, err := hex.DecodeString("cc33e96d773143f5bb6bbcee647f22a8")
	c.Assert(err, qt.IsNil)
	mac := hmac.New(sha256.New, key)
	mac.Write(application)
	c.Check(hashed, qt.Equals, hex.EncodeToString(mac.Sum(nil))[:32])
}

func FuzzUUID(f *testing.F) {
	f.Add([]byte(boot1+"\n"), 36)
	f.Add([]byte(machineA), 32)
	f.Add([]byte("uninitialized\n"), 32)
	f.Add([]byte("{"+boot1[:34]+"}"), 36)
	f.Fuzz(func(t *testing.T, text []byte, length int) {
		id, ok := bootid.ParseUUID(text, length)
		if ok == (id == uuid.Nil) {
			t.Fatalf("%q: %v, %t", text, id, ok)
		}
		if ok && len(bytes.TrimSuffix(text, []byte("\n"))) != length {
			t.Fatalf("%q of length %d: %v", text, length, id)
		}
	})
}
