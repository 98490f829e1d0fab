package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// deaths are the verdicts on a process that was killed. It is a zombie for as
// long as whoever has inherited it does not wait for it.
const deaths = `dead: (no process has its PID|its PID belongs to another process now|it has exited and waits to be reaped)`

func TestAgentIsStoppedAndResumedAsItWas(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.env = []string{"KEPT=then", "OTHER=then"}
	cmd := u.command("start", "-tag", "front", "-e", "KEPT", "-e", "SET=a b", "web", os.Args[0], role, "-x", "two words")
	first := u.finish(cmd)
	u.Assert(first.stderr, qt.Equals, "")
	web := u.accept()
	u.Check(first.stdout, qt.Equals, fmt.Sprintf("started web, pid %d; its output goes to %s\n", web.PID, filepath.Join(u.dir, "output", "web.log")))
	u.match(u.ok("list"),
		`NAME  STATE    PID +SINCE   TAG    VERDICT`,
		fmt.Sprintf(`web   running  %d +\d+s ago  front  alive: the recorded process runs`, web.PID))
	u.Check(u.run("start", "web", os.Args[0], role), qt.Equals, result{"", fmt.Sprintf("agents: \"web\" runs already, pid %d (see \"agents list\")\n", web.PID), 1})

	u.Check(u.ok("stop", "web"), qt.Equals, "stopped web\n")
	u.assertGone(web)
	u.match(u.ok("list"), `no agents; .*`)
	if runtime.GOOS != "windows" { // where nobody can be asked
		output, err := os.ReadFile(filepath.Join(u.dir, "output", "web.log"))
		u.Assert(err, qt.IsNil)
		u.Check(string(output), qt.Equals, "asked to end: terminated\n")
	}

	u.env = []string{"KEPT=now", "OTHER=now"}
	u.match(u.ok("resume", "web"), `resumed web, pid \d+; .*`)
	resumed := u.accept()
	u.Check(resumed.Arguments, qt.DeepEquals, []string{"-x", "two words"})
	for _, a := range []*agent{web, resumed} {
		u.Check(sameFile(a.Dir, cmd.Dir), qt.IsTrue)
		u.Check(a.Env, qt.Contains, "KEPT=then")
		u.Check(a.Env, qt.Contains, "SET=a b")
		u.Check(a.Env, qt.Contains, "AGENTS_NAME=web")
	}
	u.Check(resumed.Env, qt.Contains, "OTHER=now")
	u.match(u.ok("explain", "web"),
		`agent +web`, `phase +running`, `decision +keep: alive \(alive: .*\)`, `evidence +rollcall1 pid=.*`, `started +20.*`,
		`command .* -x "two words"`, `directory .*`, `tag +front`, `variables +KEPT SET`, `output .*web\.log`)

	u.match(u.ok("log"),
		`20\d\d-\d\d-\d\d \d\d:\d\d:\d\d  web  started  .*`,
		`.*  web  stopped  by user, stopped`,
		`.*  web  started  .*`)
	u.ok("stop", "-all")
	u.assertGone(resumed)
}

func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

func TestWhatIsNotAskedForIsNotSaved(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	const secret, kept = "hunter2-the-secret", "not-a-secret"
	u.env = []string{"TOKEN=" + secret, "KEPT=" + kept}
	u.ok("start", "web", "-e", "KEPT", os.Args[0], role)
	web := u.accept()
	u.Assert(web.Env, qt.Contains, "TOKEN="+secret)
	u.ok("stop", "web")
	u.assertGone(web)
	var all []byte
	u.Assert(filepath.WalkDir(u.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		u.Assert(err, qt.IsNil)
		if runtime.GOOS != "windows" {
			u.Check(info.Mode().Perm(), qt.Equals, fs.FileMode(0o600), qt.Commentf("%s", path))
		}
		text, err := os.ReadFile(path)
		all = append(all, text...)
		return err
	}), qt.IsNil)
	u.Check(bytes.Contains(all, []byte(kept)), qt.IsTrue)
	u.Check(bytes.Contains(all, []byte(secret)), qt.IsFalse)
}

func TestStopEndsTheWholeGroup(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.ok("start", "web", os.Args[0], role, "parent")
	web, child := u.accept(), u.accept()
	u.ok("stop", "web")
	u.assertGone(web)
	u.assertGone(child)
}

func TestStubbornAgentIsKilled(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	web := u.start("web", "stubborn")
	u.Check(u.ok("stop", "web", "-grace", "20ms"), qt.Equals, "stopped web\n")
	u.assertGone(web)
}

