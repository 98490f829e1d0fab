// Supervisor keeps a number of workers alive. It records them in SQLite, learns of
// a death within moments, and starts the worker again. When the supervisor itself
// is killed its workers live on, and the next one adopts them: those on record, and
// also one that was started and not recorded any more.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	_ "modernc.org/sqlite"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

const usage = `usage: supervisor [flags] COMMAND [ARG...]

Keeps workers alive, each of which runs COMMAND, until Ctrl-C ends them all. A
second Ctrl-C ends the supervisor alone. Workers that it has left behind, then or
because it was killed, are adopted by the next one with the same -dir; what it
starts anew runs the COMMAND of now. One supervisor at a time may have a -dir: a
second one is refused.

A worker's output goes to a file of its name in the directory. What it has started
is ended with it.

flags:
`

type options struct {
	dir            string
	n              int
	grace, backoff time.Duration
	force          bool
}

func main() {
	var o options
	flag.StringVar(&o.dir, "dir", "supervisor.d", "the `directory` of the database and of the workers' output")
	flag.IntVar(&o.n, "n", 3, "how many workers there are")
	flag.DurationVar(&o.grace, "grace", 10*time.Second, "how long a worker has to end by itself before it is killed; on Windows, where it cannot be asked to, it is killed at once")
	flag.DurationVar(&o.backoff, "backoff", 200*time.Millisecond, "the pause before a worker starts again; it doubles, up to 128-fold, while the worker lives for less than 10s each time")
	flag.BoolVar(&o.force, "force", false, "run also if it is not known whether the last supervisor is alive")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	// The first Ctrl-C ends the workers, the second one us alone.
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, restore)
	if err := run(ctx, o, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "supervisor:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, command []string) error {
	if o.n < 1 || o.backoff <= 0 {
		return errors.New("-n and -backoff must be above zero")
	}
	if _, err := exec.LookPath(command[0]); err != nil {
		return err
	}
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(o.dir, "supervisor.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	// What is begun is done: Ctrl-C shall end the workers that are found here, too.
	keep := context.WithoutCancel(ctx)
	store, err := sqlitestore.New(keep, db, sqlitestore.Options{})
	if err != nil {
		return err
	}
	judge, err := liveness.New(liveness.Options{})
	if err != nil {
		return err
	}
	if err := claim(keep, store.Gate(), judge, o); err != nil {
		return err
	}
	s := newSupervisor(o, command, store, judge)
	report, err := s.watcher.Cleaner.CleanOncePerBoot(keep, &lifecycle.BootGate{KV: store.Gate()})
	if err != nil {
		return err
	}
	fmt.Println("cleaned:", report)
	return s.run(ctx)
}

// claimKey is where the identity of the last supervisor stands.
const claimKey = "supervisor"

// claim makes this process the supervisor of the database, unless another one is.
// Of several that find a dead one the store lets one pass; a killed one leaves no
// lock behind.
func claim(ctx context.Context, kv lifecycle.KV, judge liveness.Liveness, o options) error {
	self, err := liveness.Self()
	if err != nil {
		return err
	}
	text, err := kv.Get(ctx, claimKey)
	if err != nil {
		return err
	}
	if text != "" {
		last, err := liveness.Parse(text)
		if err != nil {
			return err
		}
		switch verdict := judge.Check(last); {
		case verdict.State == liveness.Alive:
			return fmt.Errorf("a supervisor runs in %s already, PID %d", o.dir, last.PID)
		case verdict.State == liveness.Unknown && !o.force:
			return fmt.Errorf("it is not known whether the supervisor of %s, PID %d, is alive (%v): if you are sure that it is gone, add -force", o.dir, last.PID, verdict)
		}
	}
	claimed, err := kv.CompareAndSwap(ctx, claimKey, text, self.String())
	if err == nil && !claimed {
		err = fmt.Errorf("another supervisor has just started in %s", o.dir)
	}
	return err
}
