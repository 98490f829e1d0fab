// Fleet shows many machines that share one PostgreSQL. It starts processes that
// act as machines, kills one of them, and shows how the others take its records
// over.
//
// The database is that of DATABASE_URL, in a schema that is dropped at the end,
// or else one that is started here with the programs of the system's packages
// (apt-get install postgresql), on a Unix socket, and removed at the end.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/rollcall-go/rollcall/internal/pgserver"
	"github.com/rollcall-go/rollcall/postgresstore"
)

type options struct {
	machines, records int
	ttl               time.Duration
	netns             bool
	terminal          bool // the table is refreshed in its place
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if len(os.Args) > 1 && os.Args[1] == machineArgument {
		err = machineMain(ctx, os.Args[2:])
	} else {
		var o options
		flag.IntVar(&o.machines, "machines", 5, "how many machines, at least 2")
		flag.IntVar(&o.records, "records", 200, "how many records each of them registers")
		flag.DurationVar(&o.ttl, "ttl", 2*time.Second, "how long a lease holds")
		flag.BoolVar(&o.netns, "netns", false, "give each machine a network namespace of its own (Linux, root)")
		flag.Parse()
		info, statErr := os.Stdout.Stat()
		o.terminal = statErr == nil && info.Mode()&os.ModeCharDevice != 0
		err = run(ctx, os.Stdout, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, o options) (err error) {
	if o.machines < 2 {
		return errors.New("one machine has nobody to take it over")
	}
	url := os.Getenv(pgserver.URLVariable)
	if url == "" {
		// Nothing of it is to survive this program, let alone a power cut.
		server, err := pgserver.Start("fsync = off")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, server.Stop()) }()
		url = server.URL()
	}
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	schema := "rollcall_fleet_" + uuid.NewString()
	defer func() {
		// Also after an interrupt.
		_, dropErr := pool.Exec(context.WithoutCancel(ctx), "DROP SCHEMA IF EXISTS "+pgx.Identifier{schema}.Sanitize()+" CASCADE")
		err = errors.Join(err, dropErr)
	}()
	// A store without an owner looks at all machines.
	store, err := postgresstore.New(ctx, pool, postgresstore.Options{Schema: schema})
	if err != nil {
		return err
	}
	f := &fleet{options: o, url: url, schema: schema, store: store, out: out}
	defer f.end()
	return f.play(ctx)
}

// play is the story.
func (f *fleet) play(ctx context.Context) error {
	for i := range f.machines {
		if err := f.start(ctx, fmt.Sprintf("machine-%d", i+1)); err != nil {
			return err
		}
	}
	everybodyIsUp := func(t table) bool { return t.records == f.machines*f.records }
	if err := f.show(ctx, "All machines have registered their records.", everybodyIsUp); err != nil {
		return err
	}
	lost := f.members[1]
	lost.kill()
	if err := f.show(ctx, lost.owner+" was killed. Its lease runs on.", func(table) bool { return true }); err != nil {
		return err
	}
	runOut := func(t table) bool { return t.machine(lost.owner).state != stateAlive }
	if err := f.show(ctx, "The lease of "+lost.owner+" has run out.", runOut); err != nil {
		return err
	}
	takenOver := func(t table) bool {
		// The machines say how many they took a little later than they took them.
		return t.machine(lost.owner).state == stateGone && t.took == int64(f.records)
	}
	if err := f.show(ctx, "The others have stopped its records.", takenOver); err != nil {
		return err
	}
	return f.summary(ctx, lost.owner)
}

// summary shows what the log of events has to say, and what one record could be
// resumed from.
func (f *fleet) summary(ctx context.Context, owner string) error {
	events, seen := 0, map[string]bool{}
	reasons := map[string]int{}
	for after := int64(0); ; {
		page, err := f.store.Events(ctx, after)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for _, event := range page {
			after = event.Seq
			events++
			seen[event.Incarnation] = true
			reasons[event.Reason]++
		}
	}
	fmt.Fprintf(f.out, "\n%d stopped events of %d incarnations, by reason: %v\n", events, len(seen), reasons)
	snapshot, err := f.store.Snapshot(ctx, owner+"/job-1")
	if err != nil {
		return err
	}
	fmt.Fprintf(f.out, "%s could be resumed elsewhere with %s\n", snapshot.Name, snapshot.Data)
	return nil
}
