// Bench measures what rollcall costs beside the least that the kernel and SQLite
// allow, which is the same work in C, and beside other Go libraries:
//
//	go run ./bench                    # the table
//	go run ./bench -records 100000,1000000 -svg chart.svg
//
// All of a row is measured in turns, in several rounds, and only ratios count:
// what a machine does besides falls upon every side. It needs Linux and a C
// compiler by the name of cc; for the rows about SQLite also the headers of its
// library (Debian: libsqlite3-dev).
//
// The same measurements are benchmarks of package testing: go test -bench . ./bench.
// With -o a file is written that benchstat reads.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func main() {
	if played, err := playRole(); played {
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	testing.Init()
	o := options{records: []int{1000, 10_000, 100_000}}
	flag.Func("records", "how many records the passes are over: a `list` such as the default 1000,10000,100000", o.setRecords)
	flag.IntVar(&o.watched, "watched", 10_000, "how many processes are watched for exits; a tenth of them dies")
	flag.IntVar(&o.rounds, "rounds", 7, "how often each side of a row has its turn")
	flag.IntVar(&o.passRounds, "passrounds", 3, "the same, where a turn is a pass over all records")
	flag.DurationVar(&o.turn, "turn", 100*time.Millisecond, "how long a turn takes where it is many calls")
	flag.StringVar(&o.dir, "dir", os.TempDir(), "where the databases are made; a disk, for its flushes count")
	flag.StringVar(&o.log, "o", "", "write a `file` for benchstat")
	flag.StringVar(&o.svg, "svg", "", "draw the time of a pass against its records into a `file`")
	flag.StringVar(&o.only, "only", "", "measure the rows that match a `pattern` only")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	records             []int // grows
	watched             int
	rounds, passRounds  int
	turn                time.Duration
	dir, log, svg, only string
}

func (o *options) setRecords(list string) error {
	o.records = nil
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		if len(o.records) > 0 && n <= o.records[len(o.records)-1] || n < 1 {
			return errors.New("the numbers do not grow")
		}
		o.records = append(o.records, n)
	}
	return nil
}

func run(ctx context.Context, o options, out io.Writer) error {
	s, err := newSuite(ctx, o)
	if err != nil {
		return err
	}
	defer s.close()
	log := io.Discard
	if o.log != "" {
		file, err := os.Create(o.log)
		if err != nil {
			return err
		}
		defer file.Close()
		log = file
	}
	only, err := regexp.Compile(o.only)
	if err != nil {
		return err
	}
	others := func(r row) bool { return !only.MatchString(r.name) }
	s.calls, s.passes = slices.DeleteFunc(s.calls, others), slices.DeleteFunc(s.passes, others)
	all := results{}
	if err := all.measure(s.calls, o.rounds, o.turn.String(), log); err != nil {
		return err
	}
	if err := all.measure(s.passes, o.passRounds, "1x", log); err != nil {
		return err
	}
	rows := slices.Concat(s.calls, s.passes)
	printTargets(out, rows, all)
	printSides(out, rows, all)
	if o.svg == "" {
		return nil
	}
	file, err := os.Create(o.svg)
	if err != nil {
		return err
	}
	defer file.Close()
	return all.chart(o.records).write(file)
}
