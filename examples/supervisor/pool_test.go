package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

// workerRole is what the supervisors of the tests keep alive. It says its PID to the
// pool of the test, says "bye" when it is asked to end, and does not outlive the
// test, whatever happens.
func workerRole(args []string) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, os.Interrupt, syscall.SIGTERM)
	conn, err := net.Dial("tcp", args[0])
	if err != nil {
		return
	}
	go func() {
		io.Copy(io.Discard, conn)
		os.Exit(0) // the test is over
	}()
	fmt.Fprintln(conn, os.Getpid())
	<-asked
	fmt.Fprintln(conn, "bye")
}

// stubbornRole is a worker that does not end when it is asked to.
func stubbornRole(args []string) {
	workerRole(args)
	select {}
}

// familyRole is a worker that starts another one, detached: not in its process group.
func familyRole(args []string) {
	child := proctest.Command("worker", args[0])
	liveness.Detach(child)
	if err := child.Start(); err != nil {
		panic(err)
	}
	workerRole(args)
}

// pool knows the workers that live, without a look at what it tests: the
// connection of a worker ends when its process does.
type pool struct {
	net.Listener
	mu      sync.Mutex
	changed chan struct{} // closed at the next change
	alive   []int
	started int // how many there have been
	asked   int // how many have said bye
}

func newPool(t testing.TB) *pool {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &pool{Listener: listener, changed: make(chan struct{})}
	var serving sync.WaitGroup
	ctx, end := context.WithCancel(context.Background())
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { conn.Close() })
			serving.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		end()
		serving.Wait()
	})
	return p
}

func (p *pool) serve(conn net.Conn) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	var pid int
	if !lines.Scan() {
		return
	}
	if _, err := fmt.Sscan(lines.Text(), &pid); err != nil {
		return
	}
	p.change(func() {
		p.alive = append(p.alive, pid)
		p.started++
	})
	bye := lines.Scan()
	for lines.Scan() {
	}
	p.change(func() {
		p.alive = slices.DeleteFunc(p.alive, func(other int) bool { return other == pid })
		if bye {
			p.asked++
		}
	})
}

func (p *pool) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.changed)
	p.changed = make(chan struct{})
}

// wait waits until the workers that live, sorted by PID, are as they should be.
func (p *pool) wait(c *qt.C, should string, be func(alive []int) bool) []int {
	c.Helper()
	deadline := time.After(2 * time.Minute)
	for {
		p.mu.Lock()
		alive, changed := slices.Sorted(slices.Values(p.alive)), p.changed
		p.mu.Unlock()
		if be(alive) {
			return alive
		}
		select {
		case <-changed:
		case <-deadline:
			c.Fatalf("%v live, and there should be %s", alive, should)
		}
	}
}

func (p *pool) waitFor(c *qt.C, n int) []int {
	c.Helper()
	return p.wait(c, fmt.Sprint(n), func(alive []int) bool { return len(alive) == n })
}

// waitForOther waits until n live and none of those that are gone.
func (p *pool) waitForOther(c *qt.C, n int, gone ...int) []int {
	c.Helper()
	return p.wait(c, fmt.Sprintf("%d, without %v", n, gone), func(alive []int) bool {
		return len(alive) == n && !slices.ContainsFunc(alive, func(pid int) bool { return slices.Contains(gone, pid) })
	})
}

// counts returns how many workers there have been, and how many of them were asked
// to end.
func (p *pool) counts() (started, asked int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.started, p.asked
}

// command is that of a worker of the pool.
func (p *pool) command(role string, args ...string) []string {
	return proctest.Command(role, append([]string{p.Addr().String()}, args...)...).Args
}

// processes returns the processes of the pool that Linux lists, connected or not.
func (p *pool) processes(c *qt.C) (pids []int) {
	c.Helper()
	entries, err := os.ReadDir("/proc")
	if runtime.GOOS != "linux" {
		p.mu.Lock()
		defer p.mu.Unlock()
		return slices.Sorted(slices.Values(p.alive))
	}
	c.Assert(err, qt.IsNil)
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		line, err := os.ReadFile("/proc/" + entry.Name() + "/cmdline")
		if err == nil && strings.HasPrefix(string(line), proctest.Binary()+"\x00") && strings.Contains(string(line), "\x00"+p.Addr().String()+"\x00") {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}
