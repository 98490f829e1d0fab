// User is the program of somebody who has read the README: it cleans a record.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"

	_ "modernc.org/sqlite"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	_ "github.com/rollcall-go/rollcall/postgresstore"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	db, err := sql.Open("sqlite", "file:state.db?_pragma=journal_mode(WAL)")
	if err != nil {
		return err
	}
	defer db.Close()
	store, err := sqlitestore.New(ctx, db, sqlitestore.Options{})
	if err != nil {
		return err
	}
	record, err := store.Launch(ctx, lifecycle.Record{Name: "web"})
	if err != nil {
		return err
	}
	cmd := exec.Command("true")
	marker := liveness.Plant(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	identity, err := liveness.CaptureProcess(cmd.Process)
	if err != nil {
		return err
	}
	identity.Marker = marker
	if err := store.Activate(ctx, record, identity); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return err
	}
	cleaner := lifecycle.Cleaner{Store: store}
	report, err := cleaner.CleanOncePerBoot(ctx, &lifecycle.BootGate{KV: store.Gate()})
	if err != nil {
		return err
	}
	snapshot, err := store.Snapshot(ctx, "web")
	if err != nil {
		return err
	}
	fmt.Println("stopped", report.StoppedBy[lifecycle.ReasonDied], snapshot.Name)
	return nil
}
