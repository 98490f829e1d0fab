package postgresstore_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"
	"github.com/jackc/pgx/v5"

	"github.com/rollcall-go/rollcall/internal/pgserver"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/postgresstore"
)

// roundsVariable is how many rounds TestAFleetThatIsBrokenAtRandom lasts; without
// it, one.
const roundsVariable = "ROLLCALL_FLEET_ROUNDS"

// patience is how long anything may take on a machine that is busy with other
// things.
const patience = 3 * time.Minute

// machine is a process that acts as one, behind a proxy of its own.
type machine struct {
	owner  string
	proxy  *proxy
	cmd    *exec.Cmd
	stderr bytes.Buffer
	read   sync.WaitGroup // of its facts

	mu    sync.Mutex
	facts []fact
	more  chan struct{} // a fact was added
}

func startMachine(t testing.TB, owner string, p *proxy) *machine {
	c := qt.New(t)
	m := &machine{owner: owner, proxy: p, cmd: exec.Command(os.Args[0], p.url()), more: make(chan struct{}, 1)}
	m.cmd.Env = append(os.Environ(), machineVariable+"="+owner)
	m.cmd.Stderr = &m.stderr
	_, err := m.cmd.StdinPipe() // it ends with this process
	c.Assert(err, qt.IsNil)
	stdout, err := m.cmd.StdoutPipe()
	c.Assert(err, qt.IsNil)
	c.Assert(m.cmd.Start(), qt.IsNil)
	m.read.Go(func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			var f fact
			if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
				c.Check(err, qt.IsNil, qt.Commentf("%s", lines.Text()))
				return
			}
			m.mu.Lock()
			m.facts = append(m.facts, f)
			m.mu.Unlock()
			select {
			case m.more <- struct{}{}:
			default:
			}
		}
	})
	t.Cleanup(m.kill)
	return m
}

func (m *machine) kill() {
	if m.cmd.ProcessState == nil {
		m.resume()
		_ = m.cmd.Process.Kill()
		m.read.Wait()
		_ = m.cmd.Wait()
	}
}

// await returns when the machine has stated such a fact, after those that it
// had stated.
func (m *machine) await(t testing.TB, what string, after int) {
	for {
		m.mu.Lock()
		facts := m.facts[after:]
		m.mu.Unlock()
		for _, f := range facts {
			if f.What == what {
				return
			}
		}
		select {
		case <-m.more:
		case <-time.After(patience):
			m.mu.Lock()
			t.Logf("of %d facts the last: %+v", len(m.facts), m.facts[max(0, len(m.facts)-3):])
			m.mu.Unlock()
			m.dump()
			m.read.Wait()
			_ = m.cmd.Wait()
			t.Fatalf("machine %s has not %s:\n%s", m.owner, what, &m.stderr)
		}
	}
}

func (m *machine) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.facts)
}

// fleet is what TestAFleetThatIsBrokenAtRandom breaks.
type fleet struct {
	testing.TB
	server *pgserver.Server
	db     database // straight to the server
	store  *postgresstore.Store
	alive  []*machine
	all    []*machine

	followed   chan int64 // the Seq of the last event that was followed
	followedTo int64      // what was received from it last
}

func TestAFleetThatIsBrokenAtRandom(t *testing.T) {
	t.Parallel() // it mostly waits for leases to run out
	rounds := 1
	if text := os.Getenv(roundsVariable); text != "" {
		var err error
		rounds, err = strconv.Atoi(text)
		qt.Assert(t, err, qt.IsNil)
	}
	// A server that is told to stop waits so long for a connection that was made
	// and says nothing, as that of a machine that is parted does.
	server, err := pgserver.Start(append(slices.Clone(settings), "authentication_timeout = 2s")...)
	skipWithout(t, err)
	t.Cleanup(func() { qt.New(t).Check(server.Stop(), qt.IsNil) })
	f := &fleet{TB: t, server: server}
	f.db = database{Pool: openURL(t, server.URL()), schema: "public"}
	f.store = f.db.store(t, postgresstore.Options{BusyTimeout: patience})
	f.follow()
	for range 5 {
		f.add()
	}
	counts := map[string]int{}
	for round := range rounds {
		for name, n := range f.round() {
			counts[name] += n
		}
		if f.check(); t.Failed() {
			t.Fatalf("in round %d", round)
		}
		if (round+1)%10 == 0 {
			t.Logf("%d rounds: %v", round+1, counts)
		}
	}
	t.Logf("%d rounds: %v", rounds, counts)
	t.Log(value(t, f.db, `SELECT count(*) || ' incarnations, stopped for: ' || (SELECT string_agg(reason || ' ' || n, ', ') FROM
		(SELECT reason, count(*) AS n FROM rollcall_events GROUP BY reason) AS by_reason)
		FROM (SELECT incarnation FROM rollcall_records UNION ALL SELECT incarnation FROM rollcall_events) AS i`))
}

