package main

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"
)

// A start is killed at any moment. What it leaves is in nobody's way, and no
// process is lost: it is that of an agent, or an orphan.
func TestStartIsKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("orphans are proven to be found on Linux only")
	}
	u := newUser(t)
	var mu sync.Mutex
	running := map[int]bool{}
	go func() {
		for {
			conn, err := u.listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				var h hello
				if json.NewDecoder(conn).Decode(&h) != nil {
					return
				}
				mu.Lock()
				running[h.PID] = true
				mu.Unlock()
				io.Copy(io.Discard, conn) // until it has ended
				mu.Lock()
				delete(running, h.PID)
				mu.Unlock()
			}()
		}
	}()
	killed := 0
	began := time.Now()
	u.ok("start", "web", os.Args[0], role)
	usual := time.Since(began)
	u.ok("stop", "web")
	for range 5 {
		cmd := u.command("start", "web", os.Args[0], role)
		u.Assert(cmd.Start(), qt.IsNil)
		kill := time.AfterFunc(rand.N(usual), func() { cmd.Process.Kill() })
		if cmd.Wait() != nil {
			killed++
		}
		kill.Stop()
		// Whatever it has left, the next one can start.
		if r := u.run("stop", "web"); r.status != 0 {
			u.Check(r.stderr, qt.Equals, "agents: no agent named \"web\" (see \"agents list\")\n")
		}
	}
	// A process that has just been started may not be one of ours yet: it gets its
	// marker together with its program.
	ended := ""
	for deadline := time.Now().Add(time.Minute); ; {
		ended += u.ok("orphans", "-end", "-grace", "1s")
		mu.Lock()
		left := len(running)
		mu.Unlock()
		if left == 0 {
			break
		}
		u.Assert(time.Now().Before(deadline), qt.IsTrue, qt.Commentf("%d processes belong to nobody", left))
	}
	t.Logf("%d of 5 starts were killed, and have left %d orphans", killed, strings.Count(ended, "ended"))
	events, err := u.store().Events(u.Context(), 0)
	u.Assert(err, qt.IsNil)
	lives := map[string]bool{}
	for _, event := range events {
		u.Check(lives[event.Incarnation], qt.IsFalse)
		lives[event.Incarnation] = true
	}
	u.match(u.ok("list"), `no agents; .*`)
}
