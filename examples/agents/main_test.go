package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"
	"github.com/google/uuid"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// binary is the program, built as its user would.
var binary string

const (
	// role is the first argument of this test binary where it is an agent.
	role = "agent-of-the-test"
	// addressVariable is where an agent says that it runs.
	addressVariable = "AGENTS_TEST_ADDRESS"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == role {
		agentMain(os.Args[2:])
		return
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "agents-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "agents.exe") // Windows wants the ending
	if output, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v: %s", err, output))
	}
	return m.Run()
}

// hello is what an agent says of itself.
type hello struct {
	PID       int
	Arguments []string
	Dir       string
	Env       []string
}

// agentMain is an agent. It ends when it is asked to, unless it is stubborn, and
// with the test, however that ends.
func agentMain(arguments []string) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, os.Interrupt, syscall.SIGTERM)
	conn, err := net.Dial("tcp", os.Getenv(addressVariable))
	if err != nil {
		os.Exit(1)
	}
	go func() {
		io.Copy(io.Discard, conn)
		os.Exit(1)
	}()
	if slices.Contains(arguments, "parent") {
		child := exec.Command(os.Args[0], role, "child")
		if err := child.Start(); err != nil {
			panic(err)
		}
	}
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	say := json.NewEncoder(conn)
	if err := say.Encode(hello{os.Getpid(), arguments, dir, os.Environ()}); err != nil {
		panic(err)
	}
	for times := 1; ; times++ {
		fmt.Println("asked to end:", <-asked)
		if err := say.Encode(times); err != nil {
			panic(err)
		}
		if slices.Contains(arguments, "stubborn") || slices.Contains(arguments, "twice") && times < 2 {
			continue
		}
		break
	}
	if slices.Contains(arguments, "failing") {
		os.Exit(3)
	}
}

// user is somebody with a directory of agents.
type user struct {
	*qt.C
	dir      string // $AGENTS_DIR
	listener *net.TCPListener
	// Env is what the user has in the environment besides.
	env []string
}

func newUser(t *testing.T) *user {
	c := qt.New(t)
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	c.Assert(err, qt.IsNil)
	t.Cleanup(func() { listener.Close() })
	return &user{C: c, dir: filepath.Join(c.TempDir(), "of 100%?"), listener: listener}
}

// command returns the program as the user runs it, in the given directory.
func (u *user) command(arguments ...string) *exec.Cmd {
	cmd := exec.Command(binary, arguments...)
	cmd.Dir = u.TempDir()
	cmd.Env = append(os.Environ(), nameVariable+"=", dirVariable+"="+u.dir, addressVariable+"="+u.listener.Addr().String())
	cmd.Env = append(cmd.Env, u.env...)
	return cmd
}

// result is what a command has said and how it ended.
type result struct {
	stdout, stderr string
	status         int
}

func (u *user) run(arguments ...string) result {
	u.Helper()
	return u.finish(u.command(arguments...))
}

