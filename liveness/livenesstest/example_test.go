package livenesstest_test

import (
	"context"
	"fmt"
	"time"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

// A host's test: what does a start do with the records after a reboot?
func Example() {
	world, store := livenesstest.New(), new(memstore.Store)
	if _, err := store.Put(context.Background(), lifecycle.Record{Name: "worker", Identity: world.Start()}); err != nil {
		fmt.Println(err)
	}
	world.Reboot()
	report, err := lifecycle.Cleaner{Store: store, Liveness: world, Clock: world}.Clean(context.Background())
	fmt.Println(report.StoppedBy, err)
	// Output: map[exit:reboot:1] <nil>
}

func ExampleWorld_Reuse() {
	world := livenesstest.New()
	worker := world.Start()
	world.Reuse(worker.PID)
	fmt.Println(world.Check(worker))
	// Output: dead: its PID belongs to another process now
}

// A laptop that slept for a night has no stale heartbeats in the morning.
func ExampleWorld_Suspend() {
	world := livenesstest.New()
	cleaner := lifecycle.Cleaner{Store: new(memstore.Store), Liveness: world, Clock: world, StaleAfter: time.Hour}
	record := lifecycle.Record{Name: "agent", Incarnation: "1", Heartbeat: lifecycle.Beat(world)}
	world.Suspend(9 * time.Hour)
	decision, err := cleaner.Decide(record)
	fmt.Println(decision.Verb(), decision.Reason, err)
	world.Advance(2 * time.Hour)
	decision, err = cleaner.Decide(record)
	fmt.Println(decision.Verb(), decision.Reason, err)
	// Output:
	// keep heartbeat <nil>
	// stop stale <nil>
}

// A host's test: does a stop end the worker with what it has started, and nobody
// else?
func ExampleWorld_Open() {
	ctx := context.Background()
	world, store := livenesstest.New(), new(memstore.Store)
	worker, compiler, _ := world.Start(), world.Start(), world.Start()
	world.Group(worker.PID, compiler.PID)
	record, err := store.Put(ctx, lifecycle.Record{Name: "worker", Identity: worker})
	if err != nil {
		fmt.Println(err)
	}

	cleaner := lifecycle.Cleaner{
		Store: store, Liveness: world, Clock: world,
		Terminate: &lifecycle.Termination{Grace: time.Minute, Group: true},
	}
	outcome, err := cleaner.Stop(ctx, record, lifecycle.Cause{By: "user", Reason: "asked"})
	fmt.Println(outcome, err)
	fmt.Println(world.Check(worker))
	fmt.Println(world.Signals())
	// Output:
	// stopped <nil>
	// dead: no process has its PID
	// map[101:[terminated] 102:[terminated]]
}

// The same machine looks different to a service that is allowed to see less.
func ExampleWorld_SetView() {
	world := livenesstest.New()
	worker := world.Start()
	view := world.View()
	view.Boot.Boot, view.Boot.Quality = "6ba7b810-9dad-11d1-80b4-00c04fd430c8", bootid.Given
	view.Namespace.InitStart = 0
	world.SetView(view)
	fmt.Println(world.Check(worker))
	world.Exit(worker.PID)
	fmt.Println(world.Check(worker))
	// Output:
	// unknown: nothing recorded tells whose PID it is now
	// dead: no process has its PID
}