// follow follows the events, over everything that is done to the server.
func (f *fleet) follow() {
	c := qt.New(f)
	ctx, cancel := context.WithCancel(f.Context())
	var wg sync.WaitGroup
	f.Cleanup(func() { cancel(); wg.Wait() })
	f.followed = make(chan int64, 1)
	wg.Go(func() {
		last := int64(0)
		for event, err := range f.store.Follow(ctx, 0) {
			if ctx.Err() != nil {
				return
			}
			c.Check(err, qt.IsNil)
			c.Check(event.Seq, qt.Equals, last+1)
			last = event.Seq
			select {
			case <-f.followed:
			default:
			}
			f.followed <- last
		}
	})
}

// awaitFollowed returns when an event, and all before it, have been followed.
func (f *fleet) awaitFollowed(seq int64) {
	for f.followedTo < seq {
		select {
		case f.followedTo = <-f.followed:
		case <-time.After(patience):
			f.Fatalf("event %d was not followed", seq)
		}
	}
}

func (f *fleet) add() {
	m := startMachine(f, fmt.Sprintf("machine-%d", len(f.all)), startProxy(f, f.server.Socket()))
	f.all, f.alive = append(f.all, m), append(f.alive, m)
}

// round breaks things at random times, mends them, and returns what it did when
// all the machines that were killed are taken over and all others go on.
func (f *fleet) round() map[string]int {
	c := qt.New(f)
	counts := map[string]int{}
	for _, m := range f.alive {
		m.await(f, "launched", m.count())
	}
	paused := rand.N(2) == 0
	parted := rand.N(2) == 0
	rand.Shuffle(len(f.alive), func(i, j int) { f.alive[i], f.alive[j] = f.alive[j], f.alive[i] })
	var late []*machine // with a lease that is taken over
	before := map[*machine]int{}
	for _, m := range f.alive {
		before[m] = m.count()
	}
	if paused {
		counts["paused"]++
		f.alive[0].stop()
		late = append(late, f.alive[0])
	}
	if parted {
		counts["parted"]++
		f.alive[1].proxy.part(true)
		late = append(late, f.alive[1])
	}
	for range 1 + rand.N(4) {
		m := f.alive[rand.N(len(f.alive))]
		switch rand.N(4) {
		case 0, 1:
			counts["cut in what is sent"]++
			m.proxy.cutSoon()
		case 2:
			counts["all connections cut"]++
			m.proxy.cut()
		case 3:
			mode := []string{"immediate", "immediate", "fast"}[rand.N(3)]
			counts["restart "+mode]++
			c.Assert(f.server.Restart(mode), qt.IsNil)
			f.db.Reset()
		}
		_ = pause(f.Context(), 100*time.Millisecond)
	}
	dead := f.alive[2]
	if rand.N(4) > 0 {
		counts["killed"]++
		dead.kill()
		f.alive = append(f.alive[:2:2], f.alive[3:]...)
		f.add()
		f.awaitDrained(dead)
	}
	for _, m := range late {
		f.awaitDrained(m)
		m.resume()
		m.proxy.part(false)
	}
	for _, m := range late {
		m.await(f, "fenced", before[m])
	}
	for _, m := range f.alive {
		m.await(f, "launched", m.count())
	}
	return counts
}

// awaitDrained returns when no record of what a machine has registered so far
// is left.
func (f *fleet) awaitDrained(m *machine) {
	m.mu.Lock()
	var epoch int64
	for _, fact := range m.facts {
		epoch = max(epoch, fact.Epoch)
	}
	m.mu.Unlock()
	deadline := time.Now().Add(patience)
	for {
		left := value(f, f.db, `SELECT (SELECT count(*) FROM rollcall_records WHERE owner = $1 AND epoch <= $2)::text`, m.owner, epoch)
		fenced := value(f, f.db, `SELECT coalesce((SELECT epoch FROM rollcall_leases WHERE owner = $1), 0)::text`, m.owner)
		if left == "0" && fenced != fmt.Sprint(epoch) {
			return
		}
		if time.Now().After(deadline) {
			f.Fatalf("machine %s, epoch %d: %s records are left, its lease has epoch %s", m.owner, epoch, left, fenced)
		}
		_ = pause(f.Context(), 20*time.Millisecond)
	}
}

