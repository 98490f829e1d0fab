package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/proctest"
)

// binary is the program, built as its user would.
var binary string

func TestMain(m *testing.M) {
	if proctest.Role() == "" {
		os.Exit(runTests(m))
	}
	proctest.Main(m, map[string]func([]string){"worker": workerRole, "stubborn": stubbornRole, "family": familyRole})
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "supervisor-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "supervisor.exe") // Windows wants the ending
	if output, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v: %s", err, output))
	}
	return m.Run()
}

// process is a running supervisor.
type process struct {
	*exec.Cmd
	lines  *bufio.Scanner // of stdout
	said   []string
	stderr bytes.Buffer
}

// row is a line of its table.
type row struct {
	name, state   string
	pid, restarts int
}

func supervise(c *qt.C, command []string, args ...string) *process {
	p := &process{Cmd: exec.Command(binary, append(args, command...)...)}
	p.Env = proctest.Command("worker").Env
	p.Stderr = &p.stderr
	stdout, err := p.StdoutPipe()
	c.Assert(err, qt.IsNil)
	p.lines = bufio.NewScanner(stdout)
	c.Assert(p.Start(), qt.IsNil)
	tooLong := time.AfterFunc(2*time.Minute, func() { p.Process.Kill() })
	c.Cleanup(func() {
		tooLong.Stop()
		p.kill()
	})
	return p
}

// kill is kill -9.
func (p *process) kill() {
	if p.ProcessState == nil {
		p.Process.Kill()
		p.Wait()
	}
}

// line reads a line, or to the end.
func (p *process) line() bool {
	if !p.lines.Scan() {
		p.Wait()
		return false
	}
	p.said = append(p.said, p.lines.Text())
	return true
}

var rowExpression = regexp.MustCompile(`^(worker-\d+) +(\S+) +(\d+) +\w+ [ \d]\d \d\d:\d\d:\d\d +(\d+)$`)

// expect reads up to the rows of n workers whose state matches, and returns them.
func (p *process) expect(c *qt.C, n int, state string) (rows []row) {
	c.Helper()
	for len(rows) < n {
		if !p.line() {
			c.Fatalf("%d times %q was to come, after %q, %s", n-len(rows), state, p.said, p.stderr.String())
		}
		if match := rowExpression.FindStringSubmatch(p.lines.Text()); match != nil && regexp.MustCompile("^(?:"+state+")$").MatchString(match[2]) {
			r := row{name: match[1], state: match[2]}
			r.pid, _ = strconv.Atoi(match[3])
			r.restarts, _ = strconv.Atoi(match[4])
			c.Assert(slices.ContainsFunc(rows, func(other row) bool { return other.name == r.name }), qt.IsFalse, qt.Commentf("%q", p.said))
			rows = append(rows, r)
		}
	}
	return rows
}

func pids(rows []row) (pids []int) {
	for _, r := range rows {
		pids = append(pids, r.pid)
	}
	slices.Sort(pids)
	return pids
}

// expectEnd reads to the end, which comes without an error or by a kill.
func (p *process) expectEnd(c *qt.C) {
	c.Helper()
	for p.line() {
	}
	c.Assert(p.stderr.String(), qt.Equals, "")
}

// interrupt is Ctrl-C. It returns when the supervisor has ended.
func (p *process) interrupt(c *qt.C) {
	c.Helper()
	c.Assert(p.Process.Signal(os.Interrupt), qt.IsNil)
	p.expectEnd(c)
	c.Assert(p.ProcessState.Success(), qt.IsTrue)
}

func killPID(c *qt.C, pid int) {
	c.Helper()
	process, err := os.FindProcess(pid)
	c.Assert(err, qt.IsNil)
	defer process.Release()
	if err := process.Kill(); !errors.Is(err, os.ErrProcessDone) {
		c.Assert(err, qt.IsNil)
	}
}

// inParallel begins a test.
func inParallel(t *testing.T) *qt.C {
	if runtime.GOOS == "windows" {
		proctest.Skip(t, "a test cannot press Ctrl-C there")
	}
	t.Parallel()
	return qt.New(t)
}

