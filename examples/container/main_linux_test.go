package main

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// binary is the program, built as its user would.
var binary string

func TestMain(m *testing.M) {
	if proctest.Role() == "" {
		os.Exit(runTests(m))
	}
	proctest.Main(m, map[string]func([]string){"container": containerRole})
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "container-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "container")
	if output, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v: %s", err, output))
	}
	return m.Run()
}

// containerRole becomes the program, as PID 1 of a container.
func containerRole(args []string) {
	err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
	if err == nil {
		err = syscall.Mount("proc", "/proc", "proc", 0, "")
	}
	if err == nil {
		err = syscall.Exec(args[0], args, os.Environ())
	}
	fmt.Println("no container:", err)
}

// container is one that runs.
type container struct {
	*proctest.Child
	said            []string // before the job ran
	job, entrypoint int      // PIDs
}

func start(c *qt.C, volume string) *container {
	hold := proctest.Command("hold").Args
	cmd := proctest.Command("container", append([]string{binary, "-volume", volume}, hold...)...)
	proctest.NewNamespaces(cmd, syscall.CLONE_NEWPID|syscall.CLONE_NEWNS)
	child, err := proctest.TryStart(c, cmd)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EINVAL) {
		proctest.Skip(c, "no new namespaces: %v", err)
	}
	c.Assert(err, qt.IsNil)
	p := &container{Child: child}
	for {
		line := child.ReadLine(c)
		if strings.HasPrefix(line, "no container: ") {
			proctest.Skip(c, "%s", line)
		}
		if n, _ := fmt.Sscanf(line, "job runs as PID %d, the entrypoint as PID %d", &p.job, &p.entrypoint); n == 2 {
			return p
		}
		if line != "ready" { // the job says that, before or after the line above
			p.said = append(p.said, line)
		}
	}
}

func storeOn(c *qt.C, volume string) *sqlitestore.Store {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(volume, "state.db"))
	c.Assert(err, qt.IsNil)
	c.Cleanup(func() { db.Close() })
	store, err := sqlitestore.New(c.Context(), db, sqlitestore.Options{})
	c.Assert(err, qt.IsNil)
	return store
}

func TestRestartedContainerStopsTheRecordsOfTheLastOne(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	volume := c.TempDir()
	last := start(c, volume)
	c.Assert(last.entrypoint, qt.Equals, 1)
	c.Assert(last.said, qt.HasLen, 1) // nothing was stopped
	store := storeOn(c, volume)
	restarts := 0
	// How many threads the runtime has started decides which PID a job gets.
	for same := false; !same; restarts++ {
		c.Assert(restarts < 100, qt.IsTrue, qt.Commentf("no job got the PID of the one before"))
		before, err := store.Records(c.Context())
		c.Assert(err, qt.IsNil)
		c.Assert(before, qt.HasLen, 2)
		last.Kill()
		p := start(c, volume)
		c.Check(p.said[:2], qt.ContentEquals, []string{
			"stopped entrypoint, PID 1: exit:reboot",
			fmt.Sprintf("stopped job, PID %d: exit:reboot", last.job),
		})
		after, err := store.Records(c.Context())
		c.Assert(err, qt.IsNil)
		c.Assert(after, qt.HasLen, 2)
		for i, record := range after {
			c.Check(record.Name, qt.Equals, before[i].Name)
			c.Check(record.Incarnation, qt.Not(qt.Equals), before[i].Incarnation)
			c.Check(record.Identity.Boot, qt.Equals, before[i].Identity.Boot)
			c.Check(record.Identity.Namespace, qt.Not(qt.Equals), before[i].Identity.Namespace)
		}
		same = p.job == last.job && p.entrypoint == last.entrypoint
		last = p
	}
	c.Logf("after %d restarts both PIDs were those of the container before", restarts)

	c.Assert(last.Process.Signal(syscall.SIGTERM), qt.IsNil)
	c.Check(last.Wait(), qt.IsNil)
	records, err := store.Records(c.Context())
	c.Assert(err, qt.IsNil)
	c.Check(records, qt.HasLen, 0)
	var events []lifecycle.Event
	for {
		page, err := store.Events(c.Context(), int64(len(events)))
		c.Assert(err, qt.IsNil)
		if len(page) == 0 {
			break
		}
		events = append(events, page...)
	}
	reasons, incarnations := map[string]int{}, map[string]bool{}
	for _, event := range events {
		reasons[event.Reason]++
		incarnations[event.Incarnation] = true
	}
	c.Check(reasons, qt.DeepEquals, map[string]int{lifecycle.ReasonReboot: 2 * restarts, "shutdown": 1, "ended": 1})
	c.Check(incarnations, qt.HasLen, len(events)) // each was stopped once
}
