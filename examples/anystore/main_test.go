package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	qt "github.com/frankban/quicktest"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/internal/pgserver"
	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

func TestMain(m *testing.M) { proctest.Main(m, nil) }

// serverAddress is that of a schema of the test's own.
func serverAddress(t *testing.T) string {
	c := qt.New(t)
	address := os.Getenv(pgserver.URLVariable)
	if address == "" {
		server, err := pgserver.Start("fsync = off")
		if errors.Is(err, pgserver.ErrNotInstalled) {
			proctest.Skip(t, "%v, and %s is not set", err, pgserver.URLVariable)
		}
		c.Assert(err, qt.IsNil)
		t.Cleanup(func() { c.Check(server.Stop(), qt.IsNil) })
		address = server.URL()
	}
	pool, err := pgxpool.New(t.Context(), address)
	c.Assert(err, qt.IsNil)
	schema := "anystore_" + uuid.NewString()
	_, err = pool.Exec(t.Context(), "CREATE SCHEMA "+pgx.Identifier{schema}.Sanitize())
	c.Assert(err, qt.IsNil)
	t.Cleanup(func() {
		_, err := pool.Exec(context.Background(), "SET client_min_messages = warning; DROP SCHEMA "+pgx.Identifier{schema}.Sanitize()+" CASCADE")
		c.Check(err, qt.IsNil)
		pool.Close()
	})
	at, err := url.Parse(address)
	c.Assert(err, qt.IsNil)
	query := at.Query()
	query.Set("search_path", pgx.Identifier{schema}.Sanitize())
	at.RawQuery = query.Encode()
	return at.String()
}

// earlier is what this process would have been in an earlier boot: its number was
// given again since.
func earlier(c *qt.C) liveness.Identity {
	id, err := liveness.Self()
	if errors.Is(err, errors.ErrUnsupported) || id.Boot.Quality != bootid.Native {
		proctest.Skip(c, "no boot can be proven to be over: %v", err)
	}
	c.Assert(err, qt.IsNil)
	id.Boot.Boot = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
	return id
}

func TestTheSameProgramRunsOnEachStore(t *testing.T) {
	t.Parallel()
	for name, where := range map[string]func(*testing.T) string{
		"memory":   func(*testing.T) string { return "memory" },
		"files":    func(t *testing.T) string { return filepath.Join(t.TempDir(), "records") },
		"SQLite":   func(t *testing.T) string { return filepath.Join(t.TempDir(), "state.db") },
		"Postgres": serverAddress,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, end, err := open(t.Context(), where(t))
			qt.Assert(t, err, qt.IsNil)
			t.Cleanup(end)
			keepsRunning(qt.New(t), store)
		})
	}
}

// keepsRunning reboots, kills the command, and has the program start again and again.
func keepsRunning(c *qt.C, store lifecycle.Registrar) {
	var out bytes.Buffer
	var running *exec.Cmd
	program := host{store, func([]string) *exec.Cmd {
		running = proctest.Command("hold")
		_, err := running.StdinPipe() // until it is closed the process waits
		c.Assert(err, qt.IsNil)
		return running
	}, &out}
	end := func() {
		if running != nil {
			_ = running.Process.Kill()
			_ = running.Wait() // says that it was killed
		}
	}
	c.Cleanup(end)
	start := func(want string) {
		c.Helper()
		out.Reset()
		c.Assert(program.keep(c.Context(), []string{"another", "command"}), qt.IsNil)
		c.Check(out.String(), qt.Matches, want)
	}

	// What the program left in an earlier boot.
	record, err := store.Launch(c.Context(), lifecycle.Record{Name: name, Data: json.RawMessage(`["the","first"]`)})
	c.Assert(err, qt.IsNil)
	c.Assert(store.Bind(c.Context(), record, "session-1"), qt.IsNil)
	c.Assert(store.Activate(c.Context(), record, earlier(c)), qt.IsNil)

	start("first start of this boot: 1 stopped\nstarted \\[the first\\]\n")
	start(`keep: alive .*\n`)
	end()
	start("stop: exit:died .*\nstarted \\[the first\\]\n")
	start(`keep: alive .*\n`)

	events, err := store.Events(c.Context(), 0)
	c.Assert(err, qt.IsNil)
	var reasons []string
	for _, event := range events {
		reasons = append(reasons, event.Reason)
	}
	c.Check(reasons, qt.DeepEquals, []string{lifecycle.ReasonReboot, lifecycle.ReasonDied})
	bound, err := store.Bound(c.Context(), "session-1")
	c.Assert(err, qt.IsNil)
	c.Check(bound.Identity.PID, qt.Equals, running.Process.Pid)
}
