//go:build !unix && !windows

package filestore

import (
	"errors"
	"io/fs"
	"os"
)

func replace(from, to string) error { return os.Rename(from, to) }

func syncDir(string) error { return nil }

func keepOwner(*os.File, fs.FileInfo) error { return nil }

func readStart(path string, buf []byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: path, Err: errors.ErrUnsupported}
}

const readersLock = true