func TestKilledAgentIsDeadAndMakesWay(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	for _, again := range []string{"start", "resume", "stop"} {
		web := u.start("web")
		u.kill(web)
		u.match(u.ok("list"), `NAME .*`, fmt.Sprintf(`web   dead   %d .* %s`, web.PID, deaths))
		u.Check(u.ok("explain", "web"), qt.Matches, `(?s).*decision +stop: exit:\w+ \(`+deaths+`\)\n.*`)
		switch again {
		case "start":
			u.start("web")
			u.ok("stop", "web")
		case "resume":
			u.ok("resume", "web")
			u.accept()
			u.ok("stop", "web")
		case "stop":
			u.match(u.ok("stop", "web"), `stopped web, which had ended before \(stop: exit:\w+ \(`+deaths+`\)\)`)
		}
		u.Check(u.ok("log"), qt.Matches, `(?s).*stopped  by system, exit:\w+ \(`+deaths+`\)\n.*`)
	}
}

func TestFirstOfManyInvocationsAfterARebootCleans(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	web := u.start("web")
	u.kill(web)
	u.kill(u.start("db"))
	u.reboot()
	var said []string
	for _, r := range u.atOnce(5, "log") {
		u.Check(r.status, qt.Equals, 0)
		if r.stderr != "" {
			said = append(said, r.stderr)
		}
	}
	u.Assert(said, qt.DeepEquals, []string{"agents: cleaned up after a reboot: stopped web (exit:reboot), db (exit:reboot) (\"agents resume NAME\" starts one again)\n"})
	u.match(u.ok("list"), `no agents; .*`)
	u.match(u.ok("log", "web"), `.* started .*`, `.*  web  stopped  by system, exit:reboot \(dead: the machine has rebooted since\)`)
	u.ok("resume", "web")
	u.Check(u.accept().Arguments, qt.DeepEquals, web.Arguments)
	u.ok("stop", "-all")
}

// atOnce runs a command in many terminals at once.
func (u *user) atOnce(n int, arguments ...string) []result {
	results := make([]result, n)
	var wg sync.WaitGroup
	for i := range results {
		cmd := u.command(arguments...)
		wg.Go(func() { results[i] = u.finish(cmd) })
	}
	wg.Wait()
	return results
}

func TestOfManyTerminalsOneStartsAndOneStops(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	started, stopped := 0, 0
	for _, r := range u.atOnce(5, "start", "web", os.Args[0], role) { // they make the database, too
		if r.status == 0 {
			started++
			u.Check(r.stderr, qt.Equals, "")
			continue
		}
		u.Check(r.stderr, qt.Matches, `agents: ("web" runs already, pid \d+ .*|"web" is taken, keep: launching .*|somebody else has just started "web" .*)\n`)
	}
	u.Assert(started, qt.Equals, 1)
	web := u.accept()
	for _, r := range u.atOnce(5, "stop", "web") {
		u.Check(r.stderr, qt.Equals, "")
		u.Check(r.stdout, qt.Matches, `stopped web\n|web is stopped already\n|stopped web, which had ended before .*\n`)
		if r.stdout == "stopped web\n" {
			stopped++
		}
	}
	u.Check(stopped, qt.Equals, 1)
	u.assertGone(web)
	u.match(u.ok("log"), `.* started .*`, `.* stopped .*`)
	u.match(u.ok("orphans"), `no orphans`)
}

func TestMessagesWaitForTheNameAndReadOnesEndWithTheAgent(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.start("web")
	u.Check(u.ok("send", "web", "first", "message"), qt.Equals, "sent to web\n")
	u.env = []string{nameVariable + "=db"} // inside another agent
	u.ok("send", "web", "--", "-second\x1b[2J\nof two lines")
	u.env = []string{nameVariable + "=web"}
	u.match(u.ok("inbox"), `from user, \d+s ago:`, `  first message`, `from db, \d+s ago:`, `  -second�\[2J`, `  of two lines`)
	u.env = nil
	u.match(u.ok("inbox", "web"), `no messages for web`)
	u.match(u.ok("inbox", "web", "-all"), `.*`, `.*`, `.*`, `.*`, `.*`)
	u.ok("send", "web", "third")
	u.ok("stop", "web")
	u.Check(u.ok("send", "web", "fourth"), qt.Equals, "web is stopped; the message waits until it is resumed\n")
	u.ok("resume", "web")
	u.match(u.ok("inbox", "web", "-all"), `from .*`, `  third`, `from .*`, `  fourth`)
	u.ok("stop", "web")
	u.match(u.ok("inbox", "web", "-all"), `no messages for web`)
}

