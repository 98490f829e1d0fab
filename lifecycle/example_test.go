package lifecycle_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

// A program's records after a reboot. The machine is a scripted one here; leave
// Liveness and Clock out to judge the running system.
func Example() {
	ctx := context.Background()
	machine := livenesstest.New()
	store := new(memstore.Store)
	_, err := store.Put(ctx, lifecycle.Record{Name: "builder", Identity: machine.Start(), Data: json.RawMessage(`{"argv":["make"]}`)})
	if err != nil {
		fmt.Println(err)
		return
	}
	machine.Reboot()

	// What main does at every start.
	cleaner := lifecycle.Cleaner{Store: store, Liveness: machine, Clock: machine}
	gate := &lifecycle.BootGate{KV: store.Gate(), Self: machine.Self}
	for range 2 {
		report, err := cleaner.CleanOncePerBoot(ctx, gate)
		if err != nil {
			fmt.Println(err)
			return
		}
		report.Took = 0 // so that the output is the same each time
		fmt.Println(report)
	}

	events, err := store.Events(ctx, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range events {
		fmt.Printf("%s was %s by %s for %s; to resume it: %s\n", e.Name, e.Action, e.By, e.Reason, e.Snapshot.Data)
	}
	// Output:
	// 1 examined: 1 stopped (1 exit:reboot), 0 kept in 0s
	// gate closed, nothing examined
	// builder was stopped by system for exit:reboot; to resume it: {"argv":["make"]}
}

// files is all that a Cleaner needs of a store: two methods over whatever the
// host has, a map here.
type files map[string]lifecycle.Record

func (f files) Candidates(context.Context) iter.Seq2[lifecycle.Record, error] {
	return func(yield func(lifecycle.Record, error) bool) {
		for _, name := range slices.Sorted(maps.Keys(f)) {
			if !yield(f[name], nil) {
				return
			}
		}
	}
}

func (f files) Stop(_ context.Context, record lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	if f[record.Name].Incarnation != record.Incarnation {
		return lifecycle.AlreadyStopped, nil
	}
	fmt.Println("stop", record.Name, "by", cause.By, "for", cause.Reason)
	delete(f, record.Name) // a database writes event and snapshot in the same transaction
	return lifecycle.Stopped, nil
}

func ExampleStore() {
	machine := livenesstest.New()
	alive, dead := machine.Start(), machine.Start()
	machine.Exit(dead.PID)
	store := files{
		"web":    {Name: "web", Incarnation: "1", Identity: alive},
		"worker": {Name: "worker", Incarnation: "1", Identity: dead},
	}
	report, err := lifecycle.Cleaner{Store: store, Liveness: machine, Clock: machine}.Clean(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.Stopped, "stopped,", report.Kept, "kept")
	// Output:
	// stop worker by system for exit:died
	// 1 stopped, 1 kept
}

// "Why is this record still here?" A Decision is a sentence.
func ExampleCleaner_Decide() {
	machine := livenesstest.New()
	cleaner := lifecycle.Cleaner{Store: new(memstore.Store), Liveness: machine, Clock: machine, StaleAfter: time.Hour}
	record := lifecycle.Record{Name: "worker", Incarnation: "1", Identity: machine.Start(), Heartbeat: lifecycle.Beat(machine)}
	why := func() {
		decision, err := cleaner.Decide(record)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(decision)
	}
	why()
	machine.Deny(record.Identity.PID) // as hidepid does to other users
	why()
	machine.Advance(2 * time.Hour)
	why()
	machine.Exit(record.Identity.PID)
	why()
	// Output:
	// keep: alive (alive: the recorded process runs)
	// keep: heartbeat (unknown: the evidence could not be read (permission denied by the test); its heartbeat is recent)
	// stop: stale (unknown: the evidence could not be read (permission denied by the test); its heartbeat is too old)
	// stop: exit:died (dead: no process has its PID)
}

// A gate for a job of the host's own.
func ExampleBootGate() {
	ctx := context.Background()
	machine := livenesstest.New()
	gate := &lifecycle.BootGate{KV: new(memstore.Store).Gate(), Name: "scratch", Liveness: machine, Clock: machine, Self: machine.Self}
	tidy := func(context.Context) error { fmt.Println("tidying"); return nil }
	for range 3 {
		ran, err := gate.Do(ctx, tidy)
		fmt.Println(ran, err)
	}
	machine.Reboot()
	ran, err := gate.Do(ctx, tidy)
	fmt.Println(ran, err)
	// Output:
	// tidying
	// true <nil>
	// false <nil>
	// false <nil>
	// tidying
	// true <nil>
}
