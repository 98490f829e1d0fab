package lifecycle

import (
	"encoding/json"
	"fmt"
)

// maxDataDepth is how many levels of arrays and objects Data may have. More would come
// back from the stores, but not always, and not to everyone: encoding/json reads 10,000
// levels, of which an event in a file takes two; PostgreSQL reads what its stack has
// room for, 13,000 by default and 600 at least; SQLite's JSON functions, by which a host
// may look into Data, read 1,000.
const maxDataDepth = 1000

// validateData returns an error that matches ErrInvalidRecord, and names the record,
// for Data that a store should refuse.
func validateData(name string, data json.RawMessage) error {
	switch {
	case data == nil:
		return nil
	case nestsDeeper(data, maxDataDepth):
		return fmt.Errorf("%w: %q: Data is nested deeper than %d levels", ErrInvalidRecord, name, maxDataDepth)
	case !json.Valid(data):
		return fmt.Errorf("%w: %q: Data is not JSON", ErrInvalidRecord, name)
	}
	return nil
}

// nestsDeeper reports whether a JSON text has more levels of arrays and objects than
// the limit. What it reports of a text that is not JSON means nothing.
func nestsDeeper(text []byte, limit int) bool {
	if len(text) < 2*(limit+1) { // a level is two brackets
		return false
	}
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++ // the next byte ends no text
		case quoted:
		case c == '[' || c == '{':
			if depth++; depth > limit {
				return true
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return false
}
