package drivers_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"
	"github.com/ncruces/go-sqlite3"
	_ "github.com/ncruces/go-sqlite3/driver"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// faults are what a disk may do to any one of its operations.
var faults = []fault{
	{name: "power loss", of: []operation{opWrite, opSync, opDelete}},
	{name: "write error", of: []operation{opWrite}, err: vfs.SystemError(syscall.EIO, sqlite3.IOERR_WRITE)},
	{name: "sync error", of: []operation{opSync}, err: vfs.SystemError(syscall.EIO, sqlite3.IOERR_FSYNC)},
	{name: "disk full", of: []operation{opWrite}, err: vfs.SystemError(syscall.ENOSPC, sqlite3.FULL), forever: true},
	{name: "read error", of: []operation{opRead}, err: vfs.SystemError(syscall.EIO, sqlite3.IOERR_READ)},
	{name: "delete error", of: []operation{opDelete}, err: vfs.SystemError(syscall.EIO, sqlite3.IOERR_DELETE)},
	{name: "locked for a moment", of: []operation{opLock}, err: sqlite3.BUSY},
	{name: "locked for ever", of: []operation{opLock}, err: sqlite3.BUSY, forever: true},
	{name: "open error", of: []operation{opOpen}, err: vfs.SystemError(syscall.EMFILE, sqlite3.CANTOPEN)},
}

// TestDiskFailsAtAnyOperation has a host register agents, and clean after a
// reboot, on a disk of which one operation fails: one after another until none is
// left, each strideVariable-th of them. Whatever it was told is then compared with what the
// file holds, and the next start must finish the job.
func TestDiskFailsAtAnyOperation(t *testing.T) {
	t.Parallel()
	stride := 5
	if text := os.Getenv(strideVariable); text != "" {
		var err error
		stride, err = strconv.Atoi(text)
		qt.Assert(t, err, qt.IsNil)
	}
	for _, journal := range []string{"WAL", "DELETE"} {
		for _, f := range faults {
			t.Run(journal+" "+f.name, func(t *testing.T) {
				t.Parallel()
				c := qt.New(t)
				injected, acknowledged := 0, 0
				for at := 1; ; at += stride {
					h := newHost(c, journal, newDisk(f, at), uint64(at))
					h.live()
					if !h.disk.injected {
						break
					}
					injected++
					acknowledged += h.count()
					h.check()
				}
				t.Logf("%d operations failed, %d promises kept", injected, acknowledged)
				c.Assert(injected > 0 || f.of[0] == opDelete && journal == "WAL", qt.IsTrue)
			})
		}
	}
}

// strideVariable is which part of many cases is tried: with 1 all.
const strideVariable = "ROLLCALL_STRIDE"

// diskName counts the file systems that are registered with the driver.
var diskName atomic.Int64

// host is a program on a disk, and what its store has told it.
type host struct {
	*qt.C
	disk    *disk
	dir     string
	journal string
	random  *rand.Rand
	world   *livenesstest.World

	registered, activated, bound, stopped map[string]bool // by name
	closed                                bool            // the gate
}

func newHost(c *qt.C, journal string, d *disk, seed uint64) *host {
	dir, err := os.MkdirTemp(c.TempDir(), "")
	c.Assert(err, qt.IsNil)
	return &host{C: c, disk: d, dir: dir, journal: journal, random: rand.New(rand.NewPCG(seed, 0)), world: livenesstest.New(),
		registered: map[string]bool{}, activated: map[string]bool{}, bound: map[string]bool{}, stopped: map[string]bool{}}
}

func (h *host) count() int {
	return len(h.registered) + len(h.activated) + len(h.bound) + len(h.stopped)
}

var names = []string{"parent", "child", "lone", "beating"}

func data(name string) string { return fmt.Sprintf(`{"of":%q}`, name) }

// open opens the host's file in a directory on a disk.
func (h *host) open(d *disk, dir string) *sql.DB {
	name := fmt.Sprintf("disk%d", diskName.Add(1))
	vfs.Register(name, d)
	h.Cleanup(func() { vfs.Unregister(name) })
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "state.db")+"?vfs="+name+"&_pragma=journal_mode("+h.journal+")")
	h.Assert(err, qt.IsNil)
	return db
}

// live goes through the life of a host until it is over. After an error it goes
// on, as hosts do.
func (h *host) live() {
	db := h.open(h.disk, h.dir)
	defer db.Close()
	ctx := h.Context()
	options := sqlitestore.Options{Clock: h.world, BusyTimeout: 2 * time.Millisecond}
	store, err := sqlitestore.New(ctx, db, options)
	if err != nil {
		if store, err = sqlitestore.New(ctx, db, options); err != nil {
			return
		}
	}
	for _, name := range names {
		h.start(ctx, store, name)
	}
	h.world.Reboot()
	cleaner := lifecycle.Cleaner{Store: store, Liveness: h.world, Clock: h.world,
		OnStopped: func(stop lifecycle.Stop) { h.stopped[stop.Record.Name] = true }}
	for range 2 {
		report, err := cleaner.CleanOncePerBoot(ctx, &lifecycle.BootGate{KV: store.Gate(), Self: h.world.Self})
		h.closed = h.closed || err == nil
		h.Assert(report.GateClosed && err != nil, qt.IsFalse)
	}
}