func TestWorkersAreKeptAlive(t *testing.T) {
	c := inParallel(t)
	workers, dir := newPool(c), c.TempDir()
	command := workers.command("worker")

	first := supervise(c, command, "-dir", dir, "-backoff", "1ms")
	started := first.expect(c, 3, "running")
	c.Assert(workers.waitFor(c, 3), qt.DeepEquals, pids(started))

	c.Log("a worker is killed: another one takes its place")
	killed := started[1]
	killPID(c, killed.pid)
	gone := first.expect(c, 1, "exit:.*")[0]
	c.Check(gone.pid, qt.Equals, killed.pid)
	other := first.expect(c, 1, "running")[0]
	c.Check(other.name, qt.Equals, killed.name)
	c.Check(other.restarts, qt.Equals, 1)
	alive := workers.waitForOther(c, 3, killed.pid)

	c.Log("a second supervisor is refused")
	refused := supervise(c, command, "-dir", dir)
	c.Check(refused.line(), qt.IsFalse)
	c.Check(refused.stderr.String(), qt.Equals, fmt.Sprintf("supervisor: a supervisor runs in %s already, PID %d\n", dir, first.Process.Pid))
	c.Check(refused.ProcessState.ExitCode(), qt.Equals, 1)

	c.Log("the supervisor is killed: the workers live on, and the next one adopts them")
	first.kill()
	c.Check(workers.processes(c), qt.DeepEquals, alive)
	second := supervise(c, command, "-dir", dir, "-backoff", "1ms")
	rows := second.expect(c, 3, "adopted")
	c.Check(pids(rows), qt.DeepEquals, alive)
	c.Check(rows, qt.Contains, row{other.name, "adopted", other.pid, 1})
	c.Check(second.said[0], qt.Equals, "cleaned: gate closed, nothing examined")

	c.Log("an adopted worker is killed, too")
	killPID(c, other.pid)
	again := second.expect(c, 1, "running")[0]
	c.Check(again.name, qt.Equals, other.name)
	c.Check(again.restarts, qt.Equals, 2)
	alive = workers.waitForOther(c, 3, other.pid)
	c.Check(workers.processes(c), qt.DeepEquals, alive)

	c.Log("Ctrl-C asks all to end")
	second.interrupt(c)
	workers.waitFor(c, 0)
	c.Check(workers.processes(c), qt.HasLen, 0)
	all, asked := workers.counts()
	c.Check(all, qt.Equals, 5)
	c.Check(asked, qt.Equals, 3)

	reasons := map[int][]string{}
	for _, event := range eventsIn(c, dir) {
		reasons[event.Snapshot.Identity.PID] = append(reasons[event.Snapshot.Identity.PID], event.Reason)
	}
	c.Check(reasons, qt.HasLen, 5)
	for pid, of := range reasons {
		c.Assert(of, qt.HasLen, 1)
		want := "shutdown"
		if pid == killed.pid || pid == other.pid {
			want = "exit:(died|zombie)"
		}
		c.Check(of[0], qt.Matches, want)
	}
}

func TestFewerWorkers(t *testing.T) {
	c := inParallel(t)
	workers, dir := newPool(c), c.TempDir()
	first := supervise(c, workers.command("worker"), "-dir", dir, "-n", "2")
	started := first.expect(c, 2, "running")
	workers.waitFor(c, 2)
	first.kill()
	second := supervise(c, workers.command("worker"), "-dir", dir, "-n", "1")
	c.Check(second.expect(c, 1, "adopted")[0].pid, qt.Equals, started[0].pid)
	c.Check(workers.waitFor(c, 1), qt.DeepEquals, []int{started[0].pid})
	second.interrupt(c)
	c.Check(workers.processes(c), qt.HasLen, 0)
}

func TestWhoDoesNotEndIsKilled(t *testing.T) {
	c := inParallel(t)
	workers := newPool(c)
	p := supervise(c, workers.command("stubborn"), "-dir", c.TempDir(), "-grace", "10ms")
	p.expect(c, 3, "running")
	workers.waitFor(c, 3)
	p.interrupt(c)
	c.Check(workers.processes(c), qt.HasLen, 0)
}

