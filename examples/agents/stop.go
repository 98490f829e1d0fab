package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

const stopHelp = `
The recorded process is asked to end, with its process group if it leads one, and
killed after the grace; on Windows it is ended at once, with what it has started.
Whoever else has its PID by now is left alone.

`

const orphansHelp = `
A process is left without an agent when "start" or "stop" was killed halfway, or
when it had left the agent's process group. What was not started by "agents" with
this directory is never listed.

`

func graceFlag(flags *flag.FlagSet) *time.Duration {
	return flags.Duration("grace", 10*time.Second, "how long a process has to end by itself before it is killed")
}

func stop(flags *flag.FlagSet) action {
	grace := graceFlag(flags)
	all := flags.Bool("all", false, "stop all agents")
	force := flags.Bool("force", false, "stop also one of which it is not known whether its process lives, and leave that process alone")
	return func(ctx context.Context, a *app, names []string) (err error) {
		if *all == (len(names) > 0) {
			return errors.New("which? (usage: agents stop NAME... or agents stop -all)")
		}
		if *all {
			records, recordsErr := a.store.Records(ctx)
			err = recordsErr
			for _, record := range records {
				names = append(names, record.Name)
			}
		}
		for _, name := range names {
			err = errors.Join(err, a.stop(ctx, name, *grace, *force))
		}
		return err
	}
}

// stop stops one agent. What happens to its record meanwhile may call for another
// way, as when a start has just brought its process up: then it looks again. A start
// does so once, and agents have no heartbeats, so this ends.
func (a *app) stop(ctx context.Context, name string, grace time.Duration, force bool) error {
	for {
		if err := a.stopAsRead(ctx, name, grace, force); !errors.Is(err, lifecycle.ErrChanged) {
			return err
		}
	}
}

func (a *app) stopAsRead(ctx context.Context, name string, grace time.Duration, force bool) error {
	record, err := a.record(ctx, name)
	if errors.Is(err, errStopped) {
		fmt.Println(name + " is stopped already")
		return nil
	}
	if err != nil {
		return err
	}
	decision, err := a.cleaner.Decide(record)
	if err != nil {
		return err
	}
	cleaner := a.cleaner
	cause := lifecycle.Cause{By: caller(), Reason: "stopped", IfUnchanged: true}
	done := "stopped " + name
	switch {
	case decision.Stop:
		cause = causeOf(decision)
		done = fmt.Sprintf("stopped %s, which had ended before (%v)", name, decision)
	case record.Phase != lifecycle.Running: // it has no process yet
	case decision.Verdict.State == liveness.Alive:
		cleaner.Terminate = &lifecycle.Termination{Grace: grace, Group: true}
	case !force:
		return fmt.Errorf("%q is not stopped: %v (see \"agents stop -h\" about -force)", name, decision.Verdict)
	}
	outcome, err := cleaner.Stop(ctx, record, cause)
	if errors.Is(err, liveness.ErrNoGroup) {
		// We are in the group of the agent, which ends itself: it alone, so that we
		// are not in the way of our own signal.
		err = a.endAlone(ctx, record, grace)
	}
	switch {
	case errors.Is(err, lifecycle.ErrNotEnded):
		return fmt.Errorf("%w (see \"agents orphans\")", err)
	case err != nil:
		return err
	case outcome == lifecycle.AlreadyStopped:
		done = name + " is stopped already"
	}
	fmt.Println(done)
	return nil
}

// endAlone ends a process without its group.
func (a *app) endAlone(ctx context.Context, record lifecycle.Record, grace time.Duration) error {
	return lifecycle.Cleaner{Terminate: &lifecycle.Termination{Grace: grace}}.EndProcess(ctx, record)
}

func orphans(flags *flag.FlagSet) action {
	end := flags.Bool("end", false, "end them, gracefully first")
	grace := graceFlag(flags)
	return func(ctx context.Context, a *app, _ []string) error {
		found, err := a.orphans(ctx)
		if len(found) == 0 && err == nil {
			fmt.Println("no orphans")
			return nil
		}
		table := newTable()
		fmt.Fprintln(table, "PID\tAGENT\tWHAT")
		for _, o := range found {
			what := "lives"
			if *end {
				what = "ended"
				cleaner := lifecycle.Cleaner{Terminate: &lifecycle.Termination{Grace: *grace, Group: true}}
				endErr := cleaner.EndProcess(ctx, lifecycle.Record{Identity: o.Identity})
				if errors.Is(endErr, liveness.ErrNoGroup) {
					endErr = a.endAlone(ctx, lifecycle.Record{Identity: o.Identity}, *grace)
				}
				if endErr != nil {
					what, err = "lives", errors.Join(err, endErr)
				}
			}
			fmt.Fprintf(table, "%d\t%s\t%s\n", o.Identity.PID, o.agent, what)
		}
		return errors.Join(table.Flush(), err)
	}
}

// orphan is a process of an agent that is stopped.
type orphan struct {
	liveness.MarkedProcess
	agent string
}

// orphans returns the processes that carry the marker of a stopped agent. An
// unknown marker is of another program, or of another directory; that of an
// agent that is being started is in no event yet.
func (a *app) orphans(ctx context.Context) (found []orphan, err error) {
	var marked []liveness.MarkedProcess
	for process, processErr := range a.cleaner.Orphans(ctx) {
		switch {
		case processErr == nil:
			marked = append(marked, process)
		case !errors.Is(processErr, fs.ErrPermission): // another user's is none of ours
			err = errors.Join(err, processErr)
		}
	}
	events, eventsErr := a.events(ctx)
	for _, process := range marked {
		for _, event := range events {
			if slices.Contains(event.Snapshot.Bindings, markerKey(process.Identity.Marker)) {
				found = append(found, orphan{process, event.Name})
			}
		}
	}
	return found, errors.Join(err, eventsErr)
}