// A stop that was killed after its transaction leaves a process without an agent.
func TestOrphansAreListedAndEnded(t *testing.T) {
	t.Parallel()
	u, other := newUser(t), newUser(t)
	web := u.start("web", "parent")
	child := u.accept()
	if slices.Contains(web.Arguments, "child") {
		web, child = child, web
	}
	stranger := other.start("web") // of another directory
	u.match(u.ok("orphans"), `no orphans`)
	store := u.store()
	record, err := store.Record(u.Context(), "web")
	u.Assert(err, qt.IsNil)
	_, err = store.Stop(u.Context(), record, lifecycle.Cause{By: "user", Reason: "stopped"})
	u.Assert(err, qt.IsNil)

	if r := u.run("orphans"); runtime.GOOS == "linux" {
		u.Check(r.stderr, qt.Equals, "")
		for _, a := range []*agent{web, child} {
			u.Check(r.stdout, qt.Matches, fmt.Sprintf(`(?s)PID +AGENT +WHAT\n.*%d +web +lives\n.*`, a.PID))
		}
		u.match(r.stdout, `PID .*`, `.*`, `.*`)
		u.match(u.ok("orphans", "-end"), `PID .*`, `\d+ +web +ended`, `\d+ +web +ended`)
		u.assertGone(web)
		u.assertGone(child)
		u.match(u.ok("orphans"), `no orphans`)
	}
	other.assertRuns(stranger)
	other.ok("stop", "web")
}

// A start that was killed after its process had started, and before that was
// recorded.
func TestStartThatWasCutShort(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.ok("list")
	store := u.store()
	record, err := store.Launch(u.Context(), lifecycle.Record{Name: "web", Data: []byte(`{"command":["x"]}`)})
	u.Assert(err, qt.IsNil)
	cmd := exec.Command(os.Args[0], role)
	cmd.Env = append(os.Environ(), addressVariable+"="+u.listener.Addr().String())
	marker := liveness.Plant(cmd)
	u.Assert(store.Bind(u.Context(), record, markerKey(marker)), qt.IsNil)
	u.Assert(cmd.Start(), qt.IsNil)
	defer cmd.Wait()
	defer cmd.Process.Kill()
	web := u.accept()

	u.match(u.ok("list"), `NAME .*`, `web   launching  0 .* keep: launching \(it may still come up\)`)
	u.Check(u.run("start", "web", os.Args[0]).stderr, qt.Equals,
		"agents: \"web\" is taken, keep: launching (it may still come up) (\"agents stop\" makes way, see its -h)\n")
	orphans := func() result { return u.run("orphans") }
	if runtime.GOOS == "linux" {
		u.Check(orphans(), qt.Equals, result{"no orphans\n", "", 0}) // it may be recorded yet
	}
	u.ok("stop", "web")
	u.assertRuns(web)
	if runtime.GOOS == "linux" {
		u.match(orphans().stdout, `PID .*`, fmt.Sprintf(`%d +web +lives`, web.PID))
	}
}

// slowStop is a store in which something happens before a record is stopped.
type slowStop struct {
	*sqlitestore.Store
	before func()
}

func (s *slowStop) StopBatch(ctx context.Context, stops []lifecycle.Stop) (int, error) {
	s.before()
	return s.Store.StopBatch(ctx, stops)
}

func TestStopEndsTheProcessThatAStartHasRecordedMeanwhile(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.ok("list")
	store := u.store()
	record, err := store.Launch(u.Context(), lifecycle.Record{Name: "web", Data: []byte(`{"command":["x"]}`)})
	u.Assert(err, qt.IsNil)
	cmd := exec.Command(os.Args[0], role)
	cmd.Env = append(os.Environ(), addressVariable+"="+u.listener.Addr().String())
	u.Assert(cmd.Start(), qt.IsNil)
	defer cmd.Wait()
	defer cmd.Process.Kill()
	web := u.accept()
	identity, err := liveness.CaptureProcess(cmd.Process)
	u.Assert(err, qt.IsNil)

	judge, err := liveness.New(liveness.Options{})
	u.Assert(err, qt.IsNil)
	slow := &slowStop{store, sync.OnceFunc(func() { u.Check(store.Activate(u.Context(), record, identity), qt.IsNil) })}
	a := &app{store: store, cleaner: lifecycle.Cleaner{Store: slow, Liveness: judge, LaunchTimeout: launchTimeout}}
	u.Check(a.stop(u.Context(), "web", time.Minute, false), qt.IsNil)
	u.assertGone(web)
}

// Somebody may stop an agent that is just being started: then its process must
// not live.
func TestStartEndsTheProcessOfAnAgentThatWasStoppedMeanwhile(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	u.ok("list")
	_, err := u.database().ExecContext(u.Context(), `CREATE TRIGGER quick AFTER INSERT ON rollcall_bindings
		BEGIN DELETE FROM rollcall_records WHERE seq = new.record; END`)
	u.Assert(err, qt.IsNil)
	cmd := u.command("start", "-f", "web", os.Args[0], role)
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output // the process has the pipe, too
	cmd.WaitDelay = 10 * time.Second
	u.Check(cmd.Run(), qt.ErrorMatches, "exit status 1") // and no ErrWaitDelay: nobody has the pipe
	u.Check(output.String(), qt.Equals, "agents: somebody has stopped \"web\" before it was started\n")
}

