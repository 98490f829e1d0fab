package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// Passes run in a process of their own, so that their memory is theirs. It is
// this program again; the variable says what it does.
const roleVariable = "ROLLCALL_BENCH_ROLE"

// role does its work, and prints what it measured.
type role func(ctx context.Context, args []string) error

var roles = map[string]role{
	"clean":      timed(cleanRole),
	"candidates": timed(candidatesRole),
	"read":       timed(readRole),
	"cli":        cliRole,
	"notified":   notifiedRole,
	"stopped":    stoppedRole,
}

// timed is a role that prints the nanoseconds that it took, by the clock and of
// the processor. They are counted from there: what a process needs to start is not, in C
// neither.
func timed(play role) role {
	return func(ctx context.Context, args []string) error {
		began, cpu := time.Now(), cpuTime()
		if err := play(ctx, args); err != nil {
			return err
		}
		fmt.Println(int64(time.Since(began)), int64(cpuTime()-cpu))
		return nil
	}
}

// playRole plays the role that this process was started for.
func playRole() (played bool, err error) {
	play, ok := roles[os.Getenv(roleVariable)]
	if !ok {
		return false, nil
	}
	return true, play(context.Background(), os.Args[1:])
}

// cleanRole is the pass of a host that has just started.
func cleanRole(ctx context.Context, args []string) error {
	db, store, err := openStore(ctx, args[0])
	if err != nil {
		return err
	}
	defer db.Close()
	report, err := lifecycle.Cleaner{Store: store}.Clean(ctx)
	if err != nil {
		return err
	}
	if got := fmt.Sprint(report.Stopped, " ", report.Kept); got != args[1] {
		return fmt.Errorf("stopped and kept %s, not %s", got, args[1])
	}
	return nil
}

// cliRole is a command that opens its database anyway, lists its records and passes
// the closed gate. It prints the CPU time of the gate, and of all else from the
// start of the process.
func cliRole(ctx context.Context, args []string) error {
	db, store, err := openStore(ctx, args[0])
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := store.Records(ctx); err != nil {
		return err
	}
	before := cpuTime()
	gate := &lifecycle.BootGate{KV: store.Gate()}
	ran, err := gate.Do(ctx, func(context.Context) error { return nil })
	if ran || err != nil {
		return fmt.Errorf("the gate is not closed: %v, %w", ran, err)
	}
	fmt.Println(int64(cpuTime()-before), int64(before))
	return nil
}

// candidatesRole reads the records as a Cleaner does, and judges none.
func candidatesRole(ctx context.Context, args []string) error {
	db, store, err := openStore(ctx, args[0])
	if err != nil {
		return err
	}
	defer db.Close()
	for _, err := range store.Candidates(ctx) {
		if err != nil {
			return err
		}
	}
	return nil
}

// readRole reads the columns of all records by one statement.
func readRole(ctx context.Context, args []string) error {
	db, err := openDB(args[0])
	if err != nil {
		return err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, `SELECT seq, name, incarnation, owner, phase, identity, created_at, beat_boot, beat_awake,
		coalesce(beat_wall, 0), parent, data FROM rollcall_records`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var n [4]int64
	var text [8]string
	for rows.Next() {
		if err := rows.Scan(&n[0], &text[0], &text[1], &text[2], &text[3], &text[4], &n[1], &text[5], &n[2], &n[3], &text[6], &text[7]); err != nil {
			return err
		}
	}
	return rows.Err()
}
