package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/pgserver"
	"github.com/rollcall-go/rollcall/internal/proctest"
)

// The test binary is also the machines that run starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == machineArgument {
		if err := machineMain(context.Background(), os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestFleetTakesAKilledMachineOver(t *testing.T) {
	c := qt.New(t)
	// Short enough for a socket, and open to the user of the server.
	dir, err := os.MkdirTemp("", "fleet-")
	c.Assert(err, qt.IsNil)
	defer os.RemoveAll(dir)
	c.Assert(os.Chmod(dir, 0o755), qt.IsNil)
	t.Setenv("TMPDIR", dir)
	// A socket is found by its path from any network namespace.
	netns := os.Getenv(pgserver.URLVariable) == "" && exec.Command("unshare", "--net", "--", "true").Run() == nil
	var out bytes.Buffer
	err = run(t.Context(), &out, options{machines: 4, records: 30, ttl: 2 * time.Second, netns: netns, terminal: true})
	if errors.Is(err, pgserver.ErrNotInstalled) {
		proctest.Skip(t, "%v, and %s is not set", err, pgserver.URLVariable)
	}
	c.Assert(err, qt.IsNil, qt.Commentf("%s", &out))
	c.Log(out.String())
	for _, line := range []string{
		`(?m)^  machine-2 +killed +.* 30 +0$`,
		`(?m)^  machine-2 +killed +(lease has run out|lost, .*stopped) .*$`,
		`(?m)^  machine-2 +killed +lost, all records stopped +- +0 +0$`,
		`(?m)^  machine-1 +runs, \d+ +holds its lease +.* 30 +\d+$`,
		`(?m)^30 stopped events of 30 incarnations, by reason: map\[exit:host_lost:30\]$`,
		`(?m)^machine-2/job-1 could be resumed elsewhere with \{"job":1\}$`,
	} {
		c.Check(regexp.MustCompile(line).MatchString(out.String()), qt.IsTrue, qt.Commentf("no line like %q", line))
	}
	left, err := os.ReadDir(dir)
	c.Assert(err, qt.IsNil)
	c.Assert(left, qt.HasLen, 0)
}

func TestTheTableIsRefreshedInItsPlaceOnATerminalAlone(t *testing.T) {
	machines := table{rows: []tableRow{{owner: "machine-1", process: "runs, 7", state: stateAlive, records: 30}}}
	for _, terminal := range []bool{false, true} {
		c := qt.New(t)
		var out bytes.Buffer
		f := &fleet{options: options{terminal: terminal}, out: &out}
		c.Assert(f.print(machines, "first", false), qt.IsNil)
		c.Assert(f.print(machines, "second", true), qt.IsNil)
		c.Assert(strings.Count(out.String(), "machine-1"), qt.Equals, 2)
		c.Assert(strings.Contains(out.String(), "\x1b[5F\x1b[J"), qt.Equals, terminal, qt.Commentf("%q", &out))
	}
}
