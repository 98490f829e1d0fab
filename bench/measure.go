package main

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"testing"
)

// row is some work that is done by several sides.
type row struct {
	name  string
	sides []side
	// targets are about the side named ours.
	targets []target
}

// side is one way to do the work of a row.
type side struct {
	name  string
	bench func(*testing.B)
}

const (
	ours = "rollcall"
	// inC is the name of a floor: the same system calls or statements in C.
	inC = "C"
	// carelessC is C on a schema and in a way that nobody has thought about.
	carelessC = "C-careless"
)

// target is what a row is to reach.
type target struct {
	unit string // of what is measured, as in the result of a benchmark
	per  string // the side that ours is divided by; empty is none
	// row is the row of that side, where it is another one.
	row string
	// most or least is the limit; the other one is 0. A limit of no allocation
	// at all is less than one.
	most, least float64
}

// key names a series of results.
type key struct{ row, side, unit string }

// results are what the rounds came to.
type results map[key][]float64

// measure measures the rows in rounds, with turns as long as a -benchtime says. In each round every side of a row has its
// turn, so that what else the machine does falls upon all of them. Each result is
// written as a line of a Go benchmark.
func (r results) measure(rows []row, rounds int, turn string, out io.Writer) error {
	if err := flag.Set("test.benchtime", turn); err != nil {
		return err
	}
	for _, row := range rows {
		for round := range rounds {
			for i := range row.sides {
				side := row.sides[(i+round)%len(row.sides)]
				result := testing.Benchmark(side.bench)
				if result.N == 0 {
					return fmt.Errorf("%s by %s failed", row.name, side.name)
				}
				fmt.Fprintf(out, "Benchmark/%s/side=%s\t%s\t%s\n", row.name, side.name, result, result.MemString())
				r.add(row.name, side.name, result)
			}
		}
	}
	return nil
}

func (r results) add(row, side string, result testing.BenchmarkResult) {
	put := func(unit string, value float64) {
		k := key{row, side, unit}
		r[k] = append(r[k], value)
	}
	if _, ok := result.Extra["ns/op"]; !ok {
		put("ns/op", float64(result.T.Nanoseconds())/float64(result.N))
	}
	if _, elsewhere := result.Extra[mib]; !elsewhere {
		put("allocs/op", float64(result.MemAllocs)/float64(result.N))
	}
	for unit, value := range result.Extra {
		put(unit, value)
	}
}

// median returns the median of a series, and whether there is one.
func (r results) median(k key) (float64, bool) {
	values := slices.Sorted(slices.Values(r[k]))
	n := len(values)
	if n == 0 {
		return 0, false
	}
	return (values[(n-1)/2] + values[n/2]) / 2, true
}

// outcome is what became of a target.
type outcome struct {
	// got is the ratio of the medians, or the median. low and high are the
	// least and the greatest of the rounds.
	got, low, high float64
	known, met     bool
}

// reach says whether a target of a row is met.
func (r results) reach(rowName string, t target) outcome {
	mine := key{rowName, ours, t.unit}
	var o outcome
	if o.got, o.known = r.median(mine); !o.known {
		return outcome{}
	}
	values := r[mine]
	if t.per != "" {
		other := key{rowName, t.per, t.unit}
		if t.row != "" {
			other.row = t.row
		}
		base, ok := r.median(other)
		if !ok || base == 0 {
			return outcome{}
		}
		o.got /= base
		values = ratios(values, r[other])
	}
	o.low, o.high = slices.Min(values), slices.Max(values)
	o.met = t.most > 0 && o.got <= t.most || t.least > 0 && o.got >= t.least
	return o
}

// ratios divides the results of a round by each other.
func ratios(a, b []float64) []float64 {
	n := min(len(a), len(b))
	quotients := make([]float64, n)
	for i := range n {
		quotients[i] = a[i] / b[i]
	}
	return quotients
}
