package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

const startHelp = `
In the background an agent goes on when this terminal is closed. It has no input,
and its output is appended to a file. Inside an agent $AGENTS_NAME is its name:
"agents inbox" shows its messages there, and "agents send" has it as the sender.

What "agents resume" needs is saved in a file that only you can read, and stays
there when the agent has stopped: the command and its arguments, the directory,
the tag, and the variables given by -e with their values. Nothing else of the
environment is saved. Keep secrets out of the arguments and of -e.

`

const resumeHelp = `
The command, the directory, the tag and the variables of -e are those it had (see
"agents start -h"), all other variables those of now. Unread messages have waited.

`

// spec is what is saved of an agent besides its process: all that it takes to
// start it again.
type spec struct {
	Command []string          `json:"command"`
	Dir     string            `json:"dir"`
	Tag     string            `json:"tag,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
}

func start(flags *flag.FlagSet) action {
	s := spec{Env: map[string]string{}}
	foreground := flags.Bool("f", false, "run it in the foreground: here, until it ends, with its exit status")
	flags.StringVar(&s.Tag, "tag", "", "a `word` about it, for the list")
	flags.Func("e", "`NAME[=VALUE]` of a variable to start it with, now and when it is resumed; can be repeated", func(variable string) error {
		name, value, given := strings.Cut(variable, "=")
		if !given {
			value, given = os.LookupEnv(name)
		}
		if name == "" || !given {
			return errors.New("there is no such variable")
		}
		s.Env[name] = value
		return nil
	})
	return func(ctx context.Context, a *app, arguments []string) (err error) {
		name := arguments[0]
		s.Command = arguments[1:]
		if s.Dir, err = os.Getwd(); err != nil {
			return err
		}
		if err := cmp.Or(checkName(name), checkName(cmp.Or(s.Tag, name))); err != nil {
			return err
		}
		if err := a.makeWay(ctx, name); err != nil {
			return err
		}
		return a.launch(ctx, "started", name, s, *foreground)
	}
}

func resume(flags *flag.FlagSet) action {
	foreground := flags.Bool("f", false, "run it in the foreground: here, until it ends, with its exit status")
	return func(ctx context.Context, a *app, arguments []string) error {
		name := arguments[0]
		if err := a.makeWay(ctx, name); err != nil {
			return err
		}
		snapshot, err := a.store.Snapshot(ctx, name)
		if errors.Is(err, lifecycle.ErrNoSnapshot) {
			return fmt.Errorf("no agent named %q was ever stopped (see \"agents log\")", name)
		}
		if err != nil {
			return err
		}
		s, err := specOf(snapshot.Record)
		if err != nil {
			return err
		}
		return a.launch(ctx, "resumed", name, s, *foreground)
	}
}

func specOf(record lifecycle.Record) (s spec, err error) {
	if err = json.Unmarshal(record.Data, &s); err == nil && len(s.Command) == 0 {
		err = errors.New("there is no command")
	}
	if err != nil {
		err = fmt.Errorf("what is saved of %q cannot be used: %w", record.Name, err)
	}
	return s, err
}

// markerKey is what the marker of an agent's process is bound to its record by,
// before there is a process: whatever happens from then on, "agents orphans"
// can tell whose it is.
func markerKey(marker string) string { return "marker:" + marker }

// launch registers the agent, starts its process and records that. Who dies on
// the way leaves a record that is stopped after launchTimeout, and maybe a
// process that is an orphan then.
func (a *app) launch(ctx context.Context, verb, name string, s spec, foreground bool) (err error) {
	cmd, data, err := s.prepare(name)
	if err != nil {
		return err
	}
	record, err := a.store.Launch(ctx, lifecycle.Record{Name: name, Data: data})
	if errors.Is(err, lifecycle.ErrNameTaken) {
		return fmt.Errorf("somebody else has just started %q (see \"agents list\")", name)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && record.Phase == lifecycle.Launching {
			err = errors.Join(err, a.undo(ctx, record, cmd))
		}
	}()
	cmd.Env = append(cmd.Env, dirVariable+"="+a.dir, nameVariable+"="+name)
	marker := liveness.Plant(cmd)
	if err := a.store.Bind(ctx, record, markerKey(marker)); err != nil {
		return err
	}

	signals := make(chan os.Signal, 8)
	if foreground {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		// What the terminal sends goes to the agent too, which decides what to
		// do. We stay until it has ended.
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		defer signal.Stop(signals)
	} else {
		output, err := os.OpenFile(a.outputFile(name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		defer output.Close()
		cmd.Stdout, cmd.Stderr = output, output
		liveness.Detach(cmd)
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	identity, err := liveness.CaptureProcess(cmd.Process)
	if err != nil {
		return err
	}
	identity.Marker = marker
	err = a.store.Activate(ctx, record, identity)
	if errors.Is(err, lifecycle.ErrNotRegistered) {
		return fmt.Errorf("somebody has stopped %q before it was started", name)
	}
	if err != nil {
		return err
	}
	record.Phase, record.Identity = lifecycle.Running, identity
	if !foreground {
		fmt.Printf("%s %s, pid %d; its output goes to %s\n", verb, name, identity.PID, a.outputFile(name))
		return nil
	}
	return a.await(context.WithoutCancel(ctx), record, cmd, signals)
}

// prepare returns the command of an agent, and what is saved of it.
func (s spec) prepare(name string) (*exec.Cmd, []byte, error) {
	cmd := exec.Command(s.Command[0], s.Command[1:]...)
	if cmd.Err != nil { // there is no such program
		return nil, nil, cmd.Err
	}
	if _, err := os.Stat(s.Dir); err != nil { // which the error of a start may not tell
		return nil, nil, fmt.Errorf("the directory of %q: %w", name, err)
	}
	if !utf8.ValidString(fmt.Sprint(s)) {
		return nil, nil, errors.New("what is not UTF-8, in a word of the command or elsewhere, cannot be saved")
	}
	data, err := json.Marshal(s)
	cmd.Dir, cmd.Env = s.Dir, os.Environ()
	for variable, value := range s.Env {
		cmd.Env = append(cmd.Env, variable+"="+value)
	}
	return cmd, data, err
}

func (a *app) outputFile(name string) string { return filepath.Join(a.dir, "output", name+".log") }

// undo takes back a start that failed.
func (a *app) undo(ctx context.Context, record lifecycle.Record, cmd *exec.Cmd) error {
	if cmd.Process != nil {
		cmd.Process.Kill() // it is our child, and not waited for yet
		cmd.Wait()
	}
	_, err := a.cleaner.Stop(context.WithoutCancel(ctx), record, lifecycle.Cause{By: caller(), Reason: lifecycle.ReasonLaunchFailed})
	return err
}

// await is the rest of an agent's life in the foreground.
func (a *app) await(ctx context.Context, record lifecycle.Record, cmd *exec.Cmd, signals <-chan os.Signal) error {
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case s := <-signals:
				if s != os.Interrupt { // that one comes from the terminal, to both of us
					cmd.Process.Signal(s) //nolint:errcheck // then it has ended
				}
			case <-ended:
				return
			}
		}
	}()
	err := cmd.Wait()
	if cmd.ProcessState == nil {
		return err
	}
	status, reason := cmd.ProcessState.ExitCode(), fmt.Sprintf("exit:%d", cmd.ProcessState.ExitCode())
	if wait, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && wait.Signaled() {
		status, reason = 128+int(wait.Signal()), "exit:signal"
	}
	if _, err := a.cleaner.Stop(ctx, record, lifecycle.Cause{By: lifecycle.BySystem, Reason: reason}); err != nil {
		return err
	}
	if status != 0 {
		return exitStatus(status)
	}
	return nil
}
