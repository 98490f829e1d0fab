package postgresstore_test

import (
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/internal/pgserver"
)

// proxy stands between one machine and the server. It cuts connections, and
// parts the two without a word to either.
type proxy struct {
	listener net.Listener
	server   string // socket

	mu     sync.Mutex
	joined *sync.Cond // parted has changed
	parted bool
	ended  bool
	conns  map[net.Conn]bool
	cutIn  int // bytes from the machine until its connection is cut, 0 for never
	wg     sync.WaitGroup
}

func startProxy(t testing.TB, server string) *proxy {
	c := qt.New(t)
	dir, err := os.MkdirTemp("", "rollcall-proxy-") // t.TempDir is too long for a socket
	c.Assert(err, qt.IsNil)
	p := &proxy{server: server, conns: map[net.Conn]bool{}}
	p.joined = sync.NewCond(&p.mu)
	p.listener, err = net.Listen("unix", filepath.Join(dir, pgserver.SocketName))
	c.Assert(err, qt.IsNil)
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		p.listener.Close()
		p.mu.Lock()
		p.ended = true
		p.mu.Unlock()
		p.part(false)
		p.cut()
		p.wg.Wait()
		os.RemoveAll(dir)
	})
	return p
}

func (p *proxy) url() string { return pgserver.URL(p.listener.Addr().String()) }

func (p *proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(conn) })
	}
}

func (p *proxy) serve(machine net.Conn) {
	defer machine.Close()
	server, err := net.Dial("unix", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		return
	}
	p.conns[machine], p.conns[server] = true, true
	p.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { p.copy(server, machine, true) })
	wg.Go(func() { p.copy(machine, server, false) })
	wg.Wait()
	p.mu.Lock()
	delete(p.conns, machine)
	delete(p.conns, server)
	p.mu.Unlock()
}

// copy forwards what comes, and closes both ends at the end of either.
func (p *proxy) copy(to, from net.Conn, fromMachine bool) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 4096)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		p.mu.Lock()
		for p.parted {
			p.joined.Wait()
		}
		cut := false
		if fromMachine && p.cutIn > 0 {
			if p.cutIn -= n; p.cutIn <= 0 {
				n, p.cutIn, cut = max(0, n+p.cutIn), 0, true
			}
		}
		p.mu.Unlock()
		if _, err := to.Write(b[:n]); err != nil || cut {
			return
		}
	}
}

// cut cuts all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		conn.Close()
	}
}

// cutSoon cuts a connection in the midst of what the machine sends.
func (p *proxy) cutSoon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutIn = 1 + rand.N(20_000)
}

// part parts the machine from the server, or joins them again.
func (p *proxy) part(parted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.parted = parted
	p.joined.Broadcast()
}