func (u *user) finish(cmd *exec.Cmd) result {
	u.Helper()
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run()
	u.Check(cmd.ProcessState, qt.IsNotNil)
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// ok runs a command that succeeds without a complaint, and returns what it says.
func (u *user) ok(arguments ...string) string {
	u.Helper()
	r := u.run(arguments...)
	u.Assert(r.stderr, qt.Equals, "")
	u.Assert(r.status, qt.Equals, 0)
	return r.stdout
}

// until runs a command until it says something.
func (u *user) until(text string, arguments ...string) {
	u.Helper()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(u.ok(arguments...), text); {
		u.Assert(time.Now().Before(deadline), qt.IsTrue, qt.Commentf("%q is not said by %q", text, arguments))
	}
}

// agent is a running agent.
type agent struct {
	hello
	conn    net.Conn
	says    *json.Decoder
	process *liveness.Process
}

// start starts an agent and waits until it runs.
func (u *user) start(name string, arguments ...string) *agent {
	u.Helper()
	u.ok(append([]string{"start", name, os.Args[0], role}, arguments...)...)
	return u.accept()
}

// accept returns the agent that has begun to run.
func (u *user) accept() *agent {
	u.Helper()
	u.Assert(u.listener.SetDeadline(time.Now().Add(time.Minute)), qt.IsNil)
	conn, err := u.listener.Accept()
	u.Assert(err, qt.IsNil)
	u.Cleanup(func() { conn.Close() })
	a := &agent{conn: conn, says: json.NewDecoder(conn)}
	u.Assert(a.says.Decode(&a.hello), qt.IsNil)
	identity, err := liveness.Capture(a.PID)
	u.Assert(err, qt.IsNil)
	a.process, err = liveness.Open(identity)
	u.Assert(err, qt.IsNil)
	u.Cleanup(func() { a.process.Close() })
	return a
}

// assertGone waits for the end of the agent. Its connection ends a little earlier.
func (u *user) assertGone(a *agent) {
	u.Helper()
	ctx, cancel := context.WithTimeout(u.Context(), time.Minute)
	defer cancel()
	u.Assert(a.process.Wait(ctx), qt.IsNil, qt.Commentf("pid %d runs", a.PID))
}

// assertRuns asks whether the agent has not ended yet, and has not been asked to. The
// newline after its hello is unread where the decoder's buffer was full before it.
func (u *user) assertRuns(a *agent) {
	u.Helper()
	u.Assert(a.conn.SetReadDeadline(time.Now().Add(time.Millisecond)), qt.IsNil)
	said, err := io.ReadAll(a.conn)
	u.Assert(os.IsTimeout(err), qt.IsTrue, qt.Commentf("pid %d has ended: %v", a.PID, err))
	u.Assert(strings.TrimSpace(string(said)), qt.Equals, "")
}

// kill is kill -9.
func (u *user) kill(a *agent) {
	u.Helper()
	u.Assert(a.process.Signal(os.Kill), qt.IsNil)
	u.assertGone(a)
}

// database opens the database as another program would.
func (u *user) database() *sql.DB {
	db, err := sql.Open("sqlite", dsn(filepath.Join(u.dir, "agents.db")))
	u.Assert(err, qt.IsNil)
	u.Cleanup(func() { db.Close() })
	return db
}

func (u *user) store() *sqlitestore.Store {
	store, err := sqlitestore.New(u.Context(), u.database(), sqlitestore.Options{})
	u.Assert(err, qt.IsNil)
	return store
}

// reboot has everything that the database says be of another boot, as it is after
// the real reboot of the machine, which the processes have not survived.
func (u *user) reboot() {
	boot, err := bootid.Current()
	u.Assert(err, qt.IsNil)
	earlier := boot
	earlier.Boot = uuid.NewString()
	db := u.database()
	set := func(query string, args ...any) {
		u.Helper()
		_, err := db.ExecContext(u.Context(), query, args...)
		u.Assert(err, qt.IsNil)
	}
	for name, id := range u.identities(db) {
		id.Boot = earlier
		set("UPDATE rollcall_records SET identity = ? WHERE name = ?", id, name)
	}
	set("UPDATE rollcall_records SET beat_boot = ?", earlier.String())
	set("UPDATE rollcall_gate SET key = replace(key, ?, ?)", boot.Boot, earlier.Boot)
}

// identities returns the recorded processes by the names of their records.
func (u *user) identities(db *sql.DB) map[string]liveness.Identity {
	rows, err := db.QueryContext(u.Context(), "SELECT name, identity FROM rollcall_records WHERE identity != ''")
	u.Assert(err, qt.IsNil)
	defer rows.Close()
	found := map[string]liveness.Identity{}
	for rows.Next() {
		var name string
		var id liveness.Identity
		u.Assert(rows.Scan(&name, &id), qt.IsNil)
		found[name] = id
	}
	u.Assert(rows.Err(), qt.IsNil)
	return found
}

// match asserts that each of the patterns matches a line, in this order.
func (u *user) match(text string, patterns ...string) {
	u.Helper()
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	u.Assert(lines, qt.HasLen, len(patterns), qt.Commentf("%s", text))
	for i, pattern := range patterns {
		u.Check(lines[i], qt.Matches, pattern)
	}
}
