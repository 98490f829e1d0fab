// Consumer is a program of somebody else's: it has a store of its own and is
// compiled against the names that this module has promised to keep. It is not
// part of the workspace.
package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/liveness"
)

type store map[string]lifecycle.Record

func (s store) Candidates(context.Context) iter.Seq2[lifecycle.Record, error] {
	return func(yield func(lifecycle.Record, error) bool) {
		for _, record := range s {
			if !yield(record, nil) {
				return
			}
		}
	}
}

func (s store) Stop(_ context.Context, record lifecycle.Record, cause lifecycle.Cause) (lifecycle.Outcome, error) {
	if s[record.Name].Incarnation != record.Incarnation {
		return lifecycle.AlreadyStopped, nil
	}
	fmt.Println("stopped", record.Name, "by", cause.By, "for", cause.Reason)
	delete(s, record.Name)
	return lifecycle.Stopped, nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	cmd := exec.Command("true")
	liveness.Detach(cmd)
	marker := liveness.Plant(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	gone, err := liveness.CaptureProcess(cmd.Process)
	if err != nil {
		return err
	}
	gone.Marker = marker
	if err := cmd.Wait(); err != nil {
		return err
	}
	self, err := liveness.Self()
	if err != nil {
		return err
	}
	s := store{
		"gone": {Name: "gone", Incarnation: "1", Identity: gone},
		"self": {Name: "self", Incarnation: "1", Identity: self},
	}
	report, err := lifecycle.Cleaner{Store: s}.Clean(context.Background())
	if err != nil {
		return err
	}
	if _, kept := s["self"]; !kept || len(s) != 1 || report.Stopped != 1 {
		return fmt.Errorf("%v: left %v", report, s)
	}
	fmt.Println(report)
	return nil
}

// The other names of the contract.
var (
	_ fmt.Stringer             = bootid.ID{}
	_ encoding.TextMarshaler   = bootid.ID{}
	_ encoding.TextUnmarshaler = (*bootid.ID)(nil)
	_                          = []bootid.Relation{bootid.SameBoot, bootid.OtherBoot, bootid.OtherMachine, bootid.Incomparable}
	_                          = []bootid.Quality{bootid.Native, bootid.Given, bootid.Derived}
	_                          = bootid.ID.IsZero
	_                          = bootid.ID.Compare
	_                          = bootid.ID.Valid
	_                          = bootid.New
	_                          = bootid.Parse
	_                          = bootid.Current
	_                          = bootid.Awake

	_ fmt.Stringer             = liveness.Identity{}
	_ encoding.TextMarshaler   = liveness.Identity{}
	_ encoding.TextUnmarshaler = (*liveness.Identity)(nil)
	_ driver.Valuer            = liveness.Identity{}
	_ sql.Scanner              = (*liveness.Identity)(nil)
	_                          = liveness.Identity{PID: 1, Boot: bootid.ID{}, Namespace: liveness.Namespace{}, Start: 1, Unique: 1, Marker: "m", NotBefore: time.Time{}, NotAfter: time.Time{}}
	_                          = liveness.Parse
	_                          = liveness.Capture
	_ liveness.Liveness        = (*liveness.System)(nil)
	_ liveness.Opener          = (*liveness.System)(nil)
	_                          = liveness.Options{Root: "", ExclusiveNamespace: true, SameMachine: true, MarkerVariable: ""}
	_                          = []any{
		(*liveness.System).Check, (*liveness.System).Self, (*liveness.System).Capture, (*liveness.System).CaptureProcess,
		(*liveness.System).Plant, (*liveness.System).Open, (*liveness.System).NewWatch, (*liveness.System).Marked,
	}
	_ func(liveness.Options) (*liveness.System, error) = liveness.New
	_                                                  = []liveness.State{liveness.Unknown, liveness.Alive, liveness.Dead}
	_                                                  = liveness.Verdict{State: liveness.Dead, Reason: liveness.Zombie, Err: nil}.String
	_                                                  = []liveness.Reason{
		liveness.SameProcess, liveness.Rebooted, liveness.NoProcess, liveness.PIDReused, liveness.Zombie,
		liveness.NotAProcess, liveness.OtherMachine, liveness.OtherNamespace, liveness.NoEvidence, liveness.Unreadable,
	}

	_ = lifecycle.Record{Name: "", Incarnation: "", Owner: "", Phase: lifecycle.Running, Identity: liveness.Identity{},
		CreatedAt: time.Time{}, Heartbeat: lifecycle.Heartbeat{}, Parent: "", Data: nil}
	_ = []lifecycle.Phase{lifecycle.Launching, lifecycle.Running, lifecycle.Inactive}
	_ = lifecycle.Cause{By: "", Reason: "", Verdict: liveness.Verdict{}}
	_ = lifecycle.Cleaner{Store: store{}, Liveness: nil, Owner: "", LaunchTimeout: 0, StaleAfter: 0, InactiveAfter: 0, Concurrency: 0,
		DryRun: false, OnStopped: nil, OnProgress: nil, Logger: (*slog.Logger)(nil)}.CleanOncePerBoot
	_ lifecycle.BatchStopper                                                                  = nil
	_ lifecycle.Registrar                                                                     = memstore.New(memstore.Options{Owner: "", Clock: nil, OnStop: nil})
	_ func(lifecycle.Registrar, context.Context, lifecycle.Record, json.RawMessage) error     = lifecycle.Registrar.SetData
	_                                                                                         = []error{lifecycle.ErrInvalidRecord, lifecycle.ErrNotRegistered, lifecycle.ErrNameTaken, lifecycle.ErrNoSnapshot, lifecycle.ErrChanged, lifecycle.ErrUnavailable}
	_                                                                                         = lifecycle.Cleaner{Terminate: &lifecycle.Termination{Grace: time.Second, Group: true}}.Stop
	_ func(lifecycle.Watcher, context.Context) error                                          = lifecycle.Watcher.Run
	_ func(context.Context, func(context.Context) error) (ran bool, err error)                = (&lifecycle.BootGate{KV: lifecycle.KV(nil), Every: time.Hour, ClaimTimeout: time.Minute}).Do
	_ func(*lifecycle.BootGate, context.Context, func(context.Context) error) (bool, error)   = (*lifecycle.BootGate).Do
	_ func(lifecycle.Cleaner, context.Context, *lifecycle.BootGate) (lifecycle.Report, error) = lifecycle.Cleaner.CleanOncePerBoot
)
