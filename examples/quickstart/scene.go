package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// scene fills the store as a host would, and then ends some processes.
type scene struct {
	db       *sql.DB
	store    *sqlitestore.Store
	happened map[string]string // by record name, for the table
	children []*child
}

func (s *scene) play(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		s.running, s.killed, s.unreaped, s.reused, s.earlierBoot, s.remote, s.launching, s.heartbeats,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// end ends what still runs.
func (s *scene) end() {
	for _, c := range s.children {
		c.kill()
		c.wait()
	}
}

// launch is how a host starts and records a process.
func (s *scene) launch(ctx context.Context, name, happened string) (*child, error) {
	s.happened[name] = happened
	record, err := s.store.Launch(ctx, lifecycle.Record{Name: name})
	if err != nil {
		return nil, err
	}
	c, err := startChild()
	if err != nil {
		return nil, err
	}
	s.children = append(s.children, c)
	identity, err := liveness.CaptureProcess(c.cmd.Process)
	if errors.Is(err, errors.ErrUnsupported) {
		// This system has no implementation yet: record the PID alone, and
		// see that nothing is decided by it.
		identity, err = liveness.Identity{PID: c.cmd.Process.Pid}, nil
	}
	if err != nil {
		return nil, err
	}
	identity.Marker = c.marker
	c.identity = identity
	return c, s.store.Activate(ctx, record, identity)
}

func (s *scene) running(ctx context.Context) error {
	_, err := s.launch(ctx, "web", "runs")
	return err
}

func (s *scene) killed(ctx context.Context) error {
	c, err := s.launch(ctx, "worker", "killed hard")
	if err != nil {
		return err
	}
	c.kill()
	c.wait()
	return nil
}

func (s *scene) unreaped(ctx context.Context) error {
	c, err := s.launch(ctx, "zombie", "killed, and nobody waited for it")
	if err != nil {
		return err
	}
	c.kill()
	system, err := liveness.New(liveness.Options{})
	if err != nil {
		return err
	}
	for system.Check(c.identity).State == liveness.Alive {
		runtime.Gosched() // the kernel has not got round to it yet
	}
	return nil
}

func (s *scene) reused(ctx context.Context) error {
	c, err := s.launch(ctx, "builder", "killed")
	if err != nil {
		return err
	}
	c.kill()
	c.wait()
	if err := s.giveAway(c.cmd.Process.Pid); err != nil {
		s.happened["builder"] = fmt.Sprintf("killed (giving its PID away needs root: %v)", errors.Unwrap(err))
	} else {
		s.happened["builder"] = "killed, and its PID given to a stranger"
	}
	return nil
}

// giveAway starts strangers until one has the PID. Linux gives out numbers in
// order, from one above the last, and lets root set the last.
func (s *scene) giveAway(pid int) error {
	for range 100 {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
			return err
		}
		stranger, err := startChild()
		if err != nil {
			return err
		}
		s.children = append(s.children, stranger)
		if stranger.cmd.Process.Pid == pid {
			return nil
		}
		stranger.kill()
		stranger.wait()
	}
	return fmt.Errorf("giving PID %d away: %w", pid, errors.New("others were quicker"))
}

// earlierBoot leaves two records as a host of an earlier boot would have: the
// PID they name is in use today.
func (s *scene) earlierBoot(ctx context.Context) error {
	boot := earlier{boot: bootid.ID{Boot: uuid.NewString(), Quality: bootid.Native}, awake: 3 * time.Hour}
	if now, err := bootid.Current(); err == nil {
		boot.boot.Machine = now.Machine
		if now.Quality == bootid.Given { // in a container, each boot is
			boot.boot.Quality = now.Quality
		}
	}
	store, err := sqlitestore.New(ctx, s.db, sqlitestore.Options{Clock: boot})
	if err != nil {
		return err
	}
	agent, err := store.Launch(ctx, lifecycle.Record{Name: "agent", Data: json.RawMessage(`{"argv":["claude","--resume"],"dir":"/src"}`)})
	if err != nil {
		return err
	}
	if err := store.Bind(ctx, agent, "session:7f3a"); err != nil {
		return err
	}
	s.happened["agent"] = "recorded before a reboot; its PID is in use again"
	if err := store.Activate(ctx, agent, liveness.Identity{PID: os.Getpid(), Boot: boot.boot}); err != nil {
		return err
	}
	s.happened["agent/tool"] = "a child of agent: it is stopped with it"
	tool, err := s.store.Launch(ctx, lifecycle.Record{Name: "agent/tool", Parent: "agent"})
	if err != nil {
		return err
	}
	return s.store.Activate(ctx, tool, liveness.Identity{})
}

func (s *scene) remote(ctx context.Context) error {
	s.happened["phone"] = "belongs to another machine"
	record, err := s.store.Launch(ctx, lifecycle.Record{Name: "phone", Owner: "laptop-2"})
	if err != nil {
		return err
	}
	return s.store.Activate(ctx, record, liveness.Identity{PID: 4242})
}

func (s *scene) launching(ctx context.Context) error {
	s.happened["newcomer"] = "is being launched right now"
	_, err := s.store.Launch(ctx, lifecycle.Record{Name: "newcomer"})
	return err
}

// heartbeats leaves two records without a process: one that beats, and one
// that has been silent for two hours.
func (s *scene) heartbeats(ctx context.Context) error {
	s.happened["hook"] = "tracks no process, beats"
	record, err := s.store.Launch(ctx, lifecycle.Record{Name: "hook"})
	if err != nil {
		return err
	}
	if err := s.store.Activate(ctx, record, liveness.Identity{}); err != nil {
		return err
	}
	clock := earlier{}
	if clock.boot, err = bootid.Current(); err != nil {
		return nil // ages cannot be told here
	}
	if clock.awake, err = bootid.Awake(); err != nil {
		return nil
	}
	clock.awake -= 2 * time.Hour
	store, err := sqlitestore.New(ctx, s.db, sqlitestore.Options{Clock: clock})
	if err != nil {
		return err
	}
	s.happened["silent"] = "tracks no process, last beat two hours ago"
	if record, err = store.Launch(ctx, lifecycle.Record{Name: "silent"}); err != nil {
		return err
	}
	return store.Activate(ctx, record, liveness.Identity{})
}

// earlier is a lifecycle.Clock that stands still at some moment in the past.
type earlier struct {
	boot  bootid.ID
	awake time.Duration
}

func (e earlier) Boot() (bootid.ID, error)      { return e.boot, nil }
func (e earlier) Awake() (time.Duration, error) { return e.awake, nil }

// child is a process of ours that does nothing until it is killed.
type child struct {
	cmd      *exec.Cmd
	marker   string
	identity liveness.Identity
}

// childArgument makes this program be such a child.
const childArgument = "child-of-quickstart"

// childMain waits for the end of its input, which comes when its parent ends,
// however that happens.
func childMain() { io.Copy(io.Discard, os.Stdin) }

func startChild() (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(program, childArgument)}
	c.marker = liveness.Plant(c.cmd)
	// The pipe ends with this process.
	if _, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return c, c.cmd.Start()
}

func (c *child) kill() { c.cmd.Process.Kill() }
func (c *child) wait() { c.cmd.Wait() }
