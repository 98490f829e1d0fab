package filestore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// A line is a JSON object whose last member is the checksum of all bytes before it.
// JSON alone would not reveal most damage.
const (
	crcFormat = `,"crc":"%08x"}`
	crcLength = len(`,"crc":"00000000"}`)
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// The operations that write a record. A line holds the whole record after the
// operation, so the last line of a name is enough to know it.
const (
	opLaunch     = "launch"
	opActivate   = "activate"
	opDeactivate = "deactivate"
	opHeartbeat  = "heartbeat" // not flushed to the disk
	opSetData    = "data"
	opBind       = "bind"
	opUnbind     = "unbind" // a key was bound to another record
)

// recordLine is a line of the records.
type recordLine struct {
	lifecycle.Record
	Bindings []string `json:"bindings,omitempty"` // sorted
	// Number counts registrations; it orders the records.
	Number int64  `json:"number"`
	Op     string `json:"op"`
	// More is how many lines of the same step follow.
	More int `json:"more,omitempty"`
}

// eventLine is a line of the events.
type eventLine struct {
	lifecycle.Event
	More int `json:"more,omitempty"`
}

// appendLine appends a line with its checksum and newline.
func appendLine(to []byte, value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // for people who read the host's Data
	if err := encoder.Encode(value); err != nil {
		return to, err
	}
	body := bytes.TrimSuffix(b.Bytes(), []byte("}\n"))
	to = append(to, body...)
	return fmt.Appendf(to, crcFormat+"\n", crc32.Checksum(body, castagnoli)), nil
}

// decodeLine decodes a line, with or without its newline, into the value that v
// points to. Its error matches ErrGarbled.
func decodeLine(line []byte, v any) error {
	line = bytes.TrimSuffix(line, []byte("\n"))
	if len(line) < crcLength {
		return fmt.Errorf("%w: it has no checksum", ErrGarbled)
	}
	body := line[:len(line)-crcLength]
	var space [32]byte
	if string(fmt.Appendf(space[:0], crcFormat, crc32.Checksum(body, castagnoli))) != string(line[len(body):]) {
		return fmt.Errorf("%w: its checksum is wrong", ErrGarbled)
	}
	if err := json.Unmarshal(line, v); err != nil {
		return fmt.Errorf("%w: %w", ErrGarbled, err)
	}
	return nil
}

// legible returns what a garbled line still tells of whose it is: name, incarnation
// and parent.
func legible(line []byte) (told lifecycle.Record) {
	d := json.NewDecoder(bytes.NewReader(line))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return told
	}
	texts := map[json.Token]*string{"name": &told.Name, "incarnation": &told.Incarnation, "parent": &told.Parent}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			break
		}
		var text string
		var rest json.RawMessage
		if of := texts[key]; of == nil {
			err = d.Decode(&rest)
		} else if err = d.Decode(&text); err == nil {
			*of = text
		}
		if err != nil {
			break
		}
	}
	return told
}
