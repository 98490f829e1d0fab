// Package exhausted knows the errors of a system that has run out of something
// for the moment. What could not be read for such a reason is not absent.
package exhausted

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Is reports whether err is for want of descriptors or memory (open(2)).
func Is(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}
