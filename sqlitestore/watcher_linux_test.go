package sqlitestore_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// watchRole watches a file with a limit of open files, until it is killed. It
// writes the name of each record that it stops, "pass" after the first pass, and
// what goes wrong.
func watchRole(args []string) error {
	limit := syscall.Rlimit{Cur: fewFiles, Max: fewFiles}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", args[0]) // its journal is a file that each transaction creates
	if err != nil {
		return err
	}
	defer db.Close()
	store, err := sqlitestore.New(context.Background(), db, sqlitestore.Options{})
	if err != nil {
		return err
	}
	watcher := lifecycle.Watcher{
		Cleaner: lifecycle.Cleaner{Store: store},
		Poll:    100 * time.Millisecond,
		OnReport: func(report lifecycle.Report, err error) {
			if err != nil {
				fmt.Println(err) // the test wants names only
			}
			for _, stop := range report.Stops {
				fmt.Println(stop.Record.Name)
			}
		},
	}
	return watcher.Run(context.Background())
}

const fewFiles = 40

// There are more processes to watch than files may be open. What cannot be
// watched is polled, and the store must still be able to write.
func TestWatcherMissesNoDeathWhenItRunsOutOfDescriptors(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	path := filepath.Join(tempDir(t), "state.db")
	db, err := sql.Open("sqlite", path)
	c.Assert(err, qt.IsNil)
	defer db.Close()
	store, err := sqlitestore.New(t.Context(), db, sqlitestore.Options{})
	c.Assert(err, qt.IsNil)
	const processes = 2 * fewFiles
	var sleepers []*exec.Cmd
	var want []string
	for i := range processes {
		cmd := exec.Command("sleep", "1000000")
		c.Assert(cmd.Start(), qt.IsNil)
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		id, err := liveness.CaptureProcess(cmd.Process)
		c.Assert(err, qt.IsNil)
		name := numbered("sleeper", i)
		register(t, store, running(name, id))
		sleepers, want = append(sleepers, cmd), append(want, name)
	}
	// One that is dead is stopped by the first pass, which watches the others.
	register(t, store, running("dead", before(t)))
	watcher := start(t, nil, "watch", path)
	lines := bufio.NewScanner(watcher.stdout)
	next := func() string {
		c.Helper()
		c.Assert(lines.Scan(), qt.IsTrue, qt.Commentf("%s", &watcher.stderr))
		return lines.Text()
	}
	c.Assert(next(), qt.Equals, "dead")
	var got []string
	for i, cmd := range sleepers {
		c.Assert(cmd.Process.Kill(), qt.IsNil)
		if i%8 == 0 { // now and then wait for it
			for !slices.Contains(got, want[i]) {
				got = append(got, next())
			}
		}
	}
	for len(got) < processes {
		got = append(got, next())
	}
	slices.Sort(got)
	c.Check(got, qt.DeepEquals, want)
	c.Assert(watcher.Process.Kill(), qt.IsNil)
	var exit *exec.ExitError
	c.Check(errors.As(watcher.Wait(), &exit), qt.IsTrue)
	c.Check(strings.TrimSpace(watcher.stderr.String()), qt.Equals, "")
	events, err := store.Events(t.Context(), 0)
	c.Assert(err, qt.IsNil)
	c.Check(events, qt.HasLen, processes+1)
}

func init() { roles["watch"] = watchRole } //nolint:gochecknoinits // a role of this system only
