//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	qt "github.com/frankban/quicktest"
)

// foreground is an agent that runs in a terminal of its own.
type foreground struct {
	*exec.Cmd
	agent          *agent
	stdout, stderr strings.Builder
}

// startForeground runs the program as the leader of a process group, as a shell
// does it.
func (u *user) startForeground(arguments ...string) *foreground {
	u.Helper()
	f := &foreground{Cmd: u.command(append([]string{"start", "-f", "web", os.Args[0], role}, arguments...)...)}
	f.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	f.Stdout, f.Stderr = &f.stdout, &f.stderr
	u.Assert(f.Start(), qt.IsNil)
	f.agent = u.accept()
	// It is recorded a moment after it has started.
	u.until("running", "list")
	return f
}

func TestForegroundIsThisTerminal(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	cat := u.command("start", "-f", "cat", "cat")
	cat.Stdin = strings.NewReader("what is typed\n")
	u.Check(u.finish(cat), qt.Equals, result{"what is typed\n", "", 0})
	u.Check(u.run("start", "sh", "-f", "sh", "-c", "echo of the agent >&2; exit 3"), qt.Equals, result{"", "of the agent\n", 3})
	u.Check(u.run("resume", "-f", "sh").status, qt.Equals, 3)
	u.Check(u.run("start", "-f", "sh", "sh", "-c", "kill -9 $$").status, qt.Equals, 128+9)
	u.match(u.ok("list"), `no agents; .*`)
	u.match(u.ok("log", "sh"), `.* started .*`, `.* stopped  by system, exit:3`, `.* started .*`, `.* stopped  by system, exit:3`,
		`.* started .*`, `.* stopped  by system, exit:signal`)
	u.match(u.ok("log", "cat"), `.* started  cat`, `.* stopped  by system, exit:0`)
}

// Ctrl-C goes to all of the terminal's foreground; what comes of it is the
// agent's decision.
func TestAgentInTheForegroundDecidesOnCtrlC(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	f := u.startForeground("twice", "failing")
	for range 2 {
		u.Assert(syscall.Kill(-f.Process.Pid, syscall.SIGINT), qt.IsNil)
		var times int
		u.Assert(f.agent.says.Decode(&times), qt.IsNil)
	}
	f.Wait()
	u.Check(f.ProcessState.ExitCode(), qt.Equals, 3)
	u.Check(f.stdout.String(), qt.Equals, "asked to end: interrupt\nasked to end: interrupt\n")
	u.Check(f.stderr.String(), qt.Equals, "")
	u.match(u.ok("log"), `.* started .*`, `.* stopped  by system, exit:3`)
}

func TestForegroundHandsOnWhatOnlyItWasAsked(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	f := u.startForeground()
	u.Assert(f.Process.Signal(syscall.SIGTERM), qt.IsNil)
	u.Check(f.Wait(), qt.IsNil)
	u.Check(f.stdout.String(), qt.Equals, "asked to end: terminated\n")
	u.match(u.ok("log"), `.* started .*`, `.* stopped  by system, exit:0`)
}

func TestForegroundIsStoppedInAnotherTerminal(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	f := u.startForeground("stubborn")
	u.ok("stop", "web", "-grace", "20ms")
	f.Wait()
	u.Check(f.ProcessState.ExitCode(), qt.Equals, 128+9)
	u.match(u.ok("log"), `.* started .*`, `.* stopped  by user, stopped`)
}

// Who is killed takes its agent neither with it nor out of the list.
func TestForegroundIsKilled(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	f := u.startForeground()
	// The agent has the pipe of its output, too: Wait would wait for both.
	u.Assert(f.Process.Kill(), qt.IsNil)
	_, err := f.Process.Wait()
	u.Assert(err, qt.IsNil)
	u.assertRuns(f.agent)
	u.match(u.ok("list"), `NAME .*`, fmt.Sprintf(`web   running  %d .* alive: .*`, f.agent.PID))
	u.ok("stop", "web")
	u.assertGone(f.agent)
	f.Wait()
}

// An agent may end itself: it is not in the way of its own signal.
func TestAgentEndsItself(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	script := `while "$1" list | grep -q launching; do :; done
		"$1" stop "$AGENTS_NAME" -grace 20ms
		exec "$2" "$3" after`
	u.ok("start", "web", "sh", "-c", script, "sh", binary, os.Args[0], role)
	u.until("stopped", "log")
	u.match(u.ok("log"), `.* started .*`, `.* stopped  by web, stopped`)
	u.until("no orphans", "orphans")
}
