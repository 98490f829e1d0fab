package postgresstore_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// cutter makes connections that are cut at a commit: before it is sent, or
// after, so that the server commits and the client does not hear of it, or only
// for the client, while the server has the commit yet to come.
type cutter struct {
	mu    sync.Mutex
	how   string // "before", "after", "answer", "late" or ""
	skip  int    // how many commits to leave alone before
	times int    // how often it has cut
	away  bool   // after a cut nobody gets a connection
	hook  func() // called before the commit, if it is "hooked", or reaches the server "late"
}

// hows are the ways to cut a commit.
var hows = []string{"before", "after", "answer", "late"}

// onCommit has a function called before the next commit is sent.
func (c *cutter) onCommit(hook func()) {
	c.arm("hooked", 0)
	c.hook = hook
}

// arm has a commit cut, the first one after some others.
func (c *cutter) arm(how string, skip int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.how, c.skip, c.times = how, skip, 0
}

func (c *cutter) setAway(away bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = away
}

var errAway = errors.New("the server is away")

func (c *cutter) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away && c.times > 0 {
		return errAway
	}
	return nil
}

func (c *cutter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.times
}

// take disarms the cutter and says how it was armed.
func (c *cutter) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.skip--; c.skip >= 0 {
		return ""
	}
	how := c.how
	c.how = ""
	if how != "" {
		c.times++
	}
	return how
}

type cutConn struct {
	net.Conn
	cutter *cutter
	lost   atomic.Bool // for the client
}

// A commit is a message of its own: 'Q', a length, and the statement.
var commitMessage = []byte("commit\x00")

var errLost = errors.New("the connection is lost")

func (c *cutConn) Read(b []byte) (int, error) {
	if c.lost.Load() {
		return 0, errLost
	}
	return c.Conn.Read(b)
}

func (c *cutConn) Close() error {
	if c.lost.Load() {
		return nil
	}
	return c.Conn.Close()
}

func (c *cutConn) SetDeadline(t time.Time) error {
	if c.lost.Load() {
		return nil
	}
	return c.Conn.SetDeadline(t)
}

func (c *cutConn) Write(b []byte) (int, error) {
	if c.lost.Load() {
		return 0, errLost
	}
	if !bytes.HasSuffix(b, commitMessage) {
		return c.Conn.Write(b)
	}
	switch c.cutter.take() {
	case "hooked":
		c.cutter.hook()
	case "late":
		c.lost.Store(true)
		commit := bytes.Clone(b)
		go func() {
			defer c.Conn.Close()
			c.cutter.hook()
			_, _ = c.Conn.Write(commit)
			_, _ = c.Conn.Read(make([]byte, 1))
		}()
		return 0, errLost
	case "before":
		c.Close()
	case "after":
		n, err := c.Conn.Write(b)
		c.Close()
		return n, err
	case "answer":
		n, err := c.Conn.Write(b)
		// The server has committed when it answers.
		_, _ = c.Read(make([]byte, 1))
		c.Close()
		return n, err
	}
	return c.Conn.Write(b)
}

// cuttable opens a database whose connections are cut as the cutter says.
func cuttable(t testing.TB) (database, database, *cutter) {
	d := newDatabase(t)
	c := &cutter{}
	cut := d
	config := d.config.Copy()
	config.ConnConfig.RuntimeParams["application_name"] = d.mark()
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if err := c.err(); err != nil {
			return nil, err
		}
		conn, err := dial(ctx, network, address)
		return &cutConn{Conn: conn, cutter: c}, err
	}
	cut.Pool = openConfig(t, config)
	c.hook = func() { _ = waitForLock(t.Context(), d) } // until the test has failed
	return d, cut, c
}
