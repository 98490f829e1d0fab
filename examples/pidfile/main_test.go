package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	qt "github.com/frankban/quicktest"
	"github.com/google/uuid"

	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

// binary is the program, built as its user would.
var binary string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pidfile-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "pidfile.exe") // Windows wants the ending
	if output, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v: %s", err, output))
	}
	return m.Run()
}

// instance is a running "pidfile start".
type instance struct {
	*exec.Cmd
	line   string // what it said when it ran, or nothing
	stderr strings.Builder
}

// startInstance runs the program until it says that it runs, or has ended.
func startInstance(t testing.TB, file string, args ...string) *instance {
	p := &instance{Cmd: exec.Command(binary, append([]string{"start", "-file", file}, args...)...)}
	p.Stderr = &p.stderr
	stdout, err := p.StdoutPipe()
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		t.Error(err)
		return p
	}
	t.Cleanup(p.kill)
	if p.line, err = bufio.NewReader(stdout).ReadString('\n'); errors.Is(err, io.EOF) {
		p.Wait()
	}
	return p
}

// kill is kill -9. What cannot be killed has ended.
func (p *instance) kill() {
	if p.Process != nil && p.ProcessState == nil {
		p.Process.Kill()
		p.Wait()
	}
}

func (p *instance) runs() bool { return strings.HasPrefix(p.line, "running as PID ") }

// run runs another command of the program to its end.
func run(t testing.TB, args ...string) (output string, status int) {
	t.Helper()
	text, err := exec.Command(binary, args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		status = exit.ExitCode()
	}
	return string(text), status
}

// child starts a process that runs until the test ends.
func child(c *qt.C) (*exec.Cmd, liveness.Identity) {
	p := startInstance(c, filepath.Join(c.TempDir(), "another.pid"))
	c.Assert(p.runs(), qt.IsTrue, qt.Commentf("%s", p.stderr.String()))
	id, err := liveness.CaptureProcess(p.Process)
	c.Assert(err, qt.IsNil)
	return p.Cmd, id
}

func writeFile(c *qt.C, text string) (file string) {
	file = filepath.Join(c.TempDir(), "test.pid")
	c.Assert(os.WriteFile(file, []byte(text), 0o644), qt.IsNil)
	return file
}

func TestOfFiftyStartsAtOnceOneWins(t *testing.T) {
	c := qt.New(t)
	file := filepath.Join(c.TempDir(), "test.pid")
	for range 2 { // the first time without a file, then over that of a killed one
		var instances [50]*instance
		var wg sync.WaitGroup
		for i := range instances {
			wg.Go(func() { instances[i] = startInstance(t, file) })
		}
		wg.Wait()
		var winners []*instance
		for _, p := range instances {
			if p.runs() {
				winners = append(winners, p)
				continue
			}
			c.Check(p.stderr.String(), qt.Matches, `pidfile: already running as PID \d+ \(\S+\)\n`)
			c.Check(p.ProcessState.ExitCode(), qt.Equals, 1)
		}
		c.Assert(winners, qt.HasLen, 1)
		output, status := run(c, "status", "-file", file)
		c.Check(output, qt.Matches, fmt.Sprintf(`PID %d of \S+ is alive: .*\n`, winners[0].Process.Pid))
		c.Check(status, qt.Equals, 0)
		left, err := os.ReadDir(filepath.Dir(file))
		c.Assert(err, qt.IsNil)
		c.Assert(left, qt.HasLen, 1)
		winners[0].kill()
	}
}

// Of the many processes of a scripted machine, each claims the file, and then
// releases it or dies with it.
func TestNoTwoHaveTheFile(t *testing.T) {
	c := qt.New(t)
	file := filepath.Join(c.TempDir(), "test.pid")
	world := livenesstest.New()
	var owners, claimed atomic.Int32
	process := func(dies bool) {
		self := world.Start()
		defer world.Exit(self.PID)
		g := guard{self: self, judge: world}
		if err := g.claim(file); err != nil {
			c.Check(err, qt.ErrorMatches, `already running as PID \d+ \(.*\)`)
			return
		}
		claimed.Add(1)
		c.Check(owners.Add(1), qt.Equals, int32(1))
		runtime.Gosched()
		owners.Add(-1)
		if !dies {
			c.Check(g.release(file), qt.IsNil)
		}
	}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 100 {
				process((worker+i)%4 > 0)
			}
		})
	}
	wg.Wait()
	c.Logf("%d of 800 got the file", claimed.Load())
	c.Check(claimed.Load() > 8, qt.IsTrue)
	left, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*.*.*"))
	c.Assert(err, qt.IsNil)
	c.Assert(left, qt.HasLen, 0) // no successor
}

