// Pidfile is a program of which one instance runs at a time. It keeps that by a
// pid file, and a file that was left behind never locks it out: not after a
// kill -9, not when the PID belongs to somebody else by now, not after a reboot.
// What a program would copy is guard.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/rollcall-go/rollcall/liveness"
)

const usage = `usage: pidfile start|status|stop [flags]

  start    run until Ctrl-C or "pidfile stop"; refuse while another instance runs
  status   say whether it runs: exit status 0 yes, 3 no, 4 not known
  stop     end the instance that runs, and nobody else who may have its PID now

flags:
`

// The exit statuses of "status", those of the Linux Standard Base.
const (
	notRunning = 3
	notKnown   = 4
)

func main() {
	flags := flag.NewFlagSet("pidfile", flag.ExitOnError)
	file := flags.String("file", "pidfile.pid", "the pid `file`")
	force := flags.Bool("force", false, "start also if it is not known whether the process of the file is alive")
	grace := flags.Duration("grace", 10*time.Second, "how long stop waits for an orderly end before it kills")
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	var command string
	args := os.Args[1:]
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	flags.Parse(args) //nolint:errcheck // it exits by itself
	if command == "" || flags.NArg() > 0 {
		flags.Usage()
		os.Exit(2)
	}
	// The first Ctrl-C asks for an orderly end, the second one ends us.
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, restore)
	var status int
	var err error
	switch command {
	case "start":
		err = start(ctx, os.Stdout, *file, *force)
	case "status":
		status, err = printStatus(os.Stdout, *file)
	case "stop":
		err = stop(ctx, os.Stdout, *file, *grace)
	default:
		err = fmt.Errorf("%q is not a command: see pidfile -help", command)
		status = 2
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pidfile:", err)
		status = max(status, 1)
	}
	os.Exit(status)
}

// start is what a program does that must run once only.
func start(ctx context.Context, out io.Writer, file string, force bool) error {
	self, err := liveness.Self()
	if err != nil {
		return err
	}
	judge, err := liveness.New(liveness.Options{})
	if err != nil {
		return err
	}
	g := guard{self, judge, force}
	if err := g.claim(file); err != nil {
		return err
	}
	fmt.Fprintf(out, "running as PID %d; Ctrl-C or \"pidfile stop\" ends it\n", self.PID)
	<-ctx.Done() // here would be the program's work
	return g.release(file)
}

func printStatus(out io.Writer, file string) (int, error) {
	id, err := read(file)
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(out, "not running: there is no %s\n", file)
		return notRunning, nil
	}
	if err != nil {
		return notKnown, err
	}
	judge, err := liveness.New(liveness.Options{})
	if err != nil {
		return notKnown, err
	}
	verdict := judge.Check(id)
	fmt.Fprintf(out, "PID %d of %s is %v\n", id.PID, file, verdict)
	return map[liveness.State]int{liveness.Dead: notRunning, liveness.Unknown: notKnown}[verdict.State], nil
}

// stop ends the recorded process. It leaves the file to that process: one that
// is left behind harms nobody.
func stop(ctx context.Context, out io.Writer, file string, grace time.Duration) error {
	id, err := read(file)
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(out, "not running: there is no %s\n", file)
		return nil
	}
	if err != nil {
		return err
	}
	process, err := liveness.Open(id)
	if errors.Is(err, liveness.ErrNoProcess) {
		fmt.Fprintf(out, "not running: %v\n", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("nothing was stopped: %w", err)
	}
	defer process.Close()
	if err := process.Terminate(ctx, grace); err != nil {
		return err
	}
	fmt.Fprintf(out, "stopped PID %d\n", id.PID)
	return nil
}

func read(file string) (liveness.Identity, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return liveness.Identity{}, err
	}
	return parse(file, text)
}
