package main

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

	"github.com/elastic/go-sysinfo"
	"github.com/prometheus/procfs"
	"github.com/shirou/gopsutil/v4/process"

	"github.com/rollcall-go/rollcall/liveness"
)

// checkRows are about one check of one PID. holder is a process that lives, and
// gone one that did.
func checkRows(c *talk, holder, gone liveness.Identity) ([]row, error) {
	system, err := liveness.New(liveness.Options{})
	if err != nil {
		return nil, err
	}
	kept, err := process.NewProcess(int32(holder.PID))
	if err != nil {
		return nil, err
	}
	byStart := holder
	byStart.Unique = 0
	rebooted := holder
	rebooted.Boot.Boot = otherBoot
	pid, stat := strconv.Itoa(holder.PID), fmt.Sprintf("/proc/%d/stat", holder.PID)

	check := func(id liveness.Identity, want liveness.State) side {
		return side{ours, repeat(func() error {
			if verdict := system.Check(id); verdict.State != want {
				return fmt.Errorf("PID %d: %v", id.PID, verdict)
			}
			return nil
		})}
	}
	rows := []row{{
		name: "check=alive",
		sides: []side{
			{inC, c.bench("pidfd", pid)},
			check(holder, liveness.Alive),
			{"os.FindProcess+Signal", repeat(func() error { return signalTo(holder.PID) })},
			{"gopsutil.CreateTime", repeat(func() error { return createTime(holder.PID) })},
			{"gopsutil.IsRunning", repeat(func() error { _, err := kept.IsRunning(); return err })},
			{"procfs.Stat", repeat(func() error { return procStat(holder.PID) })},
			{"go-sysinfo.Info", repeat(func() error { return info(holder.PID) })},
		},
		targets: []target{
			{unit: cpuNsOp, per: inC, most: 1.3},
			{unit: allocsOp, most: lessThanOne},
			{unit: cpuNsOp, per: "gopsutil.CreateTime", most: 1. / 25},
		},
	}, {
		name: "check=nobody",
		sides: []side{
			{inC, c.bench("nobody", strconv.Itoa(gone.PID))},
			check(gone, liveness.Dead),
			{"os.FindProcess+Signal", repeat(func() error { _ = signalTo(gone.PID); return nil })},
			{"gopsutil.PidExists", repeat(func() error { _, err := process.PidExists(int32(gone.PID)); return err })},
		},
		targets: []target{
			{unit: cpuNsOp, per: inC, most: 1.5},
			{unit: allocsOp, most: lessThanOne},
		},
	}, {
		name: "check=alive-by-start",
		sides: []side{
			{inC, c.bench("read", stat)},
			check(byStart, liveness.Alive),
			{"procfs.Stat", repeat(func() error { return procStat(holder.PID) })},
		},
		targets: []target{
			{unit: cpuNsOp, per: inC, most: 1.2},
			{unit: allocsOp, most: lessThanOne},
		},
	}, {
		// What takes less time than the least system call makes none.
		name: "check=other-boot",
		sides: []side{
			{inC, c.bench("getpid")},
			check(rebooted, liveness.Dead),
		},
		targets: []target{
			{unit: cpuNsOp, per: inC, most: 1},
			{unit: allocsOp, most: lessThanOne},
		},
	}}
	return rows, nil
}

// otherBoot is the ID of a boot that no machine has had.
const otherBoot = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"

// identityRows are about the text of an identity.
func identityRows(id liveness.Identity) []row {
	id.Marker = "01a20cd1-5f0e-7a43-9a3c-0f6c3a1f9b11"
	text := id.String()
	var length int
	targets := []target{{unit: cpuNsOp, most: 300}, {unit: allocsOp, most: 1}}
	return []row{
		{"identity=format", []side{{ours, repeat(func() error { length += len(id.String()); return nil })}}, targets},
		{"identity=parse", []side{{ours, repeat(func() error { _, err := liveness.Parse(text); return err })}}, targets},
	}
}

// The peers, as a program would use them that has a PID on record.

func signalTo(pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	defer p.Release()
	return p.Signal(syscall.Signal(0))
}

func createTime(pid int) error {
	p, err := process.NewProcess(int32(pid))
	if err != nil {
		return err
	}
	_, err = p.CreateTime()
	return err
}

func procStat(pid int) error {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return err
	}
	_, err = p.Stat()
	return err
}

func info(pid int) error {
	p, err := sysinfo.Process(pid)
	if err != nil {
		return err
	}
	_, err = p.Info()
	return err
}
