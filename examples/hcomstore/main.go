// Hcomstore cleans somebody else's tables: those of hcom
// (https://github.com/aannoo/hcom), which keeps a row for each agent it has
// launched, with a PID, some times in epoch seconds, and bindings to processes.
// Nothing is added to them. What a host with tables of its own would copy is
// store.go, the two methods of a store, gate.go, those of a gate, and from
// row.go what it does to judge rows that hold no more than a PID and times.
//
// Without an argument it makes such a database in a directory of its own, with
// real processes, and cleans it. With one it judges the rows of that database, and
// touches nothing; with -stop it stops what is due.
//
// # Limits
//
// The wall times of the rows are as good as the wall clock: where that was set
// forward since, as after a virtual machine was paused, rows without a process
// look older than they are, and those of headless agents may be taken for dead.
// How old a row without a process is can be told on Linux only; elsewhere it is
// kept. Rows of other devices are left to them. A row whose process is alive is
// kept whatever its status says.
package main

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/rollcall-go/rollcall/lifecycle"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == childArgument {
		childMain()
		return
	}
	stop := flag.Bool("stop", false, "stop the rows that are due, rather than only say so")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: hcomstore [[-stop] hcom.db]")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	var err error
	switch {
	case flag.NArg() == 0 && !*stop:
		err = demonstrate(ctx, os.Stdout)
	case flag.NArg() == 1:
		err = clean(ctx, os.Stdout, flag.Arg(0), *stop)
	default:
		flag.Usage()
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hcomstore:", err)
		os.Exit(1)
	}
}

// thisDevice is a name that no other device has: hcom's rows name only others.
const thisDevice = "this device"

// newCleaner has the limits of hcom's own clean-up.
func newCleaner(db *sql.DB) (lifecycle.Cleaner, error) {
	judge, err := newJudge()
	return lifecycle.Cleaner{
		Store: &Store{db}, Liveness: judge, Owner: thisDevice,
		LaunchTimeout: launchTime, StaleAfter: time.Hour, InactiveAfter: 12 * time.Hour,
	}, err
}

// clean is what a host does when it starts.
func clean(ctx context.Context, out io.Writer, path string, stop bool) error {
	if _, err := os.Stat(path); err != nil {
		return err // SQLite would make a new file
	}
	db, err := open(path)
	if err != nil {
		return err
	}
	defer db.Close()
	cleaner, err := newCleaner(db)
	if err != nil {
		return err
	}
	if !stop {
		return printTable(ctx, out, cleaner, nil)
	}
	gate := &lifecycle.BootGate{KV: &Gate{db}, Every: 10 * time.Minute}
	report, err := cleaner.CleanOncePerBoot(ctx, gate)
	fmt.Fprintln(out, report)
	return err
}

// printTable judges every row without touching it.
func printTable(ctx context.Context, out io.Writer, cleaner lifecycle.Cleaner, happened map[string]string) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  INSTANCE\tWHAT HAPPENED\tVERDICT\tDECISION")
	for record, err := range cleaner.Store.Candidates(ctx) {
		var decision lifecycle.Decision
		if err == nil {
			decision, err = cleaner.Decide(record)
		}
		switch {
		case record.Name == "" && err != nil:
			return err
		case err != nil:
			fmt.Fprintf(table, "  %s\t%s\tnot asked\tkeep: %v\n", record.Name, happened[record.Name], err)
			continue
		}
		verdict := "not asked"
		if record.Phase == lifecycle.Running && decision.Reason != lifecycle.ReasonOtherOwner {
			verdict = decision.Verdict.String()
			if record.Identity.IsZero() {
				verdict = "no process is tracked"
			}
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s: %s\n", record.Name, happened[record.Name], verdict, decision.Verb(), decision.Reason)
	}
	return table.Flush()
}

func demonstrate(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "rollcall-hcomstore-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "hcom.db")
	s, err := newScene(ctx, path)
	if err != nil {
		return err
	}
	defer s.end()
	if err := s.play(ctx); err != nil {
		return err
	}
	cleaner, err := newCleaner(s.db)
	if err != nil {
		return err
	}
	if err := printTable(ctx, out, cleaner, s.happened); err != nil {
		return err
	}
	fmt.Fprintln(out)
	for range 2 { // the second time the gate is closed
		if err := clean(ctx, out, path, true); err != nil {
			return err
		}
	}
	fmt.Fprintln(out)
	return printEvents(ctx, out, s.db)
}

// printEvents prints what hcom would show, and what its resume would start from.
func printEvents(ctx context.Context, out io.Writer, db *sql.DB) error {
	rows, err := db.QueryContext(ctx, `SELECT instance, json_extract(data, '$.action'), json_extract(data, '$.by'), json_extract(data, '$.reason'),
		json_extract(data, '$.snapshot.tool'), coalesce(json_extract(data, '$.snapshot.session_id'), ''), json_extract(data, '$.snapshot.directory')
		FROM events WHERE type = 'life' ORDER BY id`)
	if err != nil {
		return err
	}
	defer rows.Close()
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  INSTANCE\tEVENT\tBY\tREASON\tRESUME")
	for rows.Next() {
		var name, action, by, reason, tool, session, directory string
		if err := rows.Scan(&name, &action, &by, &reason, &tool, &session, &directory); err != nil {
			return err
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t%s %s in %s\n", name, action, by, reason, tool, session, directory)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return table.Flush()
}
