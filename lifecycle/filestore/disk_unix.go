//go:build unix

package filestore

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

func replace(from, to string) error { return os.Rename(from, to) }

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	// Some file systems have no such thing for a directory (fsync(2)).
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// keepOwner gives a file the owner of another, as far as they differ: what root
// rewrites is to stay the user's.
func keepOwner(f *os.File, like fs.FileInfo) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	is, ok := info.Sys().(*syscall.Stat_t)
	wanted, okWanted := like.Sys().(*syscall.Stat_t)
	if !ok || !okWanted || is.Uid == wanted.Uid && is.Gid == wanted.Gid {
		return nil
	}
	return f.Chown(int(wanted.Uid), int(wanted.Gid))
}

// readStart reads the beginning of a file, as much as fits, by three system
// calls: os.Open would register the file with the poller.
func readStart(path string, buf []byte) (n int, err error) {
	var fd int
	for {
		fd, err = syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		return 0, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	for {
		n, err = syscall.Read(fd, buf)
		if err != syscall.EINTR {
			break
		}
	}
	_ = syscall.Close(fd)
	if err != nil {
		return 0, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return n, nil
}

// A file that is replaced stays as it was for those who have it open.
const readersLock = false