func TestStaleFileLocksNobodyOut(t *testing.T) {
	c := qt.New(t)
	stranger, alive := child(c)
	killed, dead := child(c)
	c.Assert(killed.Process.Kill(), qt.IsNil)
	killed.Wait()

	reused := dead
	reused.PID = stranger.Process.Pid
	rebooted := alive
	rebooted.Boot.Boot = uuid.NewString()
	for _, test := range []struct {
		name string
		id   liveness.Identity
		why  string
	}{
		{"killed", dead, `no process has its PID|its PID belongs to another process now`}, // which may get it at any time
		{"its PID is a stranger's", reused, `its PID belongs to another process now`},
		{"another boot, its PID is a stranger's", rebooted, `the machine has rebooted since`},
	} {
		c.Run(test.name, func(c *qt.C) {
			file := writeFile(c, test.id.String()+"\n")
			output, status := run(c, "status", "-file", file)
			c.Check(output, qt.Matches, `(?s).*(`+test.why+`).*`)
			c.Check(status, qt.Equals, notRunning)
			output, status = run(c, "stop", "-file", file)
			c.Check(output, qt.Matches, `(?s).*(`+test.why+`).*`)
			c.Check(status, qt.Equals, 0)
			p := startInstance(c, file)
			c.Check(p.runs(), qt.IsTrue, qt.Commentf("%s", p.stderr.String()))
		})
	}
	system, err := liveness.New(liveness.Options{})
	c.Assert(err, qt.IsNil)
	c.Assert(system.Check(alive).State, qt.Equals, liveness.Alive) // nothing was done to the stranger
}

func TestWhoDiesDuringATakeoverLocksNobodyOut(t *testing.T) {
	c := qt.New(t)
	killed, dead := child(c)
	c.Assert(killed.Process.Kill(), qt.IsNil)
	killed.Wait()
	text := []byte(dead.String() + "\n")
	file := writeFile(c, string(text))
	next := successor(file, text)
	c.Assert(os.WriteFile(next, text, 0o644), qt.IsNil)
	c.Assert(os.WriteFile(successor(next, text), text, 0o644), qt.IsNil)

	p := startInstance(c, file)
	c.Assert(p.runs(), qt.IsTrue, qt.Commentf("%s", p.stderr.String()))
	left, err := os.ReadDir(filepath.Dir(file))
	c.Assert(err, qt.IsNil)
	c.Assert(left, qt.HasLen, 1)
}

func TestUnknownIsNotDead(t *testing.T) {
	c := qt.New(t)
	stranger, _ := child(c)
	text := liveness.Identity{PID: stranger.Process.Pid}.String() + "\n"
	file := writeFile(c, text)

	p := startInstance(c, file)
	c.Check(p.runs(), qt.IsFalse)
	c.Check(p.stderr.String(), qt.Matches, `pidfile: \S+ names PID \d+, and it is not known whether .* add -force\n`)
	output, status := run(c, "stop", "-file", file)
	c.Check(output, qt.Matches, `pidfile: nothing was stopped: .* unknown: nothing recorded tells whose PID it is now\n`)
	c.Check(status, qt.Equals, 1)
	_, status = run(c, "status", "-file", file)
	c.Check(status, qt.Equals, notKnown)
	c.Check(readFile(c, file), qt.Equals, text)

	p = startInstance(c, file, "-force")
	c.Check(p.runs(), qt.IsTrue, qt.Commentf("%s", p.stderr.String()))
	p = startInstance(c, file, "-force") // but not beside one that is alive
	c.Check(p.runs(), qt.IsFalse)
}

func TestReleaseLeavesAnothersFileAlone(t *testing.T) {
	c := qt.New(t)
	world := livenesstest.New()
	g := guard{self: world.Start(), judge: world}
	file := filepath.Join(c.TempDir(), "test.pid")
	c.Assert(g.claim(file), qt.IsNil)
	forced := world.Start().String() + "\n"
	c.Assert(os.WriteFile(file, []byte(forced), 0o644), qt.IsNil)
	c.Assert(g.release(file), qt.IsNil)
	c.Check(readFile(c, file), qt.Equals, forced)
}

func TestForeignFileIsLeftAlone(t *testing.T) {
	c := qt.New(t)
	for _, text := range []string{"", "\n", "4242\n", "rollcall1 pid=\n", "rollcall2 pid=4242\n", "root:x:0:0:root:/root:/bin/bash\n"} {
		c.Run(fmt.Sprintf("%q", text), func(c *qt.C) {
			file := writeFile(c, text)
			for _, args := range [][]string{{"start"}, {"start", "-force"}, {"stop"}, {"status"}} {
				output, status := run(c, append(args, "-file", file)...)
				c.Check(output, qt.Matches, `pidfile: `+regexp.QuoteMeta(file)+` is not a pid file of this program, .*\n`)
				c.Check(status, qt.Not(qt.Equals), 0)
			}
			c.Check(readFile(c, file), qt.Equals, text)
		})
	}
}

func TestStopEndsTheInstance(t *testing.T) {
	c := qt.New(t)
	file := filepath.Join(c.TempDir(), "test.pid")
	p := startInstance(c, file)
	c.Assert(p.runs(), qt.IsTrue, qt.Commentf("%s", p.stderr.String()))
	output, status := run(c, "stop", "-file", file)
	c.Check(output, qt.Equals, fmt.Sprintf("stopped PID %d\n", p.Process.Pid))
	c.Check(status, qt.Equals, 0)
	err := p.Wait()
	if runtime.GOOS != "windows" { // where nobody can be asked
		c.Check(err, qt.IsNil)
		_, err = os.Stat(file)
		c.Check(err, qt.ErrorIs, os.ErrNotExist)
	}
	output, status = run(c, "status", "-file", file)
	c.Check(output, qt.Not(qt.Equals), "")
	c.Check(status, qt.Equals, notRunning)
}

func readFile(c *qt.C, file string) string {
	text, err := os.ReadFile(file)
	c.Assert(err, qt.IsNil)
	return string(text)
}
