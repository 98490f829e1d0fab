package filestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-go/rollcall/lifecycle"
)

var (
	// ErrNewerVersion is returned for a file that was written by a newer
	// version of this package. Nothing is read or written then.
	ErrNewerVersion = errors.New("file of a newer version")
	// ErrForeignFile is returned for a file that has the name of one of this
	// package and is none. It is not touched.
	ErrForeignFile = errors.New("foreign file")
	// ErrGarbled is returned for a line that was damaged or edited.
	ErrGarbled = errors.New("garbled")
)

// Options are the choices of [New]. The zero value is usable.
type Options struct {
	// BusyTimeout is how long a call waits for others that have the lock
	// before it gives up with an error that matches
	// [lifecycle.ErrUnavailable]; zero is 30 seconds. A context that ends
	// earlier ends the wait.
	BusyTimeout time.Duration

	// Owner is the machine or device whose records the store registers; empty is
	// none in particular.
	Owner string

	// Clock is the clock of heartbeats; nil is that of the running system.
	Clock lifecycle.Clock

	disk        disk  // nil is that of the operating system
	rewriteFrom int64 // bytes that do not count at which records are rewritten
}

const (
	defaultBusyTimeout = 30 * time.Second
	defaultRewriteFrom = 64 << 10
)

// The files of a directory.
const (
	recordsFile = "records.jsonl"
	eventsFile  = "events.jsonl"
	gateFile    = "gate"
	lockFile    = "lock"
	turnFile    = "turn"
)

// Store is a [lifecycle.Registrar] in a directory. It is safe for concurrent use. It
// keeps no file open between calls, so there is nothing to close, and what the
// files hold in memory.
type Store struct {
	dir     string
	options Options

	// turn is held by who uses what follows; a channel, because a mutex does
	// not heed a context.
	turn            chan struct{}
	state           *state
	head            header // of the records that were read
	records, events journal
	// registrations counts the lines of the records that registered one or
	// changed its phase, each as often as it was read, and the readings from
	// the beginning.
	registrations int64
}

var (
	_ lifecycle.Registrar    = (*Store)(nil)
	_ lifecycle.BatchStopper = (*Store)(nil)
	_ lifecycle.KV           = (*gate)(nil)
)

// New returns a store in a directory of its own, and makes the directory and its
// files where there are none yet. Several processes may do so at once. A
// directory that cannot be written is served for reading if it has the files.
//
// The error matches [ErrNewerVersion], [ErrForeignFile] or [ErrGarbled] and
// names the file, or is that of the file system.
func New(ctx context.Context, dir string, options Options) (*Store, error) {
	if options.BusyTimeout <= 0 {
		options.BusyTimeout = defaultBusyTimeout
	}
	if options.disk == nil {
		options.disk = osDisk{}
	}
	if options.rewriteFrom == 0 {
		options.rewriteFrom = defaultRewriteFrom
	}
	s := &Store{dir: dir, options: options, turn: make(chan struct{}, 1)}
	s.records = journal{path: s.path(recordsFile), decode: decodeRecord}
	s.events = journal{path: s.path(eventsFile), decode: decodeEvent}
	if err := s.open(ctx); err != nil {
		return nil, fmt.Errorf("filestore: open %s: %w", dir, err)
	}
	return s, nil
}

// Owner implements [lifecycle.Registrar].
func (s *Store) Owner() string { return s.options.Owner }

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

// open takes the exclusive lock only if there is something to make.
func (s *Store) open(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := os.Stat(s.records.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = s.make(ctx)
	}
	if err != nil {
		return err
	}
	return s.read(ctx, func() error { return nil })
}

// make makes the files: that of the records last, because the other ones are
// taken to be there if it is.
func (s *Store) make(ctx context.Context) error {
	if err := makeDir(s.options.disk, s.dir); err != nil {
		return err
	}
	unlock, err := s.lock(ctx, true)
	if err != nil {
		return err
	}
	defer unlock()
	for _, h := range []header{
		{Product: product, Version: version, Holds: holdsEvents},
		{Product: product, Version: version, Holds: holdsRecords, Generation: newGeneration()},
	} {
		path := s.path(h.Holds + ".jsonl")
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				return err
			}
			continue // another process was quicker
		}
		content, err := appendLine(nil, h)
		if err != nil {
			return err
		}
		if err := write(s.options.disk, path, nil, content); err != nil {
			return err
		}
	}
	return s.options.disk.SyncDir(s.dir)
}

func (s *Store) lock(ctx context.Context, exclusive bool) (unlock func(), err error) {
	return lockInTurn(ctx, s.path(turnFile), s.path(lockFile), exclusive, s.options.BusyTimeout)
}

func newGeneration() string { return uuid.Must(uuid.NewV7()).String() }
