package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/rollcall-go/rollcall/liveness"
)

// passPrograms make passes: one in C, and this one with other SQLite drivers.
type passPrograms struct{ c, mattn, ncruces string }

// passRows are about passes over as many records, the targets about the most of
// them.
func passRows(programs passPrograms, dir string, records []int, holders []liveness.Identity) (rows []row) {
	for i, n := range records {
		some := rowsOfPass(programs, dir, n, holders)
		if i < len(records)-1 {
			some = some[:1] // for the chart
			some[0].targets = nil
		} else if i > 0 {
			linear := target{unit: nsRecord, row: rebootedRow(records[i-1]), per: ours, most: 1.3}
			some[0].targets = append(some[0].targets, linear)
		}
		rows = append(rows, some...)
	}
	return rows
}

func rowsOfPass(programs passPrograms, dir string, n int, holders []liveness.Identity) []row {
	boot := holders[0].Boot.Boot
	rebooted := slices.Clone(holders)
	for i := range rebooted {
		rebooted[i].Boot.Boot = otherBoot
	}
	dead := pass{n: n, dir: dir, identities: rebooted, want: fmt.Sprint(n, " ", 0)}
	shared := dead
	shared.shared = true
	alive := pass{n: n, dir: dir, identities: holders, want: fmt.Sprint(0, " ", n)}
	return []row{{
		name: rebootedRow(n),
		sides: []side{
			{inC, dead.bench(func(file string) *exec.Cmd { return exec.Command(programs.c, "clean", file, boot) })},
			{ours, dead.bench(func(file string) *exec.Cmd { return self("clean", file, dead.want) })},
			{ours + "+mattn", dead.bench(func(file string) *exec.Cmd { return inRole(programs.mattn, "clean", file, dead.want) })},
			{ours + "+ncruces", dead.bench(func(file string) *exec.Cmd { return inRole(programs.ncruces, "clean", file, dead.want) })},
			{carelessC, pass{n: n, dir: dir}.bench(func(file string) *exec.Cmd { return exec.Command(programs.c, "careless", file, fmt.Sprint(n)) })},
		},
		targets: []target{
			{unit: rowsUnit, per: inC, least: 0.75},
			{unit: rowsUnit, per: carelessC, least: 2},
			{unit: mib, most: 64},
		},
	}, {
		name: fmt.Sprintf("clean=shared/records=%d", n),
		sides: []side{
			{inC, shared.bench(func(file string) *exec.Cmd { return exec.Command(programs.c, "clean", file, boot) })},
			{ours, shared.bench(func(file string) *exec.Cmd { return self("clean", file, shared.want) })},
		},
		targets: []target{{unit: waitP99, most: 25}},
	}, {
		name: fmt.Sprintf("clean=alive/records=%d", n),
		sides: []side{
			{inC, alive.bench(func(file string) *exec.Cmd { return exec.Command(programs.c, "read", file) })},
			{"read", alive.bench(func(file string) *exec.Cmd { return self("read", file) })},
			{"Candidates", alive.bench(func(file string) *exec.Cmd { return self("candidates", file) })},
			{ours, alive.bench(func(file string) *exec.Cmd { return self("clean", file, alive.want) })},
		},
		targets: []target{
			{unit: nsOp, per: "read", most: 1.3},
			{unit: mib, most: 64},
		},
	}}
}

// pass is a pass over a file of n records, with the identities in turn.
type pass struct {
	n          int
	dir        string
	identities []liveness.Identity
	want       string
	shared     bool // another program writes meanwhile
}

// bench is a benchmark of a process that makes the pass.
func (p pass) bench(command func(file string) *exec.Cmd) func(*testing.B) {
	return func(b *testing.B) {
		var sum cost
		for range b.N {
			one, err := p.once(b.Context(), command)
			if err != nil {
				b.Fatal(err)
			}
			sum.ns, sum.cpu = sum.ns+one.ns, sum.cpu+one.cpu
			sum.memory, sum.wait = max(sum.memory, one.memory), max(sum.wait, one.wait)
		}
		n := float64(b.N)
		b.ReportMetric(sum.ns/n, nsOp)
		b.ReportMetric(sum.cpu/n, cpuNsOp)
		b.ReportMetric(float64(p.n)*n/(sum.ns/1e9), rowsUnit)
		b.ReportMetric(sum.ns/n/float64(p.n), nsRecord)
		b.ReportMetric(sum.memory, mib)
		if p.shared {
			b.ReportMetric(sum.wait, waitP99)
		}
	}
}

// cost is that of one pass: nanoseconds of time and of CPU, MiB, and how long
// another writer waited.
type cost struct{ ns, cpu, memory, wait float64 }

// once makes the pass once, over a file of its own.
func (p pass) once(ctx context.Context, command func(file string) *exec.Cmd) (c cost, err error) {
	dir, err := os.MkdirTemp(p.dir, "pass-")
	if err != nil {
		return cost{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "state.db")
	if p.identities != nil {
		if err := fill(ctx, file, p.n, p.identities); err != nil {
			return cost{}, err
		}
	}
	other := new(writer)
	if p.shared {
		if other, err = startWriter(ctx, file); err != nil {
			return cost{}, err
		}
	}
	cmd := command(file)
	cmd.Stderr = os.Stderr
	output, err := cmd.Output()
	if p.shared {
		var endErr error
		c.wait, endErr = other.end()
		err = errors.Join(err, endErr)
	}
	if err != nil {
		return cost{}, fmt.Errorf("%v: %w", cmd, err)
	}
	if _, err := fmt.Sscan(string(output), &c.ns, &c.cpu); err != nil {
		return cost{}, fmt.Errorf("%v: %w", cmd, err)
	}
	c.memory = float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) / 1024
	return c, nil
}

// self is this program in another role.
func self(role string, args ...string) *exec.Cmd {
	return inRole("/proc/self/exe", role, args...)
}

// inRole is this program, or one built of it, in a role.
func inRole(program, role string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	return cmd
}

// fill makes a file with n records, each with two bindings.
func fill(ctx context.Context, file string, n int, identities []liveness.Identity) error {
	texts, err := json.Marshal(identities)
	if err != nil {
		return err
	}
	db, _, err := openStore(ctx, file)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	for _, statement := range []struct {
		sql  string
		args []any
	}{
		{"PRAGMA synchronous = OFF", nil},
		{`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 - 1)
			INSERT INTO rollcall_records (name, incarnation, owner, phase, identity, created_at, beat_boot, beat_awake, beat_wall, parent, data)
			SELECT printf('worker-%07d', i), printf('0197f000-0000-7000-8000-%012d', i), '', 'running', json_extract(?2, '$[' || (i % ?4) || ']'), 1700000000000000000 + i, ?3, 1, NULL, '',
				'{"argv":["sh","-c","exit 1"],"directory":"/srv/work"}' FROM n`, []any{n, string(texts), identities[0].Boot.String(), len(identities)}},
		{"INSERT INTO rollcall_bindings SELECT seq, 'session-' || name FROM rollcall_records", nil},
		{"INSERT INTO rollcall_bindings SELECT seq, 'terminal-' || name FROM rollcall_records", nil},
		{"PRAGMA wal_checkpoint(TRUNCATE)", nil},
	} {
		if _, err := db.ExecContext(ctx, statement.sql, statement.args...); err != nil {
			return fmt.Errorf("%s: %w", statement.sql, err)
		}
	}
	return nil
}