func TestDirectoryThatIsGone(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	cmd := u.command("start", "web", os.Args[0], role)
	u.Check(u.finish(cmd).status, qt.Equals, 0)
	web := u.accept()
	u.ok("stop", "web")
	u.assertGone(web)
	u.Assert(os.Remove(cmd.Dir), qt.IsNil)
	r := u.run("resume", "web")
	u.Check(r.stderr, qt.Contains, `agents: the directory of "web": `)
	u.Check(r.status, qt.Equals, 1)
	u.match(u.ok("log"), `.* started .*`, `.* stopped .*`)
	u.Check(u.run("explain", "web").stderr, qt.Equals, "agents: \"web\" is stopped (see \"agents log web\")\n")
}

func pathVariable() string {
	if runtime.GOOS == "windows" {
		return "%PATH%"
	}
	return "$PATH"
}

func TestUnknownIsNotDead(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	stranger := u.start("stranger")
	store := u.store()
	record, err := store.Launch(u.Context(), lifecycle.Record{Name: "web", Data: []byte(`{"command":["x"]}`)})
	u.Assert(err, qt.IsNil)
	u.Assert(store.Activate(u.Context(), record, liveness.Identity{PID: stranger.PID}), qt.IsNil)
	u.match(u.ok("list"), `NAME .*`, `stranger .*`, fmt.Sprintf(`web +unknown +%d .* unknown: nothing recorded tells whose PID it is now`, stranger.PID))
	u.Check(u.run("resume", "web").stderr, qt.Matches, `agents: "web" is taken, keep: no_evidence \(unknown: .*\) .*\n`)
	r := u.run("stop", "web")
	u.Check(r.stderr, qt.Matches, `agents: "web" is not stopped: unknown: nothing .* \(see "agents stop -h" about -force\)\n`)
	u.Check(r.status, qt.Equals, 1)
	u.Check(u.ok("stop", "-force", "web"), qt.Equals, "stopped web\n")
	u.assertRuns(stranger)
	u.ok("stop", "stranger")
}

func TestErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	for _, test := range []struct {
		arguments string
		status    int
		stderr    string
	}{
		{"bogus", 2, `"bogus" is not a command (see "agents help")`},
		{"list x", 2, `wrong number of arguments (usage: agents list; see "agents list -h")`},
		{"start web", 2, `wrong number of arguments (usage: agents start [flags] NAME [--] COMMAND...; see "agents start -h")`},
		{"start -bogus web x", 2, `flag provided but not defined: -bogus (usage: agents start [flags] NAME [--] COMMAND...; see "agents start -h")`},
		{"start -e NO_SUCH_VARIABLE web x", 2, `invalid value "NO_SUCH_VARIABLE" for flag -e: there is no such variable (usage: agents start [flags] NAME [--] COMMAND...; see "agents start -h")`},
		{"start Web x", 1, `"Web" will not do as a name or a tag: use small letters, digits, and . _ - within`},
		{"start ../web x", 1, `"../web" will not do as a name or a tag: use small letters, digits, and . _ - within`},
		{"start web no-such-program", 1, `exec: "no-such-program": executable file not found in ` + pathVariable()},
		{"stop", 1, `which? (usage: agents stop NAME... or agents stop -all)`},
		{"stop web db", 1, `no agent named "web" (see "agents list")` + "\nagents: " + `no agent named "db" (see "agents list")`},
		{"resume web", 1, `no agent named "web" was ever stopped (see "agents log")`},
		{"send web hello", 1, `no agent named "web" (see "agents list")`},
		{"inbox web", 1, `no agent named "web" (see "agents list")`},
		{"inbox", 1, `whose messages? (usage: agents inbox NAME)`},
		{"explain web", 1, `no agent named "web" (see "agents list")`},
	} {
		u.Run(test.arguments, func(c *qt.C) {
			r := u.run(strings.Fields(test.arguments)...)
			c.Check(r.stderr, qt.Equals, "agents: "+test.stderr+"\n")
			c.Check(r.stdout, qt.Equals, "")
			c.Check(r.status, qt.Equals, test.status)
		})
	}
	u.match(u.ok("log"), ``) // nothing of it has left a trace
}

func TestHelp(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	text := u.ok("help")
	u.Check(text, qt.Contains, u.dir)
	for _, c := range commands {
		u.Check(text, qt.Contains, "\n  "+c.name+" ")
		u.Check(u.ok(c.name, "-h"), qt.Contains, "usage: agents "+c.name)
	}
	u.Check(u.ok("-h"), qt.Equals, text)
	u.Check(u.ok("help", "stop"), qt.Equals, u.ok("stop", "-h"))
	_, err := os.Stat(u.dir)
	u.Check(err, qt.ErrorIs, fs.ErrNotExist) // who asks for help has not begun
}
