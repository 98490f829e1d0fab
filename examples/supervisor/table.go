package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// table shows the workers: on a terminal in one place, elsewhere a line for each
// change.
type table struct {
	terminal bool
	drawn    int // lines on the terminal
}

var columnNames = []string{"NAME", "STATE", "PID", "SINCE", "RESTARTS"}

func (t *table) print(columns []string) {
	fmt.Printf("%-10s  %-15s  %8s  %-15s  %8s\n", columns[0], columns[1], columns[2], columns[3], columns[4])
}

// show shows what has become of one of the workers.
func (t *table) show(workers []*worker, changed *worker) {
	if t.terminal {
		if t.drawn > 0 {
			fmt.Printf("\x1b[%dF\x1b[J", t.drawn) // up to the first line, and clear
		}
		t.drawn = len(workers)
	}
	for _, w := range workers {
		if t.terminal || w == changed {
			t.print([]string{w.name, w.state, strconv.Itoa(w.pid), w.since.Local().Format(time.Stamp), strconv.Itoa(w.restarts)})
		}
	}
}

// error prints an error. The table is drawn anew below it.
func (t *table) error(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "supervisor:", err)
		t.drawn = 0
	}
}
