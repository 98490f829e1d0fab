// Package examples_test has the code of the README, as it stands there.
package examples_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"iter"
	"log"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "modernc.org/sqlite"

	"github.com/rollcall-go/rollcall/filestore"
	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
	"github.com/rollcall-go/rollcall/postgresstore"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

func TestMain(m *testing.M) { proctest.Main(m, nil) }

func inYourOwnMain(ctx context.Context, db *sql.DB, cmd *exec.Cmd) error {
	store, err := sqlitestore.New(ctx, db, sqlitestore.Options{})
	if err != nil {
		return err
	}
	cleaner := lifecycle.Cleaner{Store: store, LaunchTimeout: 5 * time.Minute, StaleAfter: time.Hour}
	gate := &lifecycle.BootGate{KV: store.Gate(), Every: 10 * time.Minute}
	report, err := cleaner.CleanOncePerBoot(ctx, gate)
	if err != nil {
		return err
	}
	if report.Examined != 0 {
		return fmt.Errorf("an empty store, but %v", report)
	}

	record, err := store.Launch(ctx, lifecycle.Record{Name: "web", Data: json.RawMessage(`{"port":8080}`)})
	if err != nil {
		return err // lifecycle.ErrNameTaken: store.Record and cleaner.Decide tell by whom
	}
	marker := liveness.Plant(cmd) // before cmd.Start
	if err := cmd.Start(); err != nil {
		return err
	}
	identity, err := liveness.CaptureProcess(cmd.Process) // before cmd.Wait
	if err != nil {
		return err
	}
	identity.Marker = marker
	err = store.Activate(ctx, record, identity)
	return err
}

func TestTheCodeForOnesOwnMainRecordsAProcess(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(c.TempDir(), "state.db"))
	c.Assert(err, qt.IsNil)
	defer db.Close()
	cmd := proctest.Command("hold")
	_, err = cmd.StdinPipe() // until it is closed the process waits
	c.Assert(err, qt.IsNil)
	c.Assert(inYourOwnMain(c.Context(), db, cmd), qt.IsNil)

	store, err := sqlitestore.New(c.Context(), db, sqlitestore.Options{})
	c.Assert(err, qt.IsNil)
	record, err := store.Record(c.Context(), "web")
	c.Assert(err, qt.IsNil)
	cleaner := lifecycle.Cleaner{Store: store}
	decision, err := cleaner.Decide(record)
	c.Assert(err, qt.IsNil)
	c.Check(decision.String(), qt.Equals, "keep: alive (alive: the recorded process runs)")

	c.Assert(cmd.Process.Kill(), qt.IsNil)
	_ = cmd.Wait() // says that it was killed
	decision, err = cleaner.Decide(record)
	c.Assert(err, qt.IsNil)
	c.Check(decision.String(), qt.Equals, "stop: exit:died (dead: no process has its PID)")
	report, err := cleaner.Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Check(report.StoppedBy, qt.DeepEquals, map[string]int{"exit:died": 1})
	snapshot, err := store.Snapshot(c.Context(), "web")
	c.Assert(err, qt.IsNil)
	c.Check(string(snapshot.Data), qt.Equals, `{"port":8080}`)
}

func inFiles(ctx context.Context, dir string) (lifecycle.Report, error) {
	store, err := filestore.New(ctx, dir, filestore.Options{})
	gate := &lifecycle.BootGate{KV: filestore.Gate(filepath.Join(dir, "gate"))}
	if err != nil {
		return lifecycle.Report{}, err
	}
	return lifecycle.Cleaner{Store: store}.CleanOncePerBoot(ctx, gate)
}

func TestTheCodeForFilesPassesTheGateOnce(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	dir := c.TempDir()
	for _, closed := range []bool{false, true} {
		report, err := inFiles(c.Context(), dir)
		c.Assert(err, qt.IsNil)
		c.Check(report.GateClosed, qt.Equals, closed)
	}
}

func goOnRunning(ctx context.Context, cleaner lifecycle.Cleaner) error {
	cleaner.Terminate = &lifecycle.Termination{Grace: 5 * time.Second, Group: true}
	watcher := lifecycle.Watcher{Cleaner: cleaner, OnReport: func(report lifecycle.Report, err error) {
		log.Println(report, err)
	}}
	err := watcher.Run(ctx)
	return err
}

func onManyMachines(ctx context.Context, pool *pgxpool.Pool, done chan error) error {
	store, err := postgresstore.New(ctx, pool, postgresstore.Options{Owner: "machine-7"})
	if err != nil {
		return err
	}
	lease, err := store.Join(ctx, postgresstore.LeaseOptions{TTL: 30 * time.Second})
	if err != nil {
		return err
	}
	store = lease.Store() // its writes are refused once this machine was taken for lost
	go func() { done <- lease.Run(ctx) }()
	_, err = lifecycle.Cleaner{Store: store, Owner: "machine-7"}.Clean(ctx)
	return err
}

// These are compiled: they need a host that goes on, and a server.
var _, _ = goOnRunning, onManyMachines

type Store map[string]lifecycle.Record

func (s Store) Candidates(context.Context) iter.Seq2[lifecycle.Record, error] {
	return func(yield func(lifecycle.Record, error) bool) {
		for _, record := range s {
			if !yield(record, nil) {
				return
			}
		}
	}
}

func (s Store) Stop(_ context.Context, record lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	if s[record.Name].Incarnation != record.Incarnation {
		return lifecycle.AlreadyStopped, nil
	}
	fmt.Println("stopped", record.Name, cause.Reason) // a database writes event and snapshot here
	delete(s, record.Name)
	return lifecycle.Stopped, nil
}

func ExampleStore() {
	machine := livenesstest.New()
	store := Store{"web": {Name: "web", Incarnation: "1", Identity: machine.Start()}}
	machine.Reboot()
	report, err := lifecycle.Cleaner{Store: store, Liveness: machine, Clock: machine}.Clean(context.Background())
	fmt.Println(report.Stopped, len(store), err)
	// Output:
	// stopped web exit:reboot
	// 1 0 <nil>
}
