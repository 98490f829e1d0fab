// Anystore is one host program on each of the stores: it keeps a command running
// under a name. Where the records are is said by the first argument:
//
//	go run ./examples/anystore DIRECTORY sleep 60
//	go run ./examples/anystore state.db sleep 60
//	go run ./examples/anystore postgres://... sleep 60
//
// Called again while the command runs it leaves that alone; after a reboot, or when
// the command was killed, it resumes it as it was.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	_ "modernc.org/sqlite"

	"github.com/rollcall-go/rollcall/filestore"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/postgresstore"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: anystore DIRECTORY|FILE.db|postgres://... COMMAND...")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "anystore:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, where string, argv []string) error {
	store, end, err := open(ctx, where)
	if err != nil {
		return err
	}
	defer end()
	return host{store, func(argv []string) *exec.Cmd { return exec.Command(argv[0], argv[1:]...) }, os.Stdout}.keep(ctx, argv)
}

// owner is this machine, among all that may share a database.
const owner = "this machine"

// open opens a store. The rest of the program does not know which.
func open(ctx context.Context, where string) (store lifecycle.Registrar, end func(), err error) {
	switch {
	case where == "memory":
		return memstore.New(memstore.Options{Owner: owner}), func() {}, nil
	case strings.HasPrefix(where, "postgres:"):
		pool, err := pgxpool.New(ctx, where)
		if err != nil {
			return nil, nil, err
		}
		store, err := postgresstore.New(ctx, pool, postgresstore.Options{Owner: owner})
		return store, pool.Close, err
	case strings.HasSuffix(where, ".db"):
		db, err := sql.Open("sqlite", "file:"+where)
		if err != nil {
			return nil, nil, err
		}
		store, err := sqlitestore.New(ctx, db, sqlitestore.Options{Owner: owner})
		return store, func() { db.Close() }, err
	default:
		store, err := filestore.New(ctx, where, filestore.Options{Owner: owner})
		return store, func() {}, err
	}
}

// name is that of the command.
const name = "worker"

// host is the program.
type host struct {
	store   lifecycle.Registrar
	command func(argv []string) *exec.Cmd
	out     io.Writer
}

// keep sees to it that the command runs.
func (h host) keep(ctx context.Context, argv []string) error {
	cleaner := lifecycle.Cleaner{Store: h.store}
	report, err := cleaner.CleanOncePerBoot(ctx, &lifecycle.BootGate{KV: h.store.Gate()})
	if err != nil {
		return err
	}
	if !report.GateClosed {
		fmt.Fprintln(h.out, "first start of this boot:", report.Stopped, "stopped")
	}
	err = h.start(ctx, argv)
	if !errors.Is(err, lifecycle.ErrNameTaken) {
		return err
	}
	// The gate is closed, and what died since has its record still.
	taken, err := h.store.Record(ctx, name)
	if err != nil {
		return err
	}
	decision, err := cleaner.Decide(taken)
	if err != nil {
		return err
	}
	fmt.Fprintln(h.out, decision)
	if !decision.Stop {
		return nil
	}
	if _, err := cleaner.Clean(ctx); err != nil {
		return err
	}
	return h.start(ctx, argv)
}

// start registers the command, starts it, and records its process. What was stopped
// is resumed as it was.
func (h host) start(ctx context.Context, argv []string) error {
	data, err := json.Marshal(argv)
	if err != nil {
		return err
	}
	snapshot, err := h.store.Snapshot(ctx, name)
	switch {
	case err == nil:
		data = snapshot.Data
		if err := json.Unmarshal(data, &argv); err != nil {
			return err
		}
	case !errors.Is(err, lifecycle.ErrNoSnapshot):
		return err
	}
	record, err := h.store.Launch(ctx, lifecycle.Record{Name: name, Data: data})
	if err != nil {
		return err
	}
	for _, key := range append(snapshot.Bindings, "the newest session") {
		if err := h.store.Bind(ctx, record, key); err != nil {
			return err
		}
	}
	cmd := h.command(argv)
	marker := liveness.Plant(cmd)
	if err := cmd.Start(); err != nil {
		return err
	}
	identity, err := liveness.CaptureProcess(cmd.Process)
	if err != nil {
		return err
	}
	identity.Marker = marker
	if err := h.store.Activate(ctx, record, identity); err != nil {
		return err
	}
	fmt.Fprintln(h.out, "started", argv)
	return nil
}
