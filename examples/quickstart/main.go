// Quickstart shows the main job on real processes: it starts some, records
// them in a SQLite file, lets things happen to them, and then calls the one
// line that a program calls when it starts. Run it twice or kill it on the
// way: it works in a directory of its own and leaves nothing behind.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"text/tabwriter"
	"time"

	_ "modernc.org/sqlite"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == childArgument {
		childMain()
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "rollcall-quickstart-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "state.db")+"?_pragma=journal_mode(WAL)")
	if err != nil {
		return err
	}
	defer db.Close()
	store, err := sqlitestore.New(ctx, db, sqlitestore.Options{})
	if err != nil {
		return err
	}

	// What a host does during its life. Everything in scene.go is real but
	// for the machine and the boot that some records claim to be from.
	s := scene{db: db, store: store, happened: map[string]string{}}
	defer s.end()
	if err := s.play(ctx); err != nil {
		return err
	}

	// What it does when it starts the next time.
	cleaner := lifecycle.Cleaner{
		Store:         store,
		LaunchTimeout: 5 * time.Minute,
		StaleAfter:    time.Hour,
		OnProgress:    progress(os.Stderr),
	}
	if err := printTable(ctx, out, &s, cleaner); err != nil {
		return err
	}
	gate := &lifecycle.BootGate{KV: store.Gate()}

	fmt.Fprintf(out, "\nThe one line:  report, err := cleaner.CleanOncePerBoot(ctx, gate)\n\n")
	report, err := cleaner.CleanOncePerBoot(ctx, gate)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  %v\n\n", report)
	if err := printEvents(ctx, out, store); err != nil {
		return err
	}

	began := time.Now()
	report, err = cleaner.CleanOncePerBoot(ctx, gate)
	took := time.Since(began)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nThe same line again, as at every later start in this boot:\n\n  %v; it cost %v\n", report, took.Round(time.Microsecond))

	snapshot, err := store.Snapshot(ctx, "agent")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\nWhat \"resume agent\" would start from:\n\n  data %s, bound to %q\n", snapshot.Data, snapshot.Bindings)
	return nil
}

// progress returns what shows on a terminal how far a long pass has come: the
// line is written over by the next one. Elsewhere it is nil, and silent.
func progress(out *os.File) func(examined, stopped int) {
	if info, err := out.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return func(examined, stopped int) {
		if examined >= 1000 {
			fmt.Fprintf(out, "%d records examined, %d stopped\r", examined, stopped)
		}
	}
}

// printTable judges every record without touching it.
func printTable(ctx context.Context, out io.Writer, s *scene, cleaner lifecycle.Cleaner) error {
	records, err := s.store.Records(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d records, and what has become of them:\n\n", len(records))
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  RECORD\tWHAT HAPPENED\tVERDICT\tDECISION")
	for _, record := range records {
		decision, err := cleaner.Decide(record)
		if err != nil {
			return err
		}
		verdict := "not asked"
		if record.Phase == lifecycle.Running && decision.Reason != lifecycle.ReasonOtherOwner {
			verdict = decision.Verdict.String()
			if record.Identity.IsZero() {
				verdict = "no process is tracked"
			}
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s: %s\n", record.Name, s.happened[record.Name], verdict, decision.Verb(), decision.Reason)
	}
	return table.Flush()
}

// printEvents prints the stopped events that the store has logged.
func printEvents(ctx context.Context, out io.Writer, store *sqlitestore.Store) error {
	events, err := store.Events(ctx, 0)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  EVENT\tRECORD\tBY\tREASON")
	for _, event := range events {
		fmt.Fprintf(table, "  %d %s\t%s\t%s\t%s\n", event.Seq, event.Action, event.Name, event.By, event.Reason)
	}
	return table.Flush()
}
