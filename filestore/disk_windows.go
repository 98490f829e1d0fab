package filestore

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/windows"
)

// replace waits for programs that have the file open for a moment, such as
// virus scanners. Those of this package do not: they hold the lock.
func replace(from, to string) error {
	old, err := windows.UTF16PtrFromString(from)
	if err != nil {
		return err
	}
	new, err := windows.UTF16PtrFromString(to)
	if err != nil {
		return err
	}
	for range 50 {
		err = windows.MoveFileEx(old, new, windows.MOVEFILE_REPLACE_EXISTING|windows.MOVEFILE_WRITE_THROUGH)
		if !errors.Is(err, windows.ERROR_ACCESS_DENIED) && !errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// syncDir does nothing: there is no such thing. MOVEFILE_WRITE_THROUGH is as much
// as there is.
func syncDir(string) error { return nil }

// keepOwner does nothing: permissions are those of the directory.
func keepOwner(*os.File, fs.FileInfo) error { return nil }

// A file that somebody has open cannot be replaced.
const readersLock = true
