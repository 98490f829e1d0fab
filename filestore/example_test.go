package filestore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/rollcall-go/rollcall/filestore"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

// A worker is launched, the machine reboots, the next start of the program
// cleans up, and the worker is resumed from what was left of it. A scripted
// machine stands in for the real one: without Clock, Liveness and Self it is
// the one that the program runs on.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	machine := livenesstest.New()
	store, err := filestore.New(ctx, dir, filestore.Options{Clock: machine})
	if err != nil {
		log.Fatal(err)
	}

	record, err := store.Launch(ctx, lifecycle.Record{Name: "worker", Data: json.RawMessage(`{"argv":["make","all"]}`)})
	if err != nil {
		log.Fatal(err)
	}
	process := machine.Start() // liveness.Plant, cmd.Start, liveness.CaptureProcess
	if err := store.Activate(ctx, record, process); err != nil {
		log.Fatal(err)
	}
	if err := store.Bind(ctx, record, "session-1"); err != nil {
		log.Fatal(err)
	}

	machine.Reboot()
	cleaner := lifecycle.Cleaner{Store: store, Liveness: machine, Clock: machine}
	gate := &lifecycle.BootGate{KV: store.Gate(), Self: machine.Self}
	for range 2 { // two starts of the program
		report, err := cleaner.CleanOncePerBoot(ctx, gate)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("stopped:", report.Stopped, report.StoppedBy, "gate closed:", report.GateClosed)
	}

	snapshot, err := store.Snapshot(ctx, "worker")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("resume", snapshot.Name, "with", string(snapshot.Data), "and", snapshot.Bindings)

	// Output:
	// stopped: 1 map[exit:reboot:1] gate closed: false
	// stopped: 0 map[] gate closed: true
	// resume worker with {"argv":["make","all"]} and [session-1]
}

// The gate alone, for a host that keeps its records elsewhere: where it is
// closed, nothing of them is opened.
func ExampleGate() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	machine := livenesstest.New()
	gate := &lifecycle.BootGate{
		KV:   filestore.Gate(filepath.Join(dir, "gate")),
		Self: machine.Self, Liveness: machine, Clock: machine,
	}
	for range 2 { // two starts of the program
		ran, err := gate.Do(ctx, func(context.Context) error {
			fmt.Println("the records are opened and cleaned")
			return nil
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("ran:", ran)
	}

	// Output:
	// the records are opened and cleaned
	// ran: true
	// ran: false
}
