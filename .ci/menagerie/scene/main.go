// Scene records processes in one container and judges the records in another,
// over the stores in a directory that both see.
//
//	scene record DIR                     start a process, record it, and leave it alone
//	scene judge DIR OUTCOME [exclusive]  judge, stop what is due, and check the outcome
//
// An outcome is one of the names in outcomes; with exclusive the judge says that its
// container is the only one that uses the records. The process ends with its container.
package main

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	_ "modernc.org/sqlite"

	"github.com/rollcall-go/rollcall/filestore"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// The records of a scene.
const (
	process   = "process"   // runs, and its process is known
	heartbeat = "heartbeat" // runs, and nothing but heartbeats is known of it
	launch    = "launch"    // is being launched
)

// outcome says what a pass may do with each record.
type outcome struct {
	// states are those that the verdict about the process may have.
	states []liveness.State
	// reasons has, for each record, those for which it may be stopped; "" is that of
	// a record that is kept.
	reasons map[string][]string
}

var (
	allKept = map[string][]string{process: {""}, heartbeat: {""}, launch: {""}}

	outcomes = map[string]outcome{
		// Everything lives, and the judge is in the same container.
		"alive": {[]liveness.State{liveness.Alive}, allKept},
		// Everything lives, and the judge may not be able to tell.
		"living": {[]liveness.State{liveness.Alive, liveness.Unknown}, allKept},
		// Everything has ended, and nothing proves it, unless this container was
		// given the number of the PID namespace that has ended.
		"unknown": {[]liveness.State{liveness.Unknown, liveness.Dead}, map[string][]string{
			process: {"", lifecycle.ReasonReboot}, heartbeat: {""}, launch: {""},
		}},
		// The container has ended, and its boot goes on.
		"ended": {[]liveness.State{liveness.Dead}, map[string][]string{
			process: {lifecycle.ReasonReboot}, heartbeat: {""}, launch: {""},
		}},
		// The boot of the container is over.
		"rebooted": {[]liveness.State{liveness.Dead}, map[string][]string{
			process: {lifecycle.ReasonReboot}, heartbeat: {lifecycle.ReasonStale}, launch: {lifecycle.ReasonLaunchFailed},
		}},
	}
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "scene:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 2 && args[0] == "record":
		return record(ctx, args[1])
	case len(args) == 3 && args[0] == "judge":
		return judge(ctx, args[1], args[2], liveness.Options{})
	case len(args) == 4 && args[0] == "judge" && args[3] == "exclusive":
		return judge(ctx, args[1], args[2], liveness.Options{ExclusiveNamespace: true})
	case len(args) == 1 && args[0] == "hold":
		return hold()
	}
	return errors.New("usage: scene record DIR | scene judge DIR OUTCOME [exclusive]")
}

// hold says so and lives for longer than a scene takes.
func hold() error {
	fmt.Println("up")
	time.Sleep(10 * time.Minute)
	return nil
}

// start starts a process that holds, and waits until it does.
func start() (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "hold")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		return nil, errors.Join(err, end(cmd))
	}
	return cmd, nil
}

func end(cmd *exec.Cmd) error {
	err := cmd.Process.Kill()
	_ = cmd.Wait()
	return err
}

// store is what a scene needs of a store.
type store interface {
	lifecycle.Store
	Launch(context.Context, lifecycle.Record) (lifecycle.Record, error)
	Activate(context.Context, lifecycle.Record, liveness.Identity) error
	Heartbeat(context.Context, lifecycle.Record) error
	Records(context.Context) ([]lifecycle.Record, error)
	Events(ctx context.Context, after int64) ([]lifecycle.Event, error)
}

// eachStore opens each store in dir, one after another, and calls f with it.
func eachStore(ctx context.Context, dir string, f func(name string, s store) error) error {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "state.db")+"?_pragma=journal_mode(WAL)")
	if err != nil {
		return err
	}
	inSQLite, err := sqlitestore.New(ctx, db, sqlitestore.Options{})
	if err == nil {
		err = f("sqlitestore", inSQLite)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("sqlitestore: %w", err)
	}
	inFiles, err := filestore.New(ctx, filepath.Join(dir, "files"), filestore.Options{})
	if err == nil {
		err = f("filestore", inFiles)
	}
	if err != nil {
		return fmt.Errorf("filestore: %w", err)
	}
	return nil
}

