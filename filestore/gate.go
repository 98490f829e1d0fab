package filestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
)

// A gate is a text file: a header, and below it a line for each key, the newest
// first. A line is the key and its value as Go string literals.
const (
	gateProduct = "rollcall gate "
	gateVersion = 1
	keptGates   = 100
	maxGate     = 1 << 20 // bytes, far above the size of 100 keys of a BootGate
)

// Gate returns the place for a [lifecycle.BootGate] in a small file. It suits a
// host that has not opened its store yet, or keeps its records elsewhere:
//
//	gate := &lifecycle.BootGate{KV: filestore.Gate("/var/lib/host/gate")}
//
// Gate opens and creates nothing. Get reads the file, except on Windows without a lock.
// CompareAndSwap creates the directory, locks a file of the same name with .lock,
// and replaces the gate as a whole. It keeps the newest 100 keys, one for each boot
// and PID namespace. A gate whose key was dropped runs once more.
//
// The error for a file that is no gate, or one of more than 1 MiB, matches
// [ErrForeignFile], [ErrNewerVersion] or [ErrGarbled]. Delete it to open the gate.
func Gate(path string) lifecycle.KV { return &gate{path: path, disk: osDisk{}} }

// Gate returns [Gate] of the file "gate" in the store's directory.
func (s *Store) Gate() lifecycle.KV { return &gate{path: s.path(gateFile), disk: s.options.disk} }

type gate struct {
	path string
	disk disk
}

// Get implements [lifecycle.KV].
func (g *gate) Get(ctx context.Context, key string) (value string, err error) {
	defer wrapGate("read", &err)
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if runtime.GOOS == "windows" { // where an open file cannot be replaced
		unlock, err := lock(ctx, g.path+".lock", false, defaultBusyTimeout)
		if err == nil {
			defer unlock()
		} else if !errors.Is(err, fs.ErrNotExist) { // no directory, no gate
			return "", err
		}
	}
	value, _, err = g.find(key, false)
	return value, err
}

// CompareAndSwap implements [lifecycle.KV].
func (g *gate) CompareAndSwap(ctx context.Context, key, old, new string) (swapped bool, err error) {
	defer wrapGate("swap", &err)
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := makeDir(g.disk, filepath.Dir(g.path)); err != nil {
		return false, err
	}
	unlock, err := lock(ctx, g.path+".lock", true, defaultBusyTimeout)
	if err != nil {
		return false, err
	}
	defer unlock()
	value, others, err := g.find(key, true)
	if err != nil || value != old {
		return false, err
	}
	text := fmt.Sprintf("%s%d\n%q %q\n%s", gateProduct, gateVersion, key, new, strings.Join(others, ""))
	if len(text) > maxGate {
		return false, fmt.Errorf("%s: it would hold more than %d bytes", g.path, maxGate)
	}
	like, _ := os.Stat(g.path) // nil where there is none yet
	if err = write(g.disk, g.path, like, []byte(text)); err == nil {
		err = g.disk.SyncDir(filepath.Dir(g.path))
	}
	return err == nil, err
}

func wrapGate(doing string, err *error) {
	if *err != nil {
		*err = fmt.Errorf("filestore: %s gate: %w", doing, *err)
	}
}

// find returns the value of a key, and with all also the lines of other keys that are
// kept. Without all it passes over garbled ones of these: a closed gate stays closed.
func (g *gate) find(key string, all bool) (value string, others []string, err error) {
	text, err := g.read()
	rest, ours := strings.CutPrefix(text, gateProduct)
	version, body, ended := strings.Cut(rest, "\n")
	number, numberErr := strconv.Atoi(version)
	switch {
	case err != nil || text == "":
		return "", nil, err
	case !ours:
		return "", nil, fmt.Errorf("%s: %w: line 1 is not that of a gate", g.path, ErrForeignFile)
	case numberErr == nil && number > gateVersion:
		return "", nil, fmt.Errorf("%s: %w: %d, this package knows %d", g.path, ErrNewerVersion, number, gateVersion)
	case number != gateVersion || !ended || len(text) > maxGate:
		return "", nil, fmt.Errorf("%s: %w: line 1 is damaged, or the file has more than %d bytes", g.path, ErrGarbled, maxGate)
	}
	found := false
	for line := range strings.Lines(body) {
		k, v, ok := parseLine(line)
		switch {
		case !ok && (all || k == key):
			return "", nil, fmt.Errorf("%s: %w: line %s", g.path, ErrGarbled, storekit.Quote(line))
		case k == key && !found:
			if value, found = v, true; !all {
				return value, nil, nil
			}
		case all && k != key && len(others) < keptGates-1:
			others = append(others, line)
		}
	}
	return value, others, nil
}

// parseLine parses a key, a space and a value. The key of a line that is not ok is what
// can be read of it.
func parseLine(line string) (key, value string, ok bool) {
	quoted, _ := strconv.QuotedPrefix(line)
	key, keyErr := strconv.Unquote(quoted)
	rest, ended := strings.CutSuffix(line[len(quoted):], "\n")
	rest, spaced := strings.CutPrefix(rest, " ")
	value, valueErr := strconv.Unquote(rest)
	return key, value, keyErr == nil && valueErr == nil && ended && spaced
}

// read returns the content of the file, nothing where there is none.
func (g *gate) read() (string, error) {
	var small [4 << 10]byte // some 15 keys
	if n := readSmall(g.path, small[:]); n > 0 {
		return string(small[:n]), nil
	}
	f, err := os.Open(g.path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxGate+1))
	return string(text), err
}