// start registers an agent as far as it goes.
func (h *host) start(ctx context.Context, store *sqlitestore.Store, name string) {
	record := lifecycle.Record{Name: name, Incarnation: "of " + name, Data: []byte(data(name))}
	if name == "child" {
		record.Parent = "parent"
	}
	record, err := store.Launch(ctx, record)
	if err != nil {
		return
	}
	h.registered[name] = true
	if store.Bind(ctx, record, "key of "+name) == nil {
		h.bound[name] = true
	}
	if store.Activate(ctx, record, h.world.Start()) == nil {
		h.activated[name] = true
	}
	_ = store.Heartbeat(ctx, record)
}

// check compares the file with what the host was told, and then has the next
// start of the host, on a disk that works, finish the job.
func (h *host) check() {
	dir := h.dir
	if h.disk.fault.err == nil {
		var err error
		dir, err = os.MkdirTemp(h.TempDir(), "")
		h.Assert(err, qt.IsNil)
		h.Assert(h.disk.afterPowerLoss(dir, h.random), qt.IsNil)
	}
	comment := qt.Commentf("%s, operation %d", h.disk.fault.name, h.disk.at)
	db := h.open(newDisk(fault{}, 0), dir)
	defer db.Close()
	ctx := h.Context()
	store, err := sqlitestore.New(ctx, db, sqlitestore.Options{Clock: h.world})
	h.Assert(err, qt.IsNil, comment)
	var integrity string
	h.Assert(db.QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&integrity), qt.IsNil)
	h.Assert(integrity, qt.Equals, "ok", comment)

	h.compare(store, db, comment)
	report, err := lifecycle.Cleaner{Store: store, Liveness: h.world, Clock: h.world}.CleanOncePerBoot(ctx, &lifecycle.BootGate{KV: store.Gate(), Self: h.world.Self})
	h.Assert(err, qt.IsNil, comment)
	if h.closed {
		h.Assert(report.GateClosed, qt.IsTrue, comment)
	}
	// A gate that was closed without an acknowledgement has seen a whole pass.
	records, err := store.Records(ctx)
	h.Assert(err, qt.IsNil)
	h.Assert(records, qt.HasLen, 0, comment)
	h.compare(store, db, comment)
}

// compare checks each incarnation: it is registered, or it has one event and
// neither row nor binding, and nothing that was acknowledged is missing.
func (h *host) compare(store *sqlitestore.Store, db *sql.DB, comment qt.Comment) {
	ctx := h.Context()
	var orphans int
	err := db.QueryRowContext(ctx, `SELECT count(*) FROM rollcall_bindings WHERE record NOT IN (SELECT seq FROM rollcall_records)`).Scan(&orphans)
	h.Assert(err, qt.IsNil)
	h.Assert(orphans, qt.Equals, 0, comment)
	records, err := store.Records(ctx)
	h.Assert(err, qt.IsNil)
	events, err := store.Events(ctx, 0)
	h.Assert(err, qt.IsNil)
	for _, name := range names {
		var stored []lifecycle.Snapshot
		for _, r := range records {
			if r.Name == name {
				stored = append(stored, lifecycle.Snapshot{Record: r})
				bound, err := store.Bound(ctx, "key of "+name)
				if errors.Is(err, lifecycle.ErrNotRegistered) {
					continue
				}
				h.Assert(err, qt.IsNil)
				h.Assert(bound.Name, qt.Equals, name)
				stored[len(stored)-1].Bindings = []string{"key of " + name}
			}
		}
		logged := 0
		for _, e := range events {
			if e.Name == name {
				stored = append(stored, e.Snapshot)
				logged++
				_, err := store.Bound(ctx, "key of "+name)
				h.Assert(err, qt.ErrorIs, lifecycle.ErrNotRegistered, comment)
			}
		}
		h.Assert(len(stored) <= 1, qt.IsTrue, qt.Commentf("%v: %q is there %d times", comment, name, len(stored)))
		if len(stored) == 0 {
			h.Assert(h.registered[name], qt.IsFalse, qt.Commentf("%v: %q is lost", comment, name))
			continue
		}
		s := stored[0]
		h.Assert([]string{s.Incarnation, string(s.Data)}, qt.DeepEquals, []string{"of " + name, data(name)}, comment)
		if h.bound[name] {
			h.Assert(slices.Contains(s.Bindings, "key of "+name), qt.IsTrue, qt.Commentf("%v: the binding of %q is lost", comment, name))
		}
		if h.activated[name] {
			h.Assert(s.Phase, qt.Equals, lifecycle.Running, comment)
			h.Assert(s.Identity, qt.Not(qt.Equals), liveness.Identity{}, comment)
		}
		if h.stopped[name] {
			h.Assert(logged, qt.Equals, 1, qt.Commentf("%v: the stop of %q is lost", comment, name))
		}
	}
}
