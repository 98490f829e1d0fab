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
	decision, err := cleaner.Judge(record)
	fmt.Println(decision.Action, decision.Reason, err)
	world.Advance(2 * time.Hour)
	decision, err = cleaner.Judge(record)
	fmt.Println(decision.Action, decision.Reason, err)
	// Output:
	// keep heartbeat <nil>
	// stop stale <nil>
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
