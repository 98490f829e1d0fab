package filestore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

const (
	// product is in the header of every file. It is the import path that the
	// package had when the format was made, and stays as it is although the
	// package has moved: with another one, existing files would be refused.
	product = "github.com/rollcall-go/rollcall/lifecycle/filestore"
	version = 1
)

// What a file holds.
const (
	holdsRecords = "records"
	holdsEvents  = "events"
)

// header is the first line of a file.
type header struct {
	Product string `json:"product"`
	Holds   string `json:"holds"`
	Version int    `json:"version"`
	// Generation is new each time the records are rewritten.
	Generation string `json:"generation,omitempty"`
	// Body is how many bytes followed the header when the file was created. They
	// were flushed to the disk before the file took its place.
	Body int64 `json:"body,omitempty"`
	// Events, EventLines and Seq are the size of the file of events at that time,
	// its lines and its last number. Records stopped by these events are no longer
	// in the file.
	Events     int64 `json:"events,omitempty"`
	EventLines int   `json:"event_lines,omitempty"`
	Seq        int64 `json:"seq,omitempty"`
}

// maxHeader is more than any header takes, including those of newer versions.
const maxHeader = 4096

// readHeader returns the header of a file, and the size of the header. The error
// names the file if it is not one of this version.
func readHeader(f file, path, holds string) (header, int64, error) {
	var space [maxHeader]byte
	n, err := f.ReadAt(space[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return header{}, 0, err
	}
	h, size, err := parseHeader(space[:n], holds)
	if err != nil {
		return header{}, 0, fmt.Errorf("%s: %w", path, err)
	}
	return h, size, nil
}

// parseHeader parses the header at the beginning of a text. It checks the checksum
// last, since a newer version may have another kind.
func parseHeader(text []byte, holds string) (header, int64, error) {
	line, _, ended := bytes.Cut(text, []byte("\n"))
	var h header
	err := json.Unmarshal(line, &h)
	switch {
	case err != nil && bytes.Contains(line, []byte(`"product":"`+product+`"`)):
		return header{}, 0, fmt.Errorf("%w: line 1: %w", ErrGarbled, err)
	case err != nil || h.Product != product || h.Holds != holds:
		return header{}, 0, fmt.Errorf("%w: line 1 is not that of a file of %s of this package", ErrForeignFile, holds)
	case h.Version > version:
		return header{}, 0, fmt.Errorf("%w: %d, this package knows %d", ErrNewerVersion, h.Version, version)
	}
	if err := decodeLine(line, &h); err != nil {
		return header{}, 0, fmt.Errorf("line 1: %w", err)
	}
	if !ended || h.Version < 1 || h.Body < 0 || h.Events < 0 || h.EventLines < 0 || h.Seq < 0 {
		return header{}, 0, fmt.Errorf("%w: line 1 holds what this package does not write", ErrGarbled)
	}
	return h, int64(len(line)) + 1, nil
}
