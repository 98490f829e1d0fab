// Mutants breaks one condition of the given files after the other, and says which
// test notices. A condition that can be broken without a test that fails is not
// tested, or makes no difference; those that make none are listed in equivalent.txt,
// each with the reason.
//
//	go run ./.ci/mutants -packages ./liveness,./bootid -files liveness/judge.go
//
// No file of the tree is changed: each mutant is compiled by way of an overlay (go
// help build). The exit status is 1 if a mutant survived that is not in the list,
// or if the list has one that a test does notice.
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"
)

func main() {
	var t tests
	files := flag.String("files", "", "the files to break, separated by commas; file.go:F+G are the functions F and G of one")
	packages := flag.String("packages", "", "the packages whose tests are run, separated by commas")
	flag.StringVar(&t.quick, "quick", "", "the tests to run first, as in go test -run, with -short; empty is none")
	flag.StringVar(&t.skip, "skip", "", "the tests to leave out, as in go test -skip")
	flag.DurationVar(&t.timeout, "timeout", 5*time.Minute, "how long the tests of a mutant may take")
	flag.BoolVar(&t.quickOnly, "quickonly", false, "take what the first tests do not notice for a survivor")
	only := flag.String("only", "", "break only what this matches (regexp), in the text that the table has")
	list := flag.Bool("list", false, "print the mutants, and run nothing")
	jobs := flag.Int("j", max(1, runtime.NumCPU()/2), "how many mutants to test at a time")
	flag.Parse()
	if *files == "" || *packages == "" && !*list || flag.NArg() != 0 {
		flag.Usage()
		os.Exit(2)
	}
	t.packages = strings.Split(*packages, ",")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ok, err := run(ctx, &t, strings.Split(*files, ","), *only, *list, *jobs)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

func run(ctx context.Context, t *tests, files []string, only string, list bool, jobs int) (ok bool, err error) {
	filter, err := regexp.Compile(only)
	if err != nil {
		return false, err
	}
	var mutants []mutant
	for _, file := range files {
		path, functions, _ := strings.Cut(file, ":")
		of, err := mutantsOf(path, strings.FieldsFunc(functions, func(r rune) bool { return r == '+' }))
		if err != nil {
			return false, err
		}
		for _, m := range of {
			if filter.MatchString(m.String()) {
				mutants = append(mutants, m)
			}
		}
	}
	if list {
		for _, m := range mutants {
			fmt.Println(m)
		}
		return true, nil
	}
	if t.equivalent, err = parseEquivalent(equivalent); err != nil {
		return false, err
	}
	if t.dir, err = os.MkdirTemp("", "mutants"); err != nil {
		return false, err
	}
	defer os.RemoveAll(t.dir)
	if out, err := t.run(ctx, "", t.quickOnly); err != nil {
		return false, fmt.Errorf("the tests fail as it is: %w\n%s", err, out)
	}
	return report(ctx, mutants, t.all(ctx, mutants, jobs), t.equivalent), ctx.Err()
}

// tests says how the tests are run.
type tests struct {
	packages    []string
	quick, skip string
	quickOnly   bool
	timeout     time.Duration
	equivalent  map[string]string // the mutants that no test can notice, and why
	dir         string            // for overlays
}

// all tests the mutants, a few at a time, and yields the results in their order.
func (t *tests) all(ctx context.Context, mutants []mutant, jobs int) <-chan result {
	results := make([]chan result, len(mutants))
	for i := range results {
		results[i] = make(chan result, 1)
	}
	next := make(chan int)
	go func() {
		defer close(next)
		for i := range mutants {
			next <- i
		}
	}()
	var workers sync.WaitGroup
	for range jobs {
		workers.Go(func() {
			for i := range next {
				results[i] <- t.test(ctx, &mutants[i], i)
			}
		})
	}
	ordered := make(chan result)
	go func() {
		defer close(ordered)
		for _, r := range results {
			ordered <- <-r
		}
		workers.Wait()
	}()
	return ordered
}

// A result is what became of a mutant.
type result struct {
	killer   string // the test that fails, or else how the tests ended
	survived bool
	compiled bool
}

// test runs the tests of one mutant: first those that are quick, and then all, but
// for one that is known to make no difference.
func (t *tests) test(ctx context.Context, m *mutant, i int) result {
	overlay, err := t.overlay(m, i)
	if err != nil {
		return result{killer: err.Error()}
	}
	if t.quick != "" {
		if out, err := t.run(ctx, overlay, true); err != nil {
			return resultOf(out, err)
		}
		if _, ok := t.equivalent[m.key()]; ok || t.quickOnly {
			return result{survived: true, compiled: true}
		}
	}
	if out, err := t.run(ctx, overlay, false); err != nil {
		return resultOf(out, err)
	}
	return result{survived: true, compiled: true}
}

// overlay writes the mutated file, and the overlay that puts it over the other.
func (t *tests) overlay(m *mutant, i int) (string, error) {
	path, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	mutated := filepath.Join(t.dir, fmt.Sprint(i, ".go"))
	if err := os.WriteFile(mutated, m.source(), 0o600); err != nil {
		return "", err
	}
	overlay := filepath.Join(t.dir, fmt.Sprint(i, ".json"))
	return overlay, os.WriteFile(overlay, fmt.Appendf(nil, `{"Replace": {%q: %q}}`, path, mutated), 0o600)
}

// run runs the tests.
func (t *tests) run(ctx context.Context, overlay string, quick bool) (string, error) {
	timeout := t.timeout
	if quick {
		timeout = min(timeout, time.Minute) // some mutants loop without end
	}
	args := []string{"test", "-count=1", "-failfast", "-vet=off", "-timeout", timeout.String()}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	if t.skip != "" {
		args = append(args, "-skip", t.skip)
	}
	if quick {
		args = append(args, "-short", "-run", t.quick)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, t.packages...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // so that go ends the tests
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

var failedTest = regexp.MustCompile(`(?m)^--- FAIL: (\S+)|^panic: (.*)|^\s+(Test\w+) \(\d+`)

// resultOf reads from the output of tests that failed which did.
func resultOf(out string, err error) result {
	if strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]") {
		return result{killer: "does not compile"}
	}
	found := failedTest.FindStringSubmatch(out)
	if found == nil {
		return result{killer: err.Error(), compiled: true}
	}
	return result{killer: strings.Join(found[1:], ""), compiled: true}
}

// report prints a line for each mutant, and the totals. It reports whether the
// survivors are those of the list.
func report(ctx context.Context, mutants []mutant, results <-chan result, reasons map[string]string) bool {
	var killed, equivalent, survived, noticed, broken int
	i := 0
	for r := range results {
		if ctx.Err() != nil {
			continue // the tests were interrupted
		}
		m := &mutants[i]
		i++
		reason, listed := reasons[m.key()]
		said := r.killer
		switch {
		case !r.compiled:
			broken++
		case r.survived && listed:
			equivalent++
			said = "equivalent: " + reason
		case r.survived:
			survived++
			said = "SURVIVED"
		case listed:
			noticed++
			said += " (NOT EQUIVALENT, take it off the list)"
		default:
			killed++
		}
		fmt.Printf("%d\t%s\t%s\n", i, m, said)
	}
	fmt.Printf("%d mutants: %d noticed by a test, %d equivalent, %d survived, %d on the list and noticed, %d do not compile\n",
		len(mutants), killed, equivalent, survived, noticed, broken)
	return survived+noticed == 0
}

// equivalent has the mutants that make no difference, two lines each: what they are,
// as in the table but without the line number, and, indented, the reason.
//
//go:embed equivalent.txt
var equivalent string

func parseEquivalent(text string) (map[string]string, error) {
	reasons := map[string]string{}
	key := ""
	for i, line := range strings.Split(text, "\n") {
		reason, indented := strings.CutPrefix(line, "\t")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case !indented && key == "":
			key = line
		case indented && key != "":
			reasons[key], key = reason, ""
		default:
			return nil, fmt.Errorf("equivalent.txt:%d: a mutant and its reason take turns", i+1)
		}
	}
	if key != "" {
		return nil, fmt.Errorf("equivalent.txt: no reason for %s", key)
	}
	return reasons, nil
}