// What is in a process group of its own is found by the marker.
func TestWhatAWorkerHasStartedEndsWithIt(t *testing.T) {
	c := inParallel(t)
	workers := newPool(c)
	p := supervise(c, workers.command("family"), "-dir", c.TempDir(), "-n", "1", "-backoff", "1ms")
	parent := p.expect(c, 1, "running")[0]
	before := workers.waitFor(c, 2)
	killPID(c, parent.pid)
	p.expect(c, 1, "running")
	workers.waitForOther(c, 2, before...)
	p.interrupt(c)
	c.Check(workers.processes(c), qt.HasLen, 0)
}

func TestErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	dir := c.TempDir()
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, `(?s)usage: supervisor \[flags\] COMMAND .*`},
		{[]string{"-dir", dir, "no such program"}, `supervisor: exec: "no such program": executable file not found.*\n`},
		{[]string{"-dir", dir, "-n", "0", binary}, `supervisor: -n and -backoff must be above zero\n`},
	} {
		output, err := exec.Command(binary, test.args...).CombinedOutput()
		c.Check(err, qt.ErrorMatches, "exit status [12]")
		c.Check(string(output), qt.Matches, test.want)
	}
}

// killsVariable is how many supervisors TestSupervisorIsKilledAtAnyInstant kills.
const killsVariable = "ROLLCALL_KILLS"

func TestSupervisorIsKilledAtAnyInstant(t *testing.T) {
	c := inParallel(t)
	kills := 4
	if text := os.Getenv(killsVariable); text != "" {
		var err error
		kills, err = strconv.Atoi(text)
		c.Assert(err, qt.IsNil)
	}
	workers, dir := newPool(c), c.TempDir()
	start := func() *process { return supervise(c, workers.command("worker"), "-dir", dir, "-backoff", "1us") }
	p := start()
	began := time.Now()
	p.expect(c, 3, "running")
	usual := time.Since(began) // to be up
	var cutShort int
	for i := range kills {
		// Some workers die, and the supervisor; the next one dies in the midst of
		// their starts, every other time in the midst of its end.
		p.kill()
		running := workers.processes(c)
		c.Assert(len(running) <= 3, qt.IsTrue, qt.Commentf("%v run", running))
		for _, pid := range running {
			if rand.IntN(2) == 0 {
				killPID(c, pid)
			}
		}
		p = start()
		victim := p.Process
		if i%2 == 1 {
			p.expect(c, 1, ".*")
			c.Assert(victim.Signal(os.Interrupt), qt.IsNil)
			usual := usual / 10
			time.AfterFunc(rand.N(usual), func() { victim.Kill() })
		} else {
			time.AfterFunc(rand.N(2*usual), func() { victim.Kill() })
		}
		p.expectEnd(c)
		cutShort += len(recordsIn(c, dir)) - len(workers.processes(c))
	}
	c.Logf("%d kills; there were records without a process, or the other way round, by %d", kills, cutShort)

	p = start()
	rows := map[string]row{}
	for len(rows) < 3 {
		r := p.expect(c, 1, "running|adopted")[0]
		rows[r.name] = r
	}
	recorded := []int{rows["worker-1"].pid, rows["worker-2"].pid, rows["worker-3"].pid}
	slices.Sort(recorded)
	c.Check(workers.waitFor(c, 3), qt.DeepEquals, recorded)
	c.Check(workers.processes(c), qt.DeepEquals, recorded)
	p.interrupt(c)
	c.Check(workers.processes(c), qt.HasLen, 0)
	if c.Failed() {
		c.Logf("the last supervisor said %q", p.said)
		for _, event := range eventsIn(c, dir) {
			c.Logf("%v %s PID %d: %s, %s", event.At, event.Name, event.Snapshot.Identity.PID, event.Reason, event.Verdict)
		}
	}
	incarnations := map[string]bool{}
	for _, event := range eventsIn(c, dir) {
		c.Check(incarnations[event.Incarnation], qt.IsFalse)
		incarnations[event.Incarnation] = true
	}
}
