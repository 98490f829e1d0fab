package filestore_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	qt "github.com/frankban/quicktest"
	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/filestore"
	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

// A write to a full disk has not happened; the records are as they were, and the
// store works again when there is room.
func TestAFullDisk(t *testing.T) {
	if !proctest.Inside(t, unix.CLONE_NEWNS) {
		return
	}
	c := qt.New(t)
	dir := t.TempDir()
	proctest.Mount(t, "tmpfs", dir, "tmpfs", 0, "size=64k")
	store := open(t, dir, filestore.Options{}.RewriteFrom(10_000))
	record := running("first", liveness.Identity{})
	register(t, store, record)
	swap(t, store.Gate(), "key", "", "1")
	filler := filepath.Join(dir, "filler")
	full := make([]byte, 1<<20)
	c.Assert(os.WriteFile(filler, full, 0o600), qt.ErrorIs, syscall.ENOSPC)

	var before map[string]string
	var err error
	for err == nil { // in the room that is left of the last page
		before = everything(t, store)
		err = store.Heartbeat(t.Context(), record)
	}
	c.Assert(err, qt.ErrorIs, syscall.ENOSPC)
	c.Assert(err, qt.ErrorIs, lifecycle.ErrUnavailable)
	c.Assert(err.Error(), qt.Contains, filepath.Join(dir, recordsFile))
	_, err = store.Gate().CompareAndSwap(t.Context(), "key", "1", "2")
	c.Assert(err, qt.ErrorIs, syscall.ENOSPC)
	c.Assert(err.Error(), qt.Contains, filepath.Join(dir, "gate"))
	c.Assert(everything(t, store), qt.DeepEquals, before)
	c.Assert(everything(t, open(t, dir, filestore.Options{})), qt.DeepEquals, before)

	c.Assert(os.Remove(filler), qt.IsNil)
	for range 100 { // rewrites the records too
		c.Assert(store.Heartbeat(t.Context(), record), qt.IsNil)
	}
	swap(t, store.Gate(), "key", "1", "2")
}

// Who may not write reads.
func TestAReaderWithoutTheRightToWrite(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	dir := filepath.Join(t.TempDir(), "records")
	store := open(t, dir, filestore.Options{})
	register(t, store, running("first", liveness.Identity{}))
	swap(t, store.Gate(), "key", "", "1")
	reader := func() []string {
		cmd := proctest.Command("read", dir)
		proctest.AsNobody(t, cmd)
		output, err := cmd.CombinedOutput()
		if err != nil {
			c.Check(err, qt.ErrorMatches, "exit status 1")
		}
		return strings.Split(strings.TrimSuffix(string(output), "\n"), "\n")
	}
	for up := dir; up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
		c.Assert(os.Chmod(up, 0o711), qt.IsNil)
	}
	lines := reader()
	c.Assert(lines, qt.HasLen, 1)
	c.Assert(lines[0], qt.Matches, `filestore: open .*: store is unavailable: open .*: permission denied`)
	for _, name := range []string{recordsFile, eventsFile, "lock", "turn", "gate", "gate.lock"} {
		c.Assert(os.Chmod(filepath.Join(dir, name), 0o644), qt.IsNil)
	}
	lines = reader()
	c.Assert(lines, qt.HasLen, 3)
	c.Assert(lines[0], qt.Equals, "1 1")
	c.Assert(lines[1], qt.Matches, `true filestore: launch "new": store is unavailable: open .*records.jsonl: permission denied`)
	c.Assert(lines[2], qt.Matches, `true filestore: swap gate: (open|remove) .*gate.new: permission denied`)
}

// What root rewrites stays that of the user.
func TestAFileThatIsReplacedKeepsItsOwner(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	if os.Getuid() != 0 {
		proctest.Skip(t, "it takes root to give a file away")
	}
	dir := t.TempDir()
	store := open(t, dir, unflushed().RewriteFrom(1))
	register(t, store, running("first", liveness.Identity{}))
	swap(t, store.Gate(), "key", "", "1")
	content := imageOf(t, dir)
	for _, name := range []string{recordsFile, "gate"} {
		c.Assert(os.Chown(filepath.Join(dir, name), proctest.Nobody, proctest.Nobody), qt.IsNil)
	}
	for range 10 {
		c.Assert(store.Heartbeat(t.Context(), running("first", liveness.Identity{})), qt.IsNil)
	}
	swap(t, store.Gate(), "key", "1", "2")
	for _, name := range []string{recordsFile, "gate"} {
		c.Assert(firstLines(readFile(t, dir, name)), qt.Not(qt.Equals), firstLines(content[name]))
		info, err := os.Stat(filepath.Join(dir, name))
		c.Assert(err, qt.IsNil)
		owner := info.Sys().(*syscall.Stat_t)
		c.Assert([]uint32{owner.Uid, owner.Gid}, qt.DeepEquals, []uint32{proctest.Nobody, proctest.Nobody})
	}
}

func firstLines(text string) string { return strings.Join(strings.SplitN(text, "\n", 3)[:2], "\n") }