func record(ctx context.Context, dir string) error {
	cmd, err := start()
	if err != nil {
		return err
	}
	identity, err := liveness.CaptureProcess(cmd.Process)
	if err != nil {
		return errors.Join(err, end(cmd))
	}
	err = eachStore(ctx, dir, func(_ string, s store) error {
		return register(ctx, s, identity)
	})
	if err != nil {
		return errors.Join(err, end(cmd))
	}
	fmt.Println("recorded", identity)
	return nil
}

func register(ctx context.Context, s store, identity liveness.Identity) error {
	for _, name := range []string{process, heartbeat, launch} {
		r, err := s.Launch(ctx, lifecycle.Record{Name: name})
		if err != nil {
			return err
		}
		switch name {
		case process:
			err = s.Activate(ctx, r, identity)
		case heartbeat:
			err = errors.Join(s.Activate(ctx, r, liveness.Identity{}), s.Heartbeat(ctx, r))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func judge(ctx context.Context, dir, name string, options liveness.Options) error {
	want, ok := outcomes[name]
	if !ok {
		return fmt.Errorf("no outcome %q", name)
	}
	system, err := liveness.New(options)
	if err != nil {
		return err
	}
	self, err := liveness.Self()
	if err != nil {
		return err
	}
	fmt.Println("judged by", self)
	return eachStore(ctx, dir, func(storeName string, s store) error {
		records, err := s.Records(ctx)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(records, func(r lifecycle.Record) bool { return r.Name == process })
		if at < 0 {
			return errors.New("the record of the process is gone")
		}
		id := records[at].Identity
		verdict, err := judgeProcess(system, id, want)
		if err != nil {
			return err
		}
		fmt.Printf("%s: %v\n", storeName, verdict)
		if name == "unknown" && verdict.State == liveness.Dead && id.Namespace.PID != self.Namespace.PID {
			return fmt.Errorf("%v is %v, and nothing proves it", id, verdict)
		}
		return clean(ctx, lifecycle.Cleaner{Store: s, Liveness: system, StaleAfter: time.Hour, LaunchTimeout: time.Hour}, s, records, want)
	})
}

// judgeProcess checks the verdict about the process of a record. A judge that may
// call it dead gives its number to another one first, as far as numbers are low
// enough to come by.
func judgeProcess(system liveness.Liveness, id liveness.Identity, want outcome) (verdict liveness.Verdict, err error) {
	if !slices.Contains(want.states, liveness.Alive) {
		stop, err := occupy(id.PID)
		if err != nil {
			return verdict, err
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	verdict = system.Check(id)
	if !slices.Contains(want.states, verdict.State) {
		return verdict, fmt.Errorf("%v is %v, wanted one of %v", id, verdict, want.states)
	}
	return verdict, nil
}

// occupy starts processes until one has the number pid or numbers are beyond it.
func occupy(pid int) (stop func() error, err error) {
	var cmds []*exec.Cmd
	stop = func() error {
		var errs []error
		for _, cmd := range cmds {
			errs = append(errs, end(cmd))
		}
		return errors.Join(errs...)
	}
	for range 20 {
		cmd, err := start()
		if err != nil {
			return nil, errors.Join(err, stop())
		}
		cmds = append(cmds, cmd)
		if cmd.Process.Pid >= pid {
			break
		}
	}
	return stop, nil
}

// clean makes a pass, and checks what became of each record, twice: what was
// stopped has one event, and a second pass finds nothing to do.
func clean(ctx context.Context, cleaner lifecycle.Cleaner, s store, before []lifecycle.Record, want outcome) error {
	for range 2 {
		report, err := cleaner.Clean(ctx)
		if err != nil {
			return err
		}
		fmt.Println(report)
		after, err := s.Records(ctx)
		if err != nil {
			return err
		}
		events, err := s.Events(ctx, 0)
		if err != nil {
			return err
		}
		for _, record := range before {
			reasons := fate(record, after, events)
			if len(reasons) != 1 || !slices.Contains(want.reasons[record.Name], reasons[0]) {
				return fmt.Errorf("%s: fate %q, wanted one of %q", record.Name, reasons, want.reasons[record.Name])
			}
		}
	}
	return nil
}

// fate returns "" for a record that is there, and the reason of each of its
// events.
func fate(record lifecycle.Record, records []lifecycle.Record, events []lifecycle.Event) []string {
	var reasons []string
	if slices.ContainsFunc(records, func(r lifecycle.Record) bool { return r.Incarnation == record.Incarnation }) {
		reasons = append(reasons, "")
	}
	for _, event := range events {
		if event.Incarnation == record.Incarnation {
			reasons = append(reasons, event.Reason)
		}
	}
	return reasons
}
