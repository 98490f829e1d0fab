package sqlitestore_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	qt "github.com/frankban/quicktest"
)

// The tests run this binary again as other processes. The variable says which
// part of a test such a process plays.
const roleVariable = "ROLLCALL_TEST_ROLE"

var roles = map[string]func(args []string) error{
	"open":    openRole,
	"killed":  killedRole,
	"bystand": func([]string) error { return waitForStart() },
}

func TestMain(m *testing.M) {
	name := os.Getenv(roleVariable)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := roles[name](os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// waitForStart says that the process has come up, and returns when the test
// closes its side of standard input.
func waitForStart() error {
	if _, err := fmt.Println("up"); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// child is a process of a test.
type child struct {
	*exec.Cmd
	stdout io.Reader
	stderr bytes.Buffer
}

// start starts a process in a role. It is killed at the end of the test if it
// is still there.
func start(t testing.TB, stdin io.Reader, role string, args ...string) *child {
	c := qt.New(t)
	p := &child{Cmd: exec.Command(os.Args[0], args...)}
	p.Env = append(os.Environ(), roleVariable+"="+role)
	p.Stdin, p.Stderr = stdin, &p.stderr
	var err error
	p.stdout, err = p.StdoutPipe()
	c.Assert(err, qt.IsNil)
	c.Assert(p.Start(), qt.IsNil)
	t.Cleanup(func() {
		if p.ProcessState == nil {
			_ = p.Process.Kill()
			_ = p.Wait()
		}
	})
	return p
}

// awaitUp returns when the process is in waitForStart.
func (p *child) awaitUp(t testing.TB) {
	var line [3]byte
	_, err := io.ReadFull(p.stdout, line[:])
	qt.New(t).Assert(err, qt.IsNil, qt.Commentf("%s", &p.stderr))
}

// output returns what the process has written when it has ended well.
func (p *child) output(t testing.TB) string {
	c := qt.New(t)
	text, err := io.ReadAll(p.stdout)
	c.Assert(err, qt.IsNil)
	err = p.Wait()
	c.Assert(p.stderr.String(), qt.Equals, "")
	c.Assert(err, qt.IsNil)
	return string(text)
}

// openRoleDB opens the file that a role was given.
func openRoleDB(path string) (*sql.DB, error) { return sql.Open("sqlite", dsn(path)) }
