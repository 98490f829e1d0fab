package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

func newTable() *tabwriter.Writer { return tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0) }

func list(*flag.FlagSet) action {
	return func(ctx context.Context, a *app, _ []string) error {
		records, err := a.store.Records(ctx) // the error names what it leaves out
		if len(records) == 0 && err == nil {
			fmt.Println("no agents; \"agents start NAME COMMAND...\" starts one")
			return nil
		}
		table := newTable()
		fmt.Fprintln(table, "NAME\tSTATE\tPID\tSINCE\tTAG\tVERDICT")
		for _, record := range records {
			decision, judgeErr := a.cleaner.Decide(record)
			s, specErr := specOf(record)
			err = errors.Join(err, judgeErr, specErr)
			state, verdict := record.Phase.String(), decision.Verdict.String()
			switch {
			case record.Phase != lifecycle.Running:
				verdict = decision.String()
			case decision.Verdict.State != liveness.Alive:
				state = decision.Verdict.State.String()
			}
			fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\t%s\n", record.Name, state, record.Identity.PID, ago(record.CreatedAt), cmp.Or(s.Tag, "-"), verdict)
		}
		return errors.Join(table.Flush(), err)
	}
}

func explain(*flag.FlagSet) action {
	return func(ctx context.Context, a *app, arguments []string) error {
		record, err := a.record(ctx, arguments[0])
		if err != nil {
			return err
		}
		decision, err := a.cleaner.Decide(record)
		s, specErr := specOf(record)
		table := newTable()
		for _, row := range [][2]any{
			{"agent", record.Name},
			{"phase", record.Phase},
			{"decision", decision},
			{"evidence", record.Identity},
			{"started", record.CreatedAt.Local().Format(time.DateTime)},
			{"command", quoted(s.Command...)},
			{"directory", s.Dir},
			{"tag", s.Tag},
			{"variables", strings.Join(slices.Sorted(maps.Keys(s.Env)), " ")},
			{"output", a.outputFile(record.Name)},
		} {
			fmt.Fprintf(table, "%s\t%v\n", row[0], row[1])
		}
		return errors.Join(table.Flush(), err, specErr)
	}
}

// showLog makes two lines of each stopped event, whose snapshot tells when that
// life began, and one of each life that lasts.
func showLog(*flag.FlagSet) action {
	return func(ctx context.Context, a *app, arguments []string) error {
		type line struct {
			at         time.Time
			name, text string
		}
		var lines []line
		started := func(record lifecycle.Record) error {
			s, err := specOf(record)
			lines = append(lines, line{record.CreatedAt, record.Name, "started\t" + quoted(s.Command...)})
			return err
		}
		events, err := a.events(ctx)
		for _, event := range events {
			why := "by " + event.By + ", " + event.Reason
			if event.Verdict != "" {
				why += " (" + event.Verdict + ")"
			}
			err = errors.Join(err, started(event.Snapshot.Record))
			lines = append(lines, line{event.At, event.Name, "stopped\t" + why})
		}
		records, recordsErr := a.store.Records(ctx)
		for _, record := range records {
			err = errors.Join(err, started(record))
		}
		slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
		table := newTable()
		for _, l := range lines {
			if len(arguments) == 0 || l.name == arguments[0] {
				fmt.Fprintf(table, "%s\t%s\t%s\n", l.at.Local().Format(time.DateTime), l.name, l.text)
			}
		}
		return errors.Join(table.Flush(), err, recordsErr)
	}
}

// events returns all stopped events. The error names those that cannot be read.
func (a *app) events(ctx context.Context) (all []lifecycle.Event, err error) {
	for after := int64(0); ; after = all[len(all)-1].Seq {
		page, pageErr := a.store.Events(ctx, after)
		err = errors.Join(err, pageErr)
		if len(page) == 0 {
			return all, err
		}
		all = append(all, page...)
	}
}

// ago is for people: the wall clock may have been set since.
func ago(t time.Time) string {
	const day = 24 * time.Hour
	switch d := max(time.Since(t), 0); {
	case d < time.Minute:
		return fmt.Sprintf("%ds ago", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", d/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%dh ago", d/time.Hour)
	default:
		return fmt.Sprintf("%dd ago", d/day)
	}
}

// quoted joins words, of which some may need quotes to be told from the next.
func quoted(words ...string) string {
	var all []string
	for _, word := range words {
		if word == "" || strings.ContainsAny(word, " \t\n\"'") || printable(word) != word {
			word = fmt.Sprintf("%q", word)
		}
		all = append(all, word)
	}
	return strings.Join(all, " ")
}

// printable keeps what somebody else wrote from steering the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\n' || r == '\t' {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}
