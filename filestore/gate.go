package filestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
	// keptGates is how many keys a gate keeps.
	keptGates = 100
	// maxGate is far above the size of 100 keys of a BootGate. It bounds the
	// reading of a file that is no gate.
	maxGate = 1 << 20
	// gateStart is the size of a gate that is read at once: some 15 keys.
	gateStart = 4 << 10
)

// Gate returns the place for a [lifecycle.BootGate] in a small file. It suits a
// host that has not opened its store yet, or keeps its records elsewhere:
//
//	gate := &lifecycle.BootGate{KV: filestore.Gate("/var/lib/host/gate")}
//
// Gate itself opens and creates nothing. Get reads the file, on Unix without a
// lock. CompareAndSwap creates the directory, locks a second file, of the same
// name with .lock, and replaces the gate as a whole.
//
// The file keeps the newest 100 keys, one for each boot and PID namespace. A
// gate whose key was dropped runs once more.
//
// The error for a file that is no gate, or one of more than 1 MiB, matches
// [ErrForeignFile], [ErrNewerVersion] or [ErrGarbled]. Delete the file to open
// the gate.
func Gate(path string) lifecycle.KV { return &gate{path: path, disk: osDisk{}} }

// Gate returns [Gate] of the file "gate" in the store's directory.
func (s *Store) Gate() lifecycle.KV { return &gate{path: s.path(gateFile), disk: s.options.disk} }

type gate struct {
	path string
	disk disk
}

// Get implements [lifecycle.KV].
func (g *gate) Get(ctx context.Context, key string) (string, error) {
	value, err := g.get(ctx, key)
	if err != nil {
		return "", fmt.Errorf("filestore: read gate: %w", err)
	}
	return value, nil
}

// get passes over garbled lines of other keys. A closed gate stays closed.
func (g *gate) get(ctx context.Context, key string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if readersLock {
		unlock, err := lock(ctx, g.path+".lock", false, defaultBusyTimeout)
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil // no directory
		}
		if err != nil {
			return "", err
		}
		defer unlock()
	}
	var space [gateStart]byte
	body, err := g.read(space[:])
	if err != nil {
		return "", err
	}
	var quoted [256]byte // on the stack, as long as it suffices
	ours := append(appendKey(quoted[:0], key), ' ')
	for len(body) > 0 { // bytes.Lines would have space on the heap
		_, next, _ := bytes.Cut(body, []byte("\n"))
		line := body[:len(body)-len(next)]
		if bytes.HasPrefix(line, ours) {
			return g.parseValue(string(line), len(ours))
		}
		body = next
	}
	return "", nil
}

// appendKey appends a key as its line has it. The keys of a BootGate are plain, and
// strconv takes as long to see that as a system call.
func appendKey(b []byte, key string) []byte {
	for i := range len(key) {
		if c := key[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return strconv.AppendQuote(b, key)
		}
	}
	return append(append(append(b, '"'), key...), '"')
}

// CompareAndSwap implements [lifecycle.KV].
func (g *gate) CompareAndSwap(ctx context.Context, key, old, new string) (swapped bool, err error) {
	swapped, err = g.swap(ctx, key, old, new)
	if err != nil {
		return false, fmt.Errorf("filestore: swap gate: %w", err)
	}
	return swapped, nil
}

func (g *gate) swap(ctx context.Context, key, old, new string) (swapped bool, err error) {
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
	body, err := g.read(make([]byte, gateStart))
	if err != nil {
		return false, err
	}
	found := ""
	lines := []string{fmt.Sprintf("%s%d\n", gateProduct, gateVersion), fmt.Sprintf("%q %q\n", key, new)}
	for line := range strings.Lines(string(body)) {
		k, value, err := g.parseLine(line)
		switch {
		case err != nil:
			return false, err
		case k == key:
			found = value
		case len(lines) <= keptGates:
			lines = append(lines, line)
		}
	}
	if found != old {
		return false, nil
	}
	text := strings.Join(lines, "")
	if len(text) > maxGate {
		return false, fmt.Errorf("%s: it would hold more than %d bytes", g.path, maxGate)
	}
	like, _ := os.Stat(g.path) // nil where there is none yet
	if err := write(g.disk, g.path, like, []byte(text)); err != nil {
		return false, err
	}
	return true, g.disk.SyncDir(filepath.Dir(g.path))
}

// read returns the lines below the header, in buf if they fit. A gate that does not
// exist has none.
func (g *gate) read(buf []byte) (body []byte, err error) {
	text, ok := readAtOnce(g.path, buf)
	if !ok {
		if text, err = g.readAll(); err != nil {
			return nil, err
		}
	}
	if body, err = gateBody(text); err != nil {
		return nil, fmt.Errorf("%s: %w", g.path, err)
	}
	return body, nil
}

func (g *gate) readAll() ([]byte, error) {
	f, err := os.Open(g.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxGate+1))
}

// gateBody takes the header off. An empty file is a gate without keys.
func gateBody(text []byte) ([]byte, error) {
	header, body, ended := bytes.Cut(text, []byte("\n"))
	version, ours := bytes.CutPrefix(header, []byte(gateProduct))
	number, err := strconv.Atoi(string(version))
	switch {
	case len(text) == 0:
		return nil, nil
	case !ours:
		return nil, fmt.Errorf("%w: line 1 is not that of a gate", ErrForeignFile)
	case err == nil && number > gateVersion:
		return nil, fmt.Errorf("%w: %d, this package knows %d", ErrNewerVersion, number, gateVersion)
	case err != nil || number != gateVersion || !ended:
		return nil, fmt.Errorf("%w: line 1", ErrGarbled)
	case len(text) > maxGate:
		return nil, fmt.Errorf("%w: more than %d bytes", ErrGarbled, maxGate)
	}
	return body, nil
}

func (g *gate) parseLine(line string) (key, value string, err error) {
	quoted, err := strconv.QuotedPrefix(line)
	if err != nil || !strings.HasPrefix(line[len(quoted):], " ") {
		return "", "", g.garbled(line)
	}
	key, err = strconv.Unquote(quoted)
	if err == nil {
		value, err = g.parseValue(line, len(quoted)+1)
	}
	return key, value, err
}

// parseValue parses the value of a line, from where the key and its space end.
func (g *gate) parseValue(line string, at int) (string, error) {
	text, ended := strings.CutSuffix(line[at:], "\n")
	value, err := strconv.Unquote(text)
	if err != nil || !ended {
		return "", g.garbled(line)
	}
	return value, nil
}

func (g *gate) garbled(line string) error {
	return fmt.Errorf("%s: %w: line %s", g.path, ErrGarbled, storekit.Quote(line))
}
