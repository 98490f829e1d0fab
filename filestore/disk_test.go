package filestore_test

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rollcall-go/rollcall/filestore"
)

// sector is what a disk writes whole or not at all.
const sector = 512

// unflushed are options for a store that only the test looks at: its disk
// flushes nothing, which takes time.
func unflushed() filestore.Options { return filestore.Options{}.WithDisk(newFaultyDisk()) }

var errDisk = errors.New("disk on fire")

// faultyDisk is the disk of the operating system. It knows what of the files has
// reached the disk for sure, and one of its operations fails.
type faultyDisk struct {
	filestore.Disk

	mu    sync.Mutex
	count int
	// failAt is the operation that fails, from 1; 0 is none. forever says that
	// all later ones fail too, half that a write leaves half of itself.
	failAt        int
	forever, half bool

	names   map[string]*inode // as the programs see them
	durable map[string]*inode // as they are on the disk for sure
	pending []rename          // that may have reached it
}

// inode is a file, whatever its name.
type inode struct{ content, durable []byte }

type rename struct {
	from, to string
	inode    *inode
}

func newFaultyDisk() *faultyDisk {
	return &faultyDisk{Disk: filestore.OSDisk(), names: map[string]*inode{}, durable: map[string]*inode{}}
}

// step counts an operation and says whether it is to fail.
func (d *faultyDisk) step() error {
	d.count++
	if d.failAt > 0 && (d.count == d.failAt || d.forever && d.count > d.failAt) {
		return errDisk
	}
	return nil
}

func (d *faultyDisk) OpenFile(path string, flag int) (filestore.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f, err := d.Disk.OpenFile(path, flag)
	if err != nil {
		return nil, err
	}
	i := d.names[filepath.Base(path)]
	if i == nil { // it was there before
		i = new(inode)
		d.names[filepath.Base(path)] = i
	}
	return &faultyFile{f, d, i}, nil
}

func (d *faultyDisk) Create(path string, like fs.FileInfo) (filestore.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return nil, &fs.PathError{Op: "create", Path: path, Err: err}
	}
	f, err := d.Disk.Create(path, like)
	if err != nil {
		return nil, err
	}
	i := new(inode)
	d.names[filepath.Base(path)] = i
	d.pending = append(d.pending, rename{"", filepath.Base(path), i})
	return &faultyFile{f, d, i}, nil
}

func (d *faultyDisk) Replace(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return err
	}
	if err := d.Disk.Replace(from, to); err != nil {
		return err
	}
	from, to = filepath.Base(from), filepath.Base(to)
	d.pending = append(d.pending, rename{from, to, d.names[from]})
	d.names[to] = d.names[from]
	delete(d.names, from)
	return nil
}

func (d *faultyDisk) SyncDir(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step(); err != nil {
		return err
	}
	for _, r := range d.pending {
		r.apply(d.durable)
	}
	d.pending = nil
	return nil
}

func (r rename) apply(names map[string]*inode) {
	delete(names, r.from)
	names[r.to] = r.inode
}

type faultyFile struct {
	filestore.File
	disk  *faultyDisk
	inode *inode
}

func (f *faultyFile) WriteAt(p []byte, at int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	err := f.disk.step()
	if err != nil {
		if !f.disk.half {
			return 0, err
		}
		p = p[:len(p)/2]
	}
	n, writeErr := f.File.WriteAt(p, at)
	content := f.inode.content
	if missing := int(at) + n - len(content); missing > 0 {
		content = append(content, make([]byte, missing)...)
	}
	f.inode.content = bytes.Clone(content)
	copy(f.inode.content[at:], p[:n])
	return n, errors.Join(err, writeErr)
}

func (f *faultyFile) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.step(); err != nil {
		return err
	}
	f.inode.content = f.inode.content[:min(int(size), len(f.inode.content))]
	return f.File.Truncate(size)
}

func (f *faultyFile) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.step(); err != nil {
		return err
	}
	f.inode.durable = f.inode.content
	return nil // it takes time, and a test does not lose its power
}

// afterPowerCut makes a directory as the disk may have it when the power went
// out: of what was not flushed some is there and some is not, sector by sector.
func (d *faultyDisk) afterPowerCut(t *testing.T, random *rand.Rand) (dir string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := maps.Clone(d.durable)
	for _, r := range d.pending[:random.IntN(len(d.pending)+1)] {
		r.apply(names)
	}
	dir = tempDir(t)
	for name, i := range names {
		writeFile(t, string(i.afterPowerCut(random)), dir, name)
	}
	return dir
}

func (i *inode) afterPowerCut(random *rand.Rand) []byte {
	switch random.IntN(4) {
	case 0:
		return i.durable
	case 1:
		return i.content
	}
	shorter := min(len(i.durable), len(i.content))
	longer := max(len(i.durable), len(i.content))
	text := make([]byte, shorter+random.IntN(longer-shorter+1))
	for at := 0; at < len(text); at += sector {
		from := i.content
		if random.IntN(2) == 0 {
			from = i.durable
		}
		if at < len(from) {
			copy(text[at:min(at+sector, len(text))], from[at:])
		}
	}
	return text
}
