package storetest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// partVariable says, to a test binary that was run again, which part it plays.
const partVariable = "ROLLCALL_STORETEST_PART"

// part is what another process of a test does.
type part struct {
	Case    string // of processCases
	Number  int    // of the process, from 0 on
	Address string // of the place
}

// processes runs the test binary again as other processes of a test.
type processes struct {
	test string // its name, of t.Name
	name string // of the case
}

// process is another process of a test. It ends with its standard input, which it
// does with this process.
type process struct {
	*exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr bytes.Buffer
}

// start starts n processes, and returns when all of them wait to be let go. end ends
// those that are left.
func (p processes) start(ctx context.Context, h Harness, n int) (all []*process, end func(), err error) {
	address, ok := h.(Addressed)
	if !ok {
		return nil, nil, fmt.Errorf("%w: the harness is not Addressed", errNotApplicable)
	}
	end = func() {
		for _, p := range all {
			p.kill()
		}
	}
	for i := range n {
		child, err := p.command(ctx, part{p.name, i, address.Address()})
		if err != nil {
			end()
			return nil, nil, err
		}
		all = append(all, child)
	}
	for _, child := range all {
		var up string
		if err := child.read(&up); err != nil || up != "up" {
			end()
			return nil, nil, fmt.Errorf("process did not come up: %q, %v", up, err)
		}
	}
	return all, end, nil
}

func (p processes) command(ctx context.Context, part part) (*process, error) {
	var pattern []string // of this test, and of no other
	for name := range strings.SplitSeq(p.test, "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(name)+"$")
	}
	binary, err := os.Executable()
	if err != nil {
		binary = os.Args[0] // as without /proc
	}
	text, err := json.Marshal(part)
	if err != nil {
		return nil, err
	}
	child := &process{Cmd: exec.CommandContext(ctx, binary, "-test.run="+strings.Join(pattern, "/"))}
	// The race detector would have it sleep for a second before it exits.
	child.Env = append(os.Environ(), partVariable+"="+string(text), "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	child.Stderr = &child.stderr
	if child.stdin, err = child.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		return nil, err
	}
	child.stdout = bufio.NewReader(stdout)
	return child, child.Start()
}

// release lets processes go at the same moment.
func release(all []*process) error {
	for _, child := range all {
		if _, err := io.WriteString(child.stdin, "go\n"); err != nil {
			return fmt.Errorf("process: %w\n%s", err, &child.stderr)
		}
	}
	return nil
}

// read reads a line that the process has said. The error is io.EOF at its end.
func (p *process) read(v any) error {
	line, err := p.stdout.ReadBytes('\n')
	if err != nil {
		return err // what was cut off does not count
	}
	if err := json.Unmarshal(line, v); err != nil {
		rest, _ := io.ReadAll(p.stdout)
		return fmt.Errorf("process said %s%s", line, rest)
	}
	return nil
}

// wait reads the one line that the process says, and waits for its end.
func (p *process) wait(v any) error {
	err := p.read(v)
	if err := errors.Join(err, p.Wait()); err != nil {
		return fmt.Errorf("process: %w\n%s", err, &p.stderr)
	}
	return nil
}

// kill kills the process if it has not ended.
func (p *process) kill() {
	if p.ProcessState == nil {
		_ = p.Process.Kill() // or it has ended by itself
		_ = p.Wait()         // says that it was killed
	}
}

// say tells the test something.
func say(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }

// playPart does the work of another process of a test and ends this one, if it is
// one.
func playPart(t *testing.T, open func(t *testing.T, address string) Harness) {
	text, ok := os.LookupEnv(partVariable)
	if !ok {
		return
	}
	if err := play(text, func(address string) Harness { return open(t, address) }); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0) // without the clean-up of the test, which is not its own
}

func play(text string, open func(address string) Harness) error {
	var part part
	if err := json.Unmarshal([]byte(text), &part); err != nil {
		return fmt.Errorf("%s: %w", partVariable, err)
	}
	for _, test := range processCases {
		if test.name != part.Case {
			continue
		}
		if err := say("up"); err != nil {
			return err
		}
		stdin := bufio.NewReader(os.Stdin)
		if _, err := stdin.ReadString('\n'); err != nil {
			return fmt.Errorf("nobody has let it go: %w", err)
		}
		go func() {
			_, _ = io.Copy(io.Discard, stdin)
			os.Exit(1)
		}()
		h := open(part.Address)
		return test.part(context.Background(), part.Number, func(options Options) (lifecycle.Registrar, error) {
			return openOne(context.Background(), h, options)
		})
	}
	return fmt.Errorf("no part %q", part.Case)
}
