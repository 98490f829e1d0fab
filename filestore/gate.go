package filestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rollcall-go/rollcall/internal/storekit"
	"github.com/rollcall-go/rollcall/lifecycle"
)

const (
	// keptGates is how many keys a gate keeps, the newest.
	keptGates = 100
	// gateStart is what one reading of the file gets. The newest keys are there.
	gateStart = 4096

	gateProduct = "rollcall gate "
	gateHeader  = gateProduct + "1\n"
)

// Gate returns the place for a [lifecycle.BootGate] in a small file, for a host
// that has not opened its store yet, or has another one:
//
//	gate := &lifecycle.BootGate{KV: filestore.Gate("/var/lib/host/gate")}
//
// Nothing is opened or made before it is needed; the directory is made too. Get
// opens, reads and closes the file, and locks nothing: the file is replaced as a
// whole. CompareAndSwap locks a file beside it, of the same name with .lock.
//
// It keeps the newest 100 keys, one for each boot and PID namespace; a gate whose
// key was dropped runs once more. An error of a file that is none of a gate
// matches [ErrForeignFile], [ErrNewerVersion] or [ErrGarbled]: delete it, and the
// gate is open.
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
	n, err := readStart(g.path, space[:])
	text := space[:n]
	if err == nil && n == len(space) {
		text, err = os.ReadFile(g.path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	value, err := findGate(text, key)
	if err != nil {
		return "", fmt.Errorf("%s: %w", g.path, err)
	}
	return value, nil
}

// findGate returns the value of a key. It looks at no other line than that.
func findGate(text []byte, key string) (string, error) {
	text, err := checkGate(text)
	if err != nil {
		return "", err
	}
	inside := key // of its quotes
	if !isPlain(key) {
		quoted := strconv.Quote(key)
		inside = quoted[1 : len(quoted)-1]
	}
	for len(text) > 0 {
		line, rest, _ := bytes.Cut(text, []byte("\n"))
		n := len(inside) + 3
		if len(line) >= n && line[0] == '"' && string(line[1:n-2]) == inside && string(line[n-2:n]) == `" ` {
			value, err := unquote(string(line[n:]))
			if err != nil {
				return "", fmt.Errorf("%w: the line of key %s: %w", ErrGarbled, storekit.Quote(key), err)
			}
			return value, nil
		}
		text = rest
	}
	return "", nil
}

// isPlain reports whether a text is quoted as it stands. Those of a boot gate are,
// and looking each character up would take as long as a system call.
func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// unquote is strconv.Unquote, for plain texts first.
func unquote(text string) (string, error) {
	if n := len(text); n >= 2 && text[0] == '"' && text[n-1] == '"' && isPlain(text[1:n-1]) {
		return text[1 : n-1], nil
	}
	return strconv.Unquote(text)
}

// checkGate takes off the first line. An empty file is a gate without keys.
func checkGate(text []byte) (rest []byte, err error) {
	rest, ok := bytes.CutPrefix(text, []byte(gateHeader))
	switch {
	case ok || len(text) == 0:
		return rest, nil
	case bytes.HasPrefix(text, []byte(gateProduct)):
		line, _, _ := bytes.Cut(text[len(gateProduct):], []byte("\n"))
		if newer, err := strconv.Atoi(string(line)); err == nil && newer > 1 {
			return nil, fmt.Errorf("%w: %d, this package knows 1", ErrNewerVersion, newer)
		}
		return nil, fmt.Errorf("%w: line 1", ErrGarbled)
	default:
		return nil, fmt.Errorf("%w: line 1 is not that of a gate", ErrForeignFile)
	}
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
	text, err := os.ReadFile(g.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	pairs, err := parseGate(text)
	if err != nil {
		return false, fmt.Errorf("%s: %w", g.path, err)
	}
	next := []pair{{key, new}}
	found := ""
	for _, p := range pairs {
		switch {
		case p.key == key:
			found = p.value
		case len(next) < keptGates:
			next = append(next, p)
		}
	}
	if found != old {
		return false, nil
	}
	like, err := os.Stat(g.path)
	if err != nil {
		like = nil // there is none yet
	}
	if err := write(g.disk, g.path, like, formatGate(next)); err != nil {
		return false, err
	}
	return true, g.disk.SyncDir(filepath.Dir(g.path))
}

// pair is a line of a gate.
type pair struct{ key, value string }

func parseGate(text []byte) ([]pair, error) {
	rest, err := checkGate(text)
	if err != nil {
		return nil, err
	}
	var pairs []pair
	for number, line := range strings.SplitAfter(string(rest), "\n") {
		if line == "" {
			break // after the last one
		}
		p, ok := parsePair(line)
		if !ok {
			return nil, fmt.Errorf("%w: line %d", ErrGarbled, number+2)
		}
		pairs = append(pairs, p)
	}
	return pairs, nil
}

func parsePair(line string) (p pair, ok bool) {
	key, err := strconv.QuotedPrefix(line)
	if err != nil {
		return pair{}, false
	}
	value, spaced := strings.CutPrefix(line[len(key):], " ")
	value, ended := strings.CutSuffix(value, "\n")
	p.key, err = strconv.Unquote(key)
	if err == nil {
		p.value, err = strconv.Unquote(value)
	}
	if err != nil || !spaced || !ended {
		return pair{}, false
	}
	return p, true
}

func formatGate(pairs []pair) []byte {
	text := []byte(gateHeader)
	for _, p := range pairs {
		text = strconv.AppendQuote(text, p.key)
		text = strconv.AppendQuote(append(text, ' '), p.value)
		text = append(text, '\n')
	}
	return text
}
