package drivers_test

import (
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
)

// operation is a kind of what SQLite asks of a file system.
type operation string

const (
	opRead   operation = "read"
	opWrite  operation = "write"
	opSync   operation = "sync"
	opDelete operation = "delete"
	opLock   operation = "lock"
	opOpen   operation = "open"
)

// fault is what happens to an operation.
type fault struct {
	name string
	// of are the operations that are counted.
	of []operation
	// err is what the operation returns; nil is a loss of power, after which
	// every operation fails.
	err error
	// forever says that all later operations of these kinds fail too.
	forever bool
}

// disk is a SQLite file system over that of the operating system. It knows what
// of the files has reached the disk, and one of its operations fails.
type disk struct {
	vfs.VFS

	mu       sync.Mutex
	fault    fault
	at       int // which operation fails; 0 is none
	count    int
	off      bool // the power is
	injected bool
	files    map[string]*image
}

// image is what the disk holds of a file for sure, and what may have reached it.
type image struct {
	durable []byte
	exists  bool // for sure
	pending []write
	// ghost is the content of a file of this name that was deleted; it is
	// back if haunted and the directory did not reach the disk.
	ghost   []byte
	haunted bool
}

type write struct {
	offset int64
	data   []byte
	cut    bool // data is none: the file was truncated to offset
}

func newDisk(f fault, at int) *disk {
	return &disk{VFS: vfs.Find(""), fault: f, at: at, files: map[string]*image{}}
}

var errPowerOff = vfs.SystemError(errors.New("the power is off"), sqlite3.IOERR)

// before says whether an operation fails.
func (d *disk) before(op operation) error {
	if d.off {
		return errPowerOff
	}
	if !slices.Contains(d.fault.of, op) {
		return nil
	}
	d.count++
	if d.at == 0 || d.count < d.at || d.count > d.at && !d.fault.forever {
		return nil
	}
	d.injected = true
	if d.fault.err == nil {
		d.off = true
		return errPowerOff
	}
	return d.fault.err
}

func (d *disk) image(name string) *image {
	if d.files[name] == nil {
		d.files[name] = &image{}
	}
	return d.files[name]
}

func (d *disk) Open(name string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	return d.open(name, func() (vfs.File, vfs.OpenFlag, error) { return vfsutil.WrapOpen(d.VFS, name, flags) })
}

func (d *disk) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	return d.open(name.String(), func() (vfs.File, vfs.OpenFlag, error) { return vfsutil.WrapOpenFilename(d.VFS, name, flags) })
}

func (d *disk) open(name string, open func() (vfs.File, vfs.OpenFlag, error)) (vfs.File, vfs.OpenFlag, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.before(opOpen); err != nil {
		return nil, 0, err
	}
	f, flags, err := open()
	if err != nil {
		return nil, 0, err
	}
	return &file{f, d, d.image(name)}, flags, nil
}

func (d *disk) Delete(name string, syncDir bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.before(opDelete); err != nil {
		return err
	}
	err := d.VFS.Delete(name, false) // nor is the real directory
	if err == nil {
		i := d.image(name)
		*i = image{ghost: i.durable, haunted: i.exists}
		if syncDir {
			d.syncDirectory()
		}
	}
	return err
}

// syncDirectory lays the ghosts.
func (d *disk) syncDirectory() {
	for _, i := range d.files {
		i.ghost, i.haunted = nil, false
	}
}

// file is an open file of a disk.
type file struct {
	vfs.File
	disk  *disk
	image *image
}

func (f *file) SharedMemory() vfs.SharedMemory { return vfsutil.WrapSharedMemory(f.File) }

func (f *file) ReadAt(p []byte, offset int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.before(opRead); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, offset)
}

func (f *file) WriteAt(p []byte, offset int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.before(opWrite); err != nil {
		return 0, err
	}
	f.image.pending = append(f.image.pending, write{offset: offset, data: slices.Clone(p)})
	return f.File.WriteAt(p, offset)
}

func (f *file) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.before(opWrite); err != nil {
		return err
	}
	f.image.pending = append(f.image.pending, write{offset: size, cut: true})
	return f.File.Truncate(size)
}

// Sync also brings the directory of a new file to the disk, as those of SQLite
// and of this driver do.
func (f *file) Sync(flags vfs.SyncFlag) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.before(opSync); err != nil {
		return err
	}
	for _, w := range f.image.pending {
		f.image.durable = w.apply(f.image.durable, len(w.data))
	}
	if !f.image.exists {
		f.disk.syncDirectory()
	}
	f.image.pending, f.image.exists = nil, true
	return nil // the real disk is not asked
}

func (f *file) Lock(level vfs.LockLevel) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.before(opLock); err != nil {
		return err
	}
	return f.File.Lock(level)
}

// apply makes the first n bytes of a write in the content of a file.
func (w write) apply(content []byte, n int) []byte {
	if w.cut {
		return slices.Clone(content[:min(int(w.offset), len(content))])
	}
	if end := int(w.offset) + n; end > len(content) {
		content = append(content, make([]byte, end-len(content))...)
	}
	copy(content[w.offset:], w.data[:n])
	return content
}

// afterPowerLoss writes the files as they may be on the disk after the power
// went: what was synced, and whatever else came that far, not always whole. A
// file whose deletion was not synced may be back. The WAL index is shared
// memory, which nothing outlives.
func (d *disk) afterPowerLoss(dir string, random *rand.Rand) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(d.files)) {
		i := d.files[name]
		if i.haunted && random.IntN(2) == 0 {
			i = &image{durable: i.ghost, exists: true}
		}
		content := slices.Clone(i.durable)
		exists := i.exists
		for _, w := range i.pending {
			if random.IntN(2) == 0 {
				continue
			}
			const sector = 512
			n := len(w.data)
			if random.IntN(4) == 0 {
				n = random.IntN(n/sector+1) * sector
			}
			content, exists = w.apply(content, min(n, len(w.data))), true
		}
		if !exists {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(name)), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}