// check compares what the database holds with what the machines were told.
func (f *fleet) check() {
	c := qt.New(f)
	tx, err := f.db.BeginTx(f.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	c.Assert(err, qt.IsNil)
	defer func() { _ = tx.Rollback(f.Context()) }()
	// Facts stated before the snapshot was taken.
	var facts []fact
	of := map[string]int64{} // the epoch of an incarnation
	for _, m := range f.all {
		m.mu.Lock()
		facts = append(facts, m.facts...)
		m.mu.Unlock()
	}
	type state struct {
		rows, events int
		by, reason   string
		at           time.Time
	}
	states := map[string]*state{}
	get := func(incarnation string) *state {
		if states[incarnation] == nil {
			states[incarnation] = &state{}
		}
		return states[incarnation]
	}
	var incarnation, by, reason string
	var at time.Time
	rows, err := tx.Query(f.Context(), `SELECT incarnation FROM rollcall_records`)
	c.Assert(err, qt.IsNil)
	_, err = pgx.ForEachRow(rows, []any{&incarnation}, func() error { get(incarnation).rows++; return nil })
	c.Assert(err, qt.IsNil)
	rows, err = tx.Query(f.Context(), `SELECT incarnation, by, reason, at FROM rollcall_events`)
	c.Assert(err, qt.IsNil)
	_, err = pgx.ForEachRow(rows, []any{&incarnation, &by, &reason, &at}, func() error {
		s := get(incarnation)
		s.events++
		s.by, s.reason, s.at = by, reason, at
		return nil
	})
	c.Assert(err, qt.IsNil)
	var unbound int
	c.Assert(tx.QueryRow(f.Context(), `SELECT count(*) FROM rollcall_bindings WHERE record NOT IN (SELECT seq FROM rollcall_records)`).Scan(&unbound), qt.IsNil)
	c.Assert(unbound, qt.Equals, 0)
	var last, n int64
	c.Assert(tx.QueryRow(f.Context(), `SELECT coalesce(max(seq), 0), count(*) FROM rollcall_events`).Scan(&last, &n), qt.IsNil)
	c.Assert(last, qt.Equals, n)
	f.awaitFollowed(last)

	for incarnation, s := range states {
		c.Check(s.rows+s.events, qt.Equals, 1, qt.Commentf("%s: %d rows, %d events", incarnation, s.rows, s.events))
	}
	stopped := map[string]int{}
	lastBeat := map[int64]int64{} // of an epoch
	for _, fact := range facts {
		switch fact.What {
		case "launched":
			of[fact.Incarnation] = fact.Epoch
			c.Check(states[fact.Incarnation], qt.IsNotNil, qt.Commentf("%+v is lost", fact))
		case "stopped":
			stopped[fact.Incarnation]++
			s := get(fact.Incarnation)
			c.Check(s.events, qt.Equals, 1, qt.Commentf("%+v has no event", fact))
			c.Check(s.reason, qt.Equals, "exit:test", qt.Commentf("%+v", fact))
		case "beat", "joined":
			lastBeat[fact.Epoch] = max(lastBeat[fact.Epoch], fact.Began)
		}
	}
	for incarnation, n := range stopped {
		c.Check(n, qt.Equals, 1, qt.Commentf("%s was stopped %d times", incarnation, n))
	}
	// A lease holds from the time at which its machine began to beat, if the
	// beat was acknowledged. Server and machines have one clock here.
	for incarnation, s := range states {
		epoch, known := of[incarnation]
		if !known || s.reason != lifecycle.ReasonHostLost {
			continue
		}
		// If that was later than the stop, this is negative. The server keeps
		// microseconds.
		age := s.at.Sub(time.Unix(0, lastBeat[epoch]))
		c.Check(age >= machineTTL-time.Microsecond, qt.IsTrue, qt.Commentf("%s was stopped %v after the last beat of its machine", incarnation, age))
	}
	for _, m := range f.all {
		c.Check(m.cmd.ProcessState == nil || m.stderr.Len() == 0, qt.IsTrue, qt.Commentf("%s", &m.stderr))
	}
}
