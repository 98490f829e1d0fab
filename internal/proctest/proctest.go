// Package proctest gives tests real processes: it runs the test binary again
// in a role, as another user, in other namespaces.
package proctest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const rolePrefix = "proctest-role="

// binaryVariable carries the path of the test binary to where it cannot be
// found out, as without /proc.
const binaryVariable = "ROLLCALL_TEST_BINARY"

// Role returns the role this process was started in by [Command], or "".
func Role() string {
	if len(os.Args) < 2 {
		return ""
	}
	role, ok := strings.CutPrefix(os.Args[1], rolePrefix)
	if !ok {
		return ""
	}
	return role
}

// Main is for TestMain: it runs the role of this process, or else the tests.
// A role is a function of its arguments; [Hold] is always there as "hold".
func Main(m *testing.M, roles map[string]func(args []string)) {
	role := Role()
	if role == "" {
		os.Exit(m.Run())
	}
	run, ok := roles[role]
	switch {
	case ok:
		run(os.Args[2:])
	case role == "hold":
		Hold()
	default:
		fmt.Fprintf(os.Stderr, "proctest: no role %q\n", role)
		os.Exit(2)
	}
	os.Exit(0)
}

// Hold says "ready" on standard output and returns when standard input ends,
// which it also does when the parent dies.
func Hold() {
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}

// Binary returns the path of the test binary.
func Binary() string {
	if path, err := os.Executable(); err == nil {
		return path
	}
	return os.Getenv(binaryVariable)
}

// Command returns a command that runs this test binary in a role.
func Command(role string, args ...string) *exec.Cmd {
	cmd := exec.Command(Binary(), append([]string{rolePrefix + role}, args...)...)
	cmd.Env = environ()
	return cmd
}

// environ is the environment of a test binary that is run again. The race
// detector would have it sleep for a second before it exits.
func environ() []string {
	return append(os.Environ(), "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"), binaryVariable+"="+Binary())
}

// A Child is a started process that is killed and waited for when the test
// ends.
type Child struct {
	*exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

// Start starts cmd, which runs a role, and waits until it says "ready".
func Start(t testing.TB, cmd *exec.Cmd) *Child {
	t.Helper()
	child, err := TryStart(t, cmd)
	if err != nil {
		t.Fatal(err)
	}
	child.WaitReady(t)
	return child
}

// TryStart starts cmd and waits for nothing.
func TryStart(t testing.TB, cmd *exec.Cmd) (*Child, error) {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if cmd.Stderr == nil {
		cmd.Stderr = os.Stderr
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	child := &Child{Cmd: cmd, stdin: stdin, stdout: bufio.NewReader(stdout)}
	t.Cleanup(child.Kill)
	return child, nil
}

// PID returns the number of the child.
func (c *Child) PID() int { return c.Process.Pid }

// WaitReady reads the line "ready".
func (c *Child) WaitReady(t testing.TB) {
	t.Helper()
	if line := c.ReadLine(t); line != "ready" {
		t.Fatalf("child said %q, not ready", line)
	}
}

// ReadLine reads a line of the child's standard output.
func (c *Child) ReadLine(t testing.TB) string {
	t.Helper()
	line, err := c.stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("child said %q, then: %v", line, err)
	}
	return strings.TrimSuffix(line, "\n")
}

// WriteLine writes a line to the child's standard input.
func (c *Child) WriteLine(t testing.TB, line string) {
	t.Helper()
	if _, err := io.WriteString(c.stdin, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

// CloseStdin ends the child's standard input, for which [Hold] waits.
func (c *Child) CloseStdin(t testing.TB) {
	t.Helper()
	if err := c.stdin.Close(); err != nil {
		t.Fatal(err)
	}
}

// Kill kills the child and waits for it. It may be called again.
func (c *Child) Kill() {
	if c.ProcessState == nil {
		c.Process.Kill()
		c.Wait()
	}
}

// Skip skips the test because this machine does not allow it. On a machine
// that has ROLLCALL_CI set it fails instead, so that nothing is skipped
// unnoticed there.
func Skip(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("ROLLCALL_CI") != "" {
		t.Fatalf("would be skipped, but ROLLCALL_CI is set: "+format, args...)
	}
	t.Skipf(format, args...)
}
