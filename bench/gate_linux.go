package main

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rollcall-go/rollcall/filestore"
	"github.com/rollcall-go/rollcall/lifecycle"
)

const bootIDFile = "/proc/sys/kernel/random/boot_id"

// gateRows are about passing a gate that is closed.
func gateRows(ctx context.Context, c *talk, dir string) ([]row, error) {
	db, store, err := openStore(ctx, filepath.Join(dir, "gate.db"))
	if err != nil {
		return nil, err
	}
	inDB, err := passes(ctx, store.Gate())
	if err != nil {
		return nil, err
	}
	floor, err := selectAndBootID(ctx, db)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "gate")
	inFile, err := passes(ctx, filestore.Gate(file))
	if err != nil {
		return nil, err
	}
	return []row{cliRow(filepath.Join(dir, "gate.db")), {
		name: "gate=database",
		sides: []side{
			{selectAndRead, repeat(floor)},
			{ours, repeat(inDB)},
		},
		targets: []target{{unit: cpuNsOp, per: selectAndRead, most: 1.5}},
	}, {
		name: "gate=file",
		sides: []side{
			{inC, c.bench("read", bootIDFile, file)},
			{ours, repeat(inFile)},
		},
		targets: []target{{unit: cpuNsOp, per: inC, most: 1.3}},
	}}, nil
}

// gateShare is the CPU time of a gate as a part of all that its process took
// besides.
const gateShare = "gate/rest"

// cliRow is about a command that opens the file, whose gate is closed.
func cliRow(file string) row {
	return row{
		name: "gate=command",
		sides: []side{{ours, func(b *testing.B) {
			var gate, rest float64
			for b.Loop() {
				output, err := self("cli", file).Output()
				if err != nil {
					b.Fatal(err)
				}
				var one, two float64
				if _, err := fmt.Sscan(string(output), &one, &two); err != nil {
					b.Fatal(err)
				}
				gate, rest = gate+one, rest+two
			}
			b.ReportMetric(gate/rest, gateShare)
			b.ReportMetric(gate/float64(b.N), cpuNsOp)
		}}},
		targets: []target{{unit: gateShare, most: 0.02}},
	}
}

// passes closes a gate, and returns a function that passes it.
func passes(ctx context.Context, kv lifecycle.KV) (func() error, error) {
	gate := &lifecycle.BootGate{KV: kv}
	pass := func() error {
		if ran, err := gate.Do(ctx, func(context.Context) error { return nil }); ran || err != nil {
			return fmt.Errorf("the gate is not closed: %v, %w", ran, err)
		}
		return nil
	}
	_, err := gate.Do(ctx, func(context.Context) error { return nil })
	return pass, err
}

// selectAndRead is the least that a gate in the database can cost in Go: one row
// is read by a prepared statement, and the boot ID by bare system calls.
const selectAndRead = "select+boot_id"

func selectAndBootID(ctx context.Context, db *sql.DB) (func() error, error) {
	var key, value string
	if err := db.QueryRowContext(ctx, `SELECT key FROM rollcall_gate`).Scan(&key); err != nil {
		return nil, err
	}
	prepared, err := db.PrepareContext(ctx, `SELECT value FROM rollcall_gate WHERE key = ?`)
	if err != nil {
		return nil, err
	}
	var space [64]byte
	return func() error {
		fd, err := syscall.Open(bootIDFile, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		_, err = syscall.Read(fd, space[:])
		_ = syscall.Close(fd)
		if err != nil {
			return err
		}
		return prepared.QueryRowContext(ctx, key).Scan(&value)
	}, nil
}
