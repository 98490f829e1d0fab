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
	// OpenFile opens an existing file as os.OpenFile does.
	OpenFile(path string, flag int) (file, error)
	// Create creates a file, in place of any file of that name. It gets the
	// owner and the permissions of like, unless that is nil.
	Create(path string, like fs.FileInfo) (file, error)
	// Replace renames a file over another in one step.
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

// Records may hold what a program was started with. Only the owner may read that.
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
	// A file that a crash left behind may belong to another user.
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

// write replaces a file as a whole. A crash leaves the old content or the new.
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

// makeDir is os.MkdirAll that flushes the name of each new directory to the disk.
func makeDir(d disk, path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil || !errors.Is(err, fs.ErrNotExist) || filepath.Dir(path) == path:
		return os.Mkdir(path, dirPermissions) // for its error
	}
	if err := makeDir(d, filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.Mkdir(path, dirPermissions); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return d.SyncDir(filepath.Dir(path))
}
