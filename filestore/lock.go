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

// pause is what is between two tries to get a lock.
const pause = time.Millisecond

// lockInTurn takes a lock behind another one, which is held only while waiting.
// Who has just let go of the lock and wants it again waits for those who wait: a
// pass that stops batch after batch would keep others out for long.
func lockInTurn(ctx context.Context, turn, path string, exclusive bool, timeout time.Duration) (unlock func(), err error) {
	began := time.Now()
	ours, err := lock(ctx, turn, true, timeout)
	if err != nil {
		return nil, err
	}
	defer ours()
	return lock(ctx, path, exclusive, timeout-time.Since(began))
}

// lock takes the lock that a file stands for, exclusive or shared, and waits for
// others that have it, though not for longer than the timeout. The system lets go
// of it when the holder ends, in whatever way. The file is never deleted: who
// waits for it would wait for a file that nobody else opens any more.
//
// It asks again and again because a wait inside the system could not be ended by
// the context.
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

// openLock opens the file of a lock, which a reader without the right to write
// must only find.
func openLock(path string) (*os.File, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, filePermissions)
	}
	return f, err
}
