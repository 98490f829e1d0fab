// Guest is the first and only program of a machine whose power is cut: it
// cleans what the last boot left, says what it found, and then registers and
// stops agents until it is gone.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"
	_ "modernc.org/sqlite"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
	"github.com/rollcall-go/rollcall/sqlitestore/internal/reboot"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == reboot.HoldArgument {
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	err := run(context.Background()) // does not return but with an error
	say(reboot.Line{Kind: reboot.Failed, Error: err.Error()})
	select {} // the kernel panics when its first process ends
}

// say writes one line to the console.
func say(line reboot.Line) {
	text, err := json.Marshal(line)
	if err != nil {
		text = []byte(strconv.Quote(err.Error()))
	}
	fmt.Printf("\n%s%s\n", reboot.Prefix, text)
}

func run(ctx context.Context) error {
	for _, m := range []struct{ source, target, fstype string }{
		{"proc", "/proc", "proc"},
		{"sys", "/sys", "sysfs"},
		{"dev", "/dev", "devtmpfs"},
		{"/dev/nvme0n1", "/data", "ext4"},
	} {
		if err := syscall.Mount(m.source, m.target, m.fstype, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	if err := sayBooted(); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", "file:/data/state.db?_pragma=journal_mode("+journal()+")")
	if err != nil {
		return err
	}
	store, err := sqlitestore.New(ctx, db, sqlitestore.Options{})
	if err != nil {
		return err
	}
	if err := giveAway(ctx, store); err != nil {
		return err
	}
	if err := clean(ctx, store); err != nil {
		return err
	}
	var orphans int
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM rollcall_bindings`).Scan(&orphans); err != nil {
		return err
	}
	if orphans > 0 { // all records were stopped
		return fmt.Errorf("%d bindings without a record", orphans)
	}
	return work(ctx, store)
}

// journal is the journal mode that the kernel's command line asks for.
func journal() string {
	text, _ := os.ReadFile("/proc/cmdline")
	for word := range strings.FieldsSeq(string(text)) {
		if mode, ok := strings.CutPrefix(word, "journal="); ok {
			return mode
		}
	}
	return "WAL"
}

func sayBooted() error {
	boot, err := bootid.Current()
	if err != nil {
		return err
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return err
	}
	say(reboot.Line{Kind: reboot.Booted, Boot: boot.Boot, Wall: time.Now().UTC(), Kernel: strings.TrimSpace(string(release))})
	return nil
}

// giveAway gives the PIDs that the last boot has on record to strangers.
func giveAway(ctx context.Context, store *sqlitestore.Store) error {
	records, err := store.Records(ctx)
	if err != nil {
		return err
	}
	for _, record := range records {
		say(reboot.Line{Kind: reboot.Left, Record: &record})
		pid := record.Identity.PID
		if pid == 0 {
			continue
		}
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
			return err
		}
		stranger, err := hold("")
		if err != nil {
			return err
		}
		if stranger.Process.Pid == pid {
			say(reboot.Line{Kind: reboot.Stranger, PID: pid})
		}
	}
	return nil
}

// clean is what a program does when it starts, twice.
func clean(ctx context.Context, store *sqlitestore.Store) error {
	say(reboot.Line{Kind: reboot.Cleaning})
	gate := &lifecycle.BootGate{KV: store.Gate()}
	for _, kind := range []reboot.Kind{reboot.Cleaned, reboot.Again} {
		report, err := lifecycle.Cleaner{Store: store}.CleanOncePerBoot(ctx, gate)
		if err != nil {
			return err
		}
		report.Stops = nil // the events say more
		say(reboot.Line{Kind: kind, Report: &report})
	}
	for after := int64(0); ; {
		events, err := store.Events(ctx, after)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			break
		}
		for _, event := range events {
			after = event.Seq
			say(reboot.Line{Kind: reboot.Logged, Event: &event})
		}
	}
	records, err := store.Records(ctx)
	if err != nil {
		return err
	}
	for _, record := range records {
		say(reboot.Line{Kind: reboot.Kept, Record: &record})
	}
	return nil
}

// work keeps a dozen agents, and replaces the oldest one again and again. What
// it says was acknowledged by the store before.
func work(ctx context.Context, store *sqlitestore.Store) error {
	const agents = 12
	say(reboot.Line{Kind: reboot.Working})
	var records [agents]lifecycle.Record
	var processes [agents]*exec.Cmd
	for i := 0; ; i = (i + 1) % agents {
		name := fmt.Sprintf("agent-%d", i)
		if processes[i] != nil {
			cause := lifecycle.Cause{By: "user", Reason: reboot.Reason}
			if outcome, err := store.Stop(ctx, records[i], cause); err != nil || outcome != lifecycle.Stopped {
				return fmt.Errorf("stop %s: %v, %w", name, outcome, err)
			}
			say(reboot.Line{Kind: reboot.Stopped, Record: &records[i]})
			_ = processes[i].Process.Kill()
			_ = processes[i].Wait()
		}
		var err error
		if records[i], processes[i], err = register(ctx, store, name); err != nil {
			return err
		}
		say(reboot.Line{Kind: reboot.Registered, Record: &records[i]})
	}
}

func register(ctx context.Context, store *sqlitestore.Store, name string) (lifecycle.Record, *exec.Cmd, error) {
	incarnation := uuid.NewString()
	record, err := store.Launch(ctx, lifecycle.Record{Name: name, Incarnation: incarnation, Data: reboot.Data(name, incarnation)})
	if err != nil {
		return record, nil, err
	}
	if err := store.Bind(ctx, record, reboot.Key(incarnation)); err != nil {
		return record, nil, err
	}
	cmd, err := hold(incarnation)
	if err != nil {
		return record, nil, err
	}
	if record.Identity, err = liveness.CaptureProcess(cmd.Process); err != nil {
		return record, nil, err
	}
	record.Identity.Marker = incarnation
	return record, cmd, store.Activate(ctx, record, record.Identity)
}

// hold starts a process that does nothing.
func hold(marker string) (*exec.Cmd, error) {
	cmd := exec.Command("/init", reboot.HoldArgument)
	cmd.Env = []string{"ROLLCALL_MARKER=" + marker, "GOMAXPROCS=1"}
	if _, err := cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return cmd, cmd.Start()
}
