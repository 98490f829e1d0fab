// Package exhausted tells the errors of a system that is out of descriptors or memory
// for the moment. What cannot be read for such a reason is not absent.
package exhausted

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Is reports whether err says that descriptors or memory are exhausted (open(2)).
func Is(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}
