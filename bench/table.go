package main

import (
	"fmt"
	"io"
	"math"
)

const (
	nsOp     = "ns/op"
	cpuNsOp  = "cpu-ns/op" // of the processor, which does not grow while others have it
	allocsOp = "allocs/op"
	mib      = "MiB" // of a process that makes a pass
	rowsUnit = "records/s"
	nsRecord = "ns/record"

	// lessThanOne is the limit of what must not be.
	lessThanOne = 0.5
)

// printTargets prints a line for each target.
func printTargets(out io.Writer, rows []row, all results) {
	fmt.Fprintln(out, "| what | figure | target | measured | rounds | |")
	fmt.Fprintln(out, "| --- | --- | --- | --- | --- | --- |")
	for _, row := range rows {
		for _, t := range row.targets {
			o := all.reach(row.name, t)
			verdict := "**missed**"
			switch {
			case !o.known:
				verdict = "not measured"
			case o.met:
				verdict = "met"
			}
			fmt.Fprintf(out, "| %s | %s | %s | %s | %s to %s | %s |\n", row.name, t, t.limit(),
				number(o.got), number(o.low), number(o.high), verdict)
		}
	}
}

func (t target) String() string {
	if t.per == "" {
		return t.unit
	}
	if t.row != "" {
		return t.unit + " / that of " + t.row
	}
	return t.unit + " / " + t.per
}

func (t target) limit() string {
	switch {
	case t.least > 0:
		return "≥ " + number(t.least)
	case t.most == lessThanOne:
		return "0"
	default:
		return "≤ " + number(t.most)
	}
}

// printSides prints a line for each side of each row.
func printSides(out io.Writer, rows []row, all results) {
	fmt.Fprintln(out, "\n| what | by | CPU time | time | allocations |")
	fmt.Fprintln(out, "| --- | --- | --- | --- | --- |")
	for _, row := range rows {
		for _, side := range row.sides {
			ns, _ := all.median(key{row.name, side.name, cpuNsOp})
			if ns == 0 {
				continue
			}
			allocs := "–" // of another process
			if n, ok := all.median(key{row.name, side.name, allocsOp}); ok {
				allocs = fmt.Sprintf("%.0f", n)
			}
			wall, _ := all.median(key{row.name, side.name, nsOp})
			fmt.Fprintf(out, "| %s | %s | %s | %s | %s |\n", row.name, side.name, duration(ns), duration(wall), allocs)
		}
	}
}

// number writes three digits.
func number(x float64) string {
	if x == 0 {
		return "0"
	}
	digits := max(0, 2-int(math.Floor(math.Log10(math.Abs(x)))))
	return fmt.Sprintf("%.*f", digits, x)
}

func duration(ns float64) string {
	switch {
	case ns < 1e3:
		return number(ns) + " ns"
	case ns < 1e6:
		return number(ns/1e3) + " µs"
	case ns < 1e9:
		return number(ns/1e6) + " ms"
	default:
		return number(ns/1e9) + " s"
	}
}
