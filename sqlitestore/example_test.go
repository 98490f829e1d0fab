package sqlitestore_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// A worker is launched, the machine reboots, the next start of the program
// cleans up, and the worker is resumed from what was left of it. A scripted
// machine stands in for the real one: without Clock, Liveness and Self it is
// the one that the program runs on.
func Example() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", "file:example?mode=memory")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // for a database in memory
	machine := livenesstest.New()
	store, err := sqlitestore.New(ctx, db, sqlitestore.Options{Clock: machine})
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
