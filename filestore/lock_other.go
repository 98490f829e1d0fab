//go:build !darwin && !dragonfly && !freebsd && !illumos && !linux && !netbsd && !openbsd && !windows

package filestore

import (
	"errors"
	"os"
)

func tryLock(*os.File, bool) (held bool, err error) { return false, errors.ErrUnsupported }

func unlockFile(*os.File) {}
