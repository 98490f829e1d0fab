package filestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// pause is the time between two attempts to get a lock.
const pause = time.Millisecond

// lockInTurn takes the lock of a second file, turn, while it waits for the lock of
// path. A program that releases the lock and takes it again at once, such as a pass
// that stops batch after batch, thereby waits behind the program that holds turn.
// Without it that pass would keep others out until its end.
func lockInTurn(ctx context.Context, turn, path string, exclusive bool, timeout time.Duration) (unlock func(), err error) {
	began := time.Now()
	ours, err := lock(ctx, turn, true, timeout)
	if err != nil {
		return nil, err
	}
	defer ours()
	return lock(ctx, path, exclusive, timeout-time.Since(began))
}

// lock takes the exclusive or the shared lock of a file. It waits for other holders
// until the timeout. The system releases the lock when its holder ends, in whatever
// way. The file is never deleted: a program that waits for a deleted file and one
// that creates it anew would both get a lock.
//
// It polls, because a context cannot end a wait inside the system call.
func lock(ctx context.Context, path string, exclusive bool, timeout time.Duration) (unlock func(), err error) {
	f, err := openLock(path)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(timeout)
	for {
		held, err := tryLock(f, exclusive)
		if err != nil {
			f.Close()
			return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
		}
		if held {
			return func() {
				unlockFile(f)
				f.Close()
			}, nil
		}
		if time.Now().After(deadline) {
			f.Close()
			return nil, fmt.Errorf("%w: %s is locked by others", lifecycle.ErrUnavailable, path)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// openLock opens the file of a lock, and creates it only if it is missing: a reader
// may have no permission to write.
func openLock(path string) (*os.File, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, filePermissions)
	}
	return f, err
}
