package bootid

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"sync/atomic"

	"github.com/google/uuid"
)

// application is the key of this package for machine IDs. machine-id(5) asks
// programs to publish only a keyed hash of the machine ID.
var application = uuid.MustParse("cc33e96d-7731-43f5-bb6b-bcee647f22a8")

// machine is the hashed machine ID, empty where the system has none. It is read
// once: it does not change while a process runs. A failure is not remembered.
var machine cachedMachine

type cachedMachine struct{ known atomic.Pointer[string] }

func (c *cachedMachine) get(read func() (string, error)) (string, error) {
	if known := c.known.Load(); known != nil {
		return *known, nil
	}
	id, err := read()
	if err == nil {
		c.known.Store(&id)
	}
	return id, err
}

// hashMachine hashes a machine ID as machine-id(5) demands: HMAC-SHA256 keyed
// by the machine ID over the application's key, cut to 16 bytes.
func hashMachine(machine uuid.UUID) string {
	mac := hmac.New(sha256.New, machine[:])
	mac.Write(application[:])
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// parseUUID reads the text of one UUID in the given length (36 with dashes, 32
// without), a final newline allowed. The nil UUID is refused: it is what an
// unset value looks like.
func parseUUID(text []byte, length int) (uuid.UUID, bool) {
	if len(text) == length+1 && text[length] == '\n' {
		text = text[:length]
	}
	if len(text) != length {
		return uuid.Nil, false
	}
	id, err := uuid.ParseBytes(text)
	if err != nil {
		return uuid.Nil, false // ParseBytes returns what it has read so far
	}
	return id, id != uuid.Nil
}
