package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rollcall-go/rollcall/liveness"
)

// guard keeps two processes from having the same pid file. The file holds one
// line, the identity of the process that has it.
//
// There is no lock that could be left behind. A file that does not exist is made
// by link(2), with its text, and only if it still does not exist. A file whose
// process is dead is replaced by the one who has made its successor, a file with
// a name of its own for each dead process: that name can be had once. Renaming
// the successor over the file is the takeover, and ends the right to it. Who dies
// on the way leaves a successor whose process is dead, and the same rule holds
// for that one.
type guard struct {
	self  liveness.Identity
	judge liveness.Liveness
	// force treats a process of which it is not known whether it lives as dead.
	force bool
}

// claim makes the file name this process. It returns an error, and leaves the
// file as it is, if the file names another one that is not known to be dead, or
// if it is no file of ours.
func (g guard) claim(file string) error {
	if text, err := os.ReadFile(file); err == nil { // who is refused at once writes nothing
		if err := g.refuse(file, text); err != nil {
			return err
		}
	}
	own, err := g.write(filepath.Dir(file))
	if own != "" {
		defer os.Remove(own) //nolint:errcheck // it is of no use to anybody, and in nobody's way
	}
	if err != nil {
		return err
	}
	return g.take(file, own)
}

func (g guard) take(file, own string) error {
	for range 100 { // of which each means that somebody else was quicker
		err := os.Link(own, file)
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		taken, err := g.replace(file, own)
		if taken || err != nil {
			return err
		}
	}
	return fmt.Errorf("%s is always there and always gone: is it a link to a file that does not exist?", file)
}

// replace takes the place of a file that is there, if its process is gone. It
// reports false where somebody else was quicker.
func (g guard) replace(file, own string) (taken bool, err error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := g.refuse(file, text); err != nil {
		return false, err
	}
	next := successor(file, text)
	refused := g.take(next, own)
	// Nobody but us can replace a file whose successor is ours. But it may
	// have been replaced before, and a successor of what is gone is nothing.
	now, err := os.ReadFile(file)
	same := err == nil && bytes.Equal(now, text)
	if same && refused == nil {
		if err = os.Rename(next, file); err == nil {
			return true, nil
		}
	}
	if refused == nil {
		os.Remove(next) //nolint:errcheck // likewise
	}
	if same {
		return false, errors.Join(refused, err)
	}
	return false, nil
}

func successor(file string, text []byte) string {
	return fmt.Sprintf("%s.%.8x", file, sha256.Sum256(text))
}

// refuse says why the file must not be taken over, or nil.
func (g guard) refuse(file string, text []byte) error {
	id, err := parse(file, text)
	if err != nil {
		return err
	}
	switch verdict := g.judge.Check(id); {
	case verdict.State == liveness.Alive:
		return fmt.Errorf("already running as PID %d (%s)", id.PID, file)
	case verdict.State == liveness.Unknown && !g.force:
		return fmt.Errorf("%s names PID %d, and it is not known whether that process is alive (%v): if you are sure that it is gone, add -force", file, id.PID, verdict)
	}
	return nil
}

// release removes the file, if it is ours.
func (g guard) release(file string) error {
	text, err := os.ReadFile(file)
	if err != nil || string(text) != g.self.String()+"\n" {
		return err
	}
	return os.Remove(file)
}

// write makes a file of our identity under a name of its own. It is on the disk
// before it gets its final name: a power cut leaves no empty pid file.
func (g guard) write(dir string) (name string, err error) {
	f, err := os.CreateTemp(dir, ".pidfile-*")
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(g.self.String() + "\n")
	return f.Name(), errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
}

func parse(file string, text []byte) (liveness.Identity, error) {
	id, err := liveness.Parse(string(text))
	if err == nil && id.IsZero() {
		err = errors.New("it is empty")
	}
	if err != nil {
		return id, fmt.Errorf("%s is not a pid file of this program, and is left alone; if nobody needs it, remove it: %w", file, err)
	}
	return id, nil
}
