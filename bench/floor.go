package main

import (
	"bufio"
	"context"
	"embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sources are the programs in C that do the work of a row with nothing around it.
//
//go:embed floor/*.c
var sources embed.FS

// compile makes a program of a source in a directory, with the C compiler cc.
func compile(dir, name string, libraries ...string) (string, error) {
	source := name + ".c"
	text, err := sources.ReadFile("floor/" + source)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, source)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return "", err
	}
	program := filepath.Join(dir, name)
	cc := exec.Command("cc", append([]string{"-O2", "-Wall", "-o", program, path}, libraries...)...)
	if output, err := cc.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", cc, err, output)
	}
	return program, nil
}

// build makes this program with another SQLite driver, by its build tag. There is
// one in a program: two of them take the same name.
func build(ctx context.Context, dir, driver string) (string, error) {
	program := filepath.Join(dir, "bench-"+driver)
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", driver, "-o", program, "github.com/rollcall-go/rollcall/bench")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", cmd, err, output)
	}
	return program, nil
}

// talk is a running program that is told something and answers.
type talk struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	answer *bufio.Reader
}

func startTalk(cmd *exec.Cmd) (*talk, error) {
	t := &talk{cmd: cmd}
	cmd.Stderr = os.Stderr
	var err error
	if t.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	t.answer = bufio.NewReader(stdout)
	return t, cmd.Start()
}

func (t *talk) close() error {
	if err := t.stdin.Close(); err != nil {
		return err
	}
	return t.cmd.Wait()
}

// bench is a benchmark of some work of floor/loops.c. It measures what it takes itself:
// telling it takes time too.
func (t *talk) bench(work string, args ...string) func(*testing.B) {
	return func(b *testing.B) {
		if _, err := fmt.Fprintln(t.stdin, work, b.N, strings.Join(args, " ")); err != nil {
			b.Fatal(err)
		}
		var ns, cpu float64
		if _, err := fmt.Fscanln(t.answer, &ns, &cpu); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(ns/float64(b.N), nsOp)
		b.ReportMetric(cpu/float64(b.N), cpuNsOp)
	}
}
