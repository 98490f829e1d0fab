package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall-go/rollcall/internal/pgserver"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/postgresstore"
)

// machineArgument makes this program be a machine. It is followed by the owner,
// the schema, the number of records and the time to live.
const machineArgument = "machine-of-fleet"

// machineMain is what a host does on each machine. It lasts until its input
// ends, which also comes when the parent ends, or it is killed.
func machineMain(ctx context.Context, args []string) error {
	owner, schema := args[0], args[1]
	records, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	ttl, err := time.ParseDuration(args[3])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()

	pool, err := pgxpool.New(ctx, os.Getenv(pgserver.URLVariable))
	if err != nil {
		return err
	}
	defer pool.Close()
	store, err := postgresstore.New(ctx, pool, postgresstore.Options{Schema: schema, Owner: owner})
	if err != nil {
		return err
	}
	lease, err := store.Join(ctx, postgresstore.LeaseOptions{
		TTL: ttl,
		OnTakeOver: func(stopped int, err error) {
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			fmt.Println(tookOver, stopped)
		},
	})
	if err != nil {
		return err
	}
	store = lease.Store() // everything that this machine writes goes through its lease

	// What was left from before this boot is this machine's to clean.
	gate := &lifecycle.BootGate{KV: store.Gate()}
	if _, err := (lifecycle.Cleaner{Store: store}).CleanOncePerBoot(ctx, gate); err != nil {
		return err
	}
	beating := make(chan error, 1)
	go func() { beating <- lease.Run(ctx) }()
	if err := registerJobs(ctx, store, records); err != nil {
		return err
	}
	if err := <-beating; !errors.Is(err, context.Canceled) {
		return err // ErrFenced: the jobs have no records any more
	}
	return nil
}

// registerJobs registers the records of some jobs, which this process does.
func registerJobs(ctx context.Context, store *postgresstore.Store, n int) error {
	self, err := liveness.Self()
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	for i := range n {
		record, err := store.Launch(ctx, lifecycle.Record{
			Name: fmt.Sprintf("%s/job-%d", store.Owner(), i+1),
			Data: json.RawMessage(fmt.Sprintf(`{"job":%d}`, i+1)),
		})
		if err != nil {
			return err
		}
		if err := store.Activate(ctx, record, self); err != nil {
			return err
		}
	}
	return nil
}

// tookOver begins the line that a machine says when it has taken records over.
const tookOver = "took over"

// member is a machine as its parent sees it.
type member struct {
	owner string
	cmd   *exec.Cmd
	read  sync.WaitGroup
	took  atomic.Int64 // records taken over
	dead  bool
}

// start starts a machine.
func (f *fleet) start(ctx context.Context, owner string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	args := []string{program, machineArgument, owner, f.schema, strconv.Itoa(f.records), f.ttl.String()}
	if f.netns {
		args = append([]string{"unshare", "--net", "--"}, args...)
	}
	m := &member{owner: owner, cmd: exec.CommandContext(ctx, args[0], args[1:]...)}
	m.cmd.Env = append(os.Environ(), pgserver.URLVariable+"="+f.url)
	m.cmd.Stderr = os.Stderr
	// The pipe ends with this process.
	if _, err := m.cmd.StdinPipe(); err != nil {
		return err
	}
	stdout, err := m.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := m.cmd.Start(); err != nil {
		return err
	}
	f.members = append(f.members, m)
	m.read.Go(func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if text, ok := strings.CutPrefix(lines.Text(), tookOver+" "); ok {
				if n, err := strconv.ParseInt(text, 10, 64); err == nil {
					m.took.Add(n)
				}
			}
		}
	})
	return nil
}

// kill kills the machine hard.
func (m *member) kill() {
	if !m.dead {
		m.dead = true
		m.cmd.Process.Kill()
		m.read.Wait()
		m.cmd.Wait()
	}
}
