package main

import (
	"context"
	"os"
	"os/exec"

	"github.com/rollcall-go/rollcall/liveness"
)

// processesOfPass is how many processes the records of a pass track. A system that
// is not busy has as many of its own.
const processesOfPass = 100

// suite is everything that is measured, and what has to be put away afterwards.
type suite struct {
	calls  []row // of single calls
	passes []row // over many records
	closes []func() error
}

func (s *suite) close() {
	for i := range s.closes {
		_ = s.closes[len(s.closes)-1-i]()
	}
}

func newSuite(ctx context.Context, o options) (s *suite, err error) {
	s = &suite{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	dir, err := os.MkdirTemp(o.dir, "rollcall-bench-")
	if err != nil {
		return s, err
	}
	s.closes = append(s.closes, func() error { return os.RemoveAll(dir) })
	program, err := compile(dir, "loops")
	if err != nil {
		return s, err
	}
	c, err := startTalk(exec.Command(program))
	if err != nil {
		return s, err
	}
	s.closes = append(s.closes, c.close)

	// Two more runs of the program: one that is judged, and one that is gone.
	idle, holder, err := startIdle(program)
	if err != nil {
		return s, err
	}
	s.closes = append(s.closes, idle.close)
	ended, gone, err := startIdle(program)
	if err != nil {
		return s, err
	}
	if err := ended.close(); err != nil {
		return s, err
	}
	checks, err := checkRows(c, holder, gone)
	if err != nil {
		return s, err
	}
	gates, err := gateRows(ctx, c, dir)
	if err != nil {
		return s, err
	}
	s.calls = append(checks, gates...)
	s.calls = append(s.calls, identityRows(holder)...)
	sqlite, err := compile(dir, "sqlite", "-lsqlite3")
	if err != nil {
		return s, err
	}
	holders := []liveness.Identity{holder}
	for len(holders) < processesOfPass {
		another, id, err := startIdle(program)
		if err != nil {
			return s, err
		}
		s.closes = append(s.closes, another.close)
		holders = append(holders, id)
	}
	programs := passPrograms{c: sqlite}
	if programs.mattn, err = build(ctx, dir, "mattn"); err != nil {
		return s, err
	}
	if programs.ncruces, err = build(ctx, dir, "ncruces"); err != nil {
		return s, err
	}
	s.passes = passRows(programs, dir, o.records, holders)
	exitsInC, err := compile(dir, "exits")
	if err != nil {
		return s, err
	}
	nothing, err := compile(dir, "idle", "-static")
	if err != nil {
		return s, err
	}
	s.passes = append(s.passes, exitRows(exitsInC, nothing, o.watched)...)
	return s, nil
}

// startIdle starts a program that waits for work, and says who it is.
func startIdle(program string) (*talk, liveness.Identity, error) {
	l, err := startTalk(exec.Command(program))
	if err != nil {
		return nil, liveness.Identity{}, err
	}
	id, err := liveness.CaptureProcess(l.cmd.Process)
	if err != nil {
		_ = l.close()
	}
	return l, id, err
}
