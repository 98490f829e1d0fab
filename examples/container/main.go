// Container is meant to be the entrypoint of a container whose records outlive it,
// on a volume. A container that is started anew has the boot ID of the machine, as
// the one before, and gives the same PIDs to its processes: only the PID namespace
// is another one.
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

const usage = `usage: container [flags] COMMAND [ARG...]

Runs COMMAND and keeps a record of it, and of itself, on a volume of which one
container at a time makes use. What an earlier container has left on record is
stopped first.

flags:
`

func main() {
	volume := flag.String("volume", ".", "the `directory` of the volume")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *volume, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "container:", err)
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			os.Exit(exit.ExitCode())
		}
		os.Exit(1)
	}
}

func run(ctx context.Context, volume string, command []string) error {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(volume, "state.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	store, err := sqlitestore.New(ctx, db, sqlitestore.Options{})
	if err != nil {
		return err
	}
	// This is the promise that no other container uses the volume now. Without it
	// what an earlier one has recorded may be running in a container of which
	// nothing can be seen from here: unknown, and kept.
	judge, err := liveness.New(liveness.Options{ExclusiveNamespace: true})
	if err != nil {
		return err
	}
	cleaner := lifecycle.Cleaner{
		Store:    store,
		Liveness: judge,
		// Who was launching has come to its end with an earlier container.
		LaunchTimeout: 1,
		OnStopped: func(stop lifecycle.Stop) {
			fmt.Printf("stopped %s, PID %d: %s\n", stop.Record.Name, stop.Record.Identity.PID, stop.Cause.Reason)
		},
		Terminate: &lifecycle.Termination{Grace: 5 * time.Second},
	}
	// No gate: a container starts its entrypoint once.
	report, err := cleaner.Clean(ctx)
	if err != nil {
		return err
	}
	fmt.Println("cleaned:", report)

	self, err := liveness.Self()
	if err != nil {
		return err
	}
	entrypoint, err := store.Launch(ctx, lifecycle.Record{Name: "entrypoint"})
	if err != nil {
		return err
	}
	if err := store.Activate(ctx, entrypoint, self); err != nil {
		return err
	}
	defer store.Stop(context.WithoutCancel(ctx), entrypoint, ended) //nolint:errcheck // the next container stops it
	return runJob(ctx, store, cleaner, command)
}

var ended = lifecycle.Cause{By: "container", Reason: "ended"}

// runJob runs the command to its end, or until this process is asked to end.
func runJob(ctx context.Context, store *sqlitestore.Store, cleaner lifecycle.Cleaner, command []string) (err error) {
	keep := context.WithoutCancel(ctx)
	job, err := store.Launch(ctx, lifecycle.Record{Name: "job"})
	if err != nil {
		return err
	}
	// What the shutdown has stopped is left alone.
	defer func() {
		_, stopErr := cleaner.Stop(keep, job, ended)
		err = errors.Join(err, stopErr)
	}()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	marker := liveness.Plant(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	defer cmd.Process.Kill()
	if job.Identity, err = liveness.CaptureProcess(cmd.Process); err != nil {
		return err
	}
	job.Identity.Marker = marker
	if err := store.Activate(ctx, job, job.Identity); err != nil {
		return err
	}
	fmt.Printf("job runs as PID %d, the entrypoint as PID %d\n", job.Identity.PID, os.Getpid())
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	select {
	case err := <-exited:
		return err
	case <-ctx.Done():
		_, err := cleaner.Stop(keep, job, lifecycle.Cause{By: "container", Reason: "shutdown"})
		return err
	}
}
