package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/rollcall-go/rollcall/postgresstore"
)

// fleet is the machines and what is seen of them.
type fleet struct {
	options
	url, schema string
	store       *postgresstore.Store
	out         io.Writer
	members     []*member
	lines       int // of the table on the terminal
}

func (f *fleet) end() {
	for _, m := range f.members {
		m.kill()
	}
}

// What the leases say of a machine.
const (
	stateAlive   = "holds its lease"
	stateExpired = "lease has run out"
	stateLost    = "lost, records are being stopped"
	stateGone    = "lost, all records stopped"
)

type table struct {
	rows    []tableRow
	records int
	took    int64
}

type tableRow struct {
	owner, process, state string
	silent                time.Duration
	records               int
	took                  int64
}

func (t table) machine(owner string) tableRow {
	for _, row := range t.rows {
		if row.owner == owner {
			return row
		}
	}
	return tableRow{}
}

// look reads the table from the database.
func (f *fleet) look(ctx context.Context) (table, error) {
	machines, err := f.store.Machines(ctx)
	if err != nil {
		return table{}, err
	}
	leases := map[string]postgresstore.Machine{}
	for _, machine := range machines {
		leases[machine.Owner] = machine
	}
	records, err := f.store.Records(ctx)
	if err != nil {
		return table{}, err
	}
	counts := map[string]int{}
	for _, record := range records {
		counts[record.Owner]++
	}
	t := table{records: len(records)}
	for _, m := range f.members {
		row := tableRow{owner: m.owner, process: fmt.Sprintf("runs, %d", m.cmd.Process.Pid), records: counts[m.owner], took: m.took.Load()}
		if m.dead {
			row.process = "killed"
		}
		switch lease, ok := leases[m.owner]; {
		case !ok && m.dead:
			row.state = stateGone
		case !ok:
			row.state = "has not joined yet"
		case lease.Epoch == 0:
			row.state, row.silent = stateLost, lease.Silent
		case lease.Expired():
			row.state, row.silent = stateExpired, lease.Silent
		default:
			row.state, row.silent = stateAlive, lease.Silent
		}
		t.rows, t.took = append(t.rows, row), t.took+row.took
	}
	return t, nil
}

// show shows the table until something has come about: on a terminal again and
// again in its place, elsewhere once it has.
func (f *fleet) show(ctx context.Context, title string, until func(table) bool) error {
	const refresh = 100 * time.Millisecond
	ticker := time.NewTicker(refresh)
	defer ticker.Stop()
	for {
		t, err := f.look(ctx)
		if err != nil {
			return err
		}
		done := until(t)
		if f.terminal || done {
			if err := f.print(t, title, done); err != nil {
				return err
			}
		}
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

func (f *fleet) print(t table, title string, done bool) error {
	var b bytes.Buffer
	if !done {
		title = "…"
	}
	fmt.Fprintf(&b, "%s\n\n", title)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  MACHINE\tPROCESS\tLEASE\tLAST BEAT\tRECORDS\tTOOK OVER")
	for _, row := range t.rows {
		beat := "-"
		if row.silent > 0 {
			beat = row.silent.Round(100*time.Millisecond).String() + " ago"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%d\t%d\n", row.owner, row.process, row.state, beat, row.records, row.took)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(&b)
	if f.terminal && f.lines > 0 {
		fmt.Fprintf(f.out, "\x1b[%dF\x1b[J", f.lines) // up to its first line, and clear
	}
	f.lines = bytes.Count(b.Bytes(), []byte("\n"))
	_, err := f.out.Write(b.Bytes())
	return err
}
