package filestore

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// disk is what this package asks of the file system.
type disk interface {
	// OpenFile is os.OpenFile of a file that exists.
	OpenFile(path string, flag int) (file, error)
	// Create makes a new file in place of any other, with the owner and the
	// permissions of the one that it is to replace, which may be nil.
	Create(path string, like fs.FileInfo) (file, error)
	// Replace renames a file over another one, in one step.
	Replace(from, to string) error
	// SyncDir flushes the names of a directory to the disk.
	SyncDir(path string) error
}

type file interface {
	io.ReaderAt
	io.WriterAt
	Stat() (fs.FileInfo, error)
	Truncate(size int64) error
	Sync() error
	Close() error
}

// Only the owner may read what a program was started with.
const (
	filePermissions = 0o600
	dirPermissions  = 0o700
)

type osDisk struct{}

func (osDisk) OpenFile(path string, flag int) (file, error) {
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (osDisk) Create(path string, like fs.FileInfo) (file, error) {
	// One that a crash left behind may be another user's.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, filePermissions)
	if err != nil {
		return nil, err
	}
	if like != nil {
		err = errors.Join(keepOwner(f, like), f.Chmod(like.Mode().Perm()))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return f, nil
}

func (osDisk) Replace(from, to string) error { return replace(from, to) }

func (osDisk) SyncDir(path string) error { return syncDir(path) }

// write makes a file with a content, in place of the one there is, so that a
// crash leaves the one or the other.
func write(d disk, path string, like fs.FileInfo, content []byte) error {
	temporary := path + ".new"
	f, err := d.Create(temporary, like)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = d.Replace(temporary, path)
	}
	return err
}

// makeDir makes a directory and those above it that are missing, each known to
// the disk.
func makeDir(d disk, path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil || !errors.Is(err, fs.ErrNotExist) || filepath.Dir(path) == path:
		return os.Mkdir(path, dirPermissions) // whose error says it
	}
	if err := makeDir(d, filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.Mkdir(path, dirPermissions); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return d.SyncDir(filepath.Dir(path))
}
