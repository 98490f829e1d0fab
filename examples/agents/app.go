package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	_ "modernc.org/sqlite"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/sqlitestore"
)

// The variables by which an invocation finds its directory and, inside an agent,
// the name of that. An agent is started with both.
const (
	dirVariable  = "AGENTS_DIR"
	nameVariable = "AGENTS_NAME"
)

const (
	// launchTimeout is how long a start may take until the process is recorded.
	launchTimeout = time.Minute
	// cleanEvery is how often there is a pass for those that have died since the
	// one after the reboot.
	cleanEvery = 10 * time.Minute
)

// app is what one invocation works with.
type app struct {
	dir     string
	db      *sql.DB
	store   *sqlitestore.Store
	cleaner lifecycle.Cleaner
}

func directory() (string, error) {
	if dir := os.Getenv(dirVariable); dir != "" {
		return filepath.Abs(dir)
	}
	config, err := os.UserConfigDir()
	return filepath.Join(config, "agents"), err
}

// with opens the database, passes the gate, and calls f.
func with(ctx context.Context, f func(*app) error) error {
	dir, err := directory()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "output"), 0o700); err != nil {
		return err
	}
	// What is saved is the user's own business; SQLite gives the files beside it
	// the same rights.
	file, err := os.OpenFile(filepath.Join(dir, "agents.db"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	file.Close()
	db, err := sql.Open("sqlite", dsn(file.Name()))
	if err != nil {
		return err
	}
	defer db.Close()
	// The store comes first: of several that are the first to open the file at once,
	// SQLite lets only one set the journal mode, whatever the busy_timeout of the
	// others. New tries again.
	store, err := sqlitestore.New(ctx, db, sqlitestore.Options{OnStop: dropReadMessages})
	if err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, messagesSchema); err != nil {
		return fmt.Errorf("open %s: %w", file.Name(), err)
	}
	judge, err := liveness.New(liveness.Options{})
	if err != nil {
		return err
	}
	a := &app{dir, db, store, lifecycle.Cleaner{Store: store, Liveness: judge, LaunchTimeout: launchTimeout}}
	a.passGate(ctx)
	return f(a)
}

// dsn also serves paths with characters that mean something in a URL.
func dsn(file string) string {
	path := "/" + strings.TrimPrefix(filepath.ToSlash(file), "/") // a drive of Windows has none
	u := url.URL{Scheme: "file", Path: path, RawQuery: "_pragma=busy_timeout(30000)&_pragma=journal_mode(WAL)"}
	return u.String()
}

// passGate has the first invocation after a boot stop the agents whose process
// is gone, and say so. A failure keeps nobody from working: the gate stays open
// then, and no command relies on it.
func (a *app) passGate(ctx context.Context) {
	line := progressLine{out: os.Stderr}
	cleaner := a.cleaner
	cleaner.OnProgress = line.show
	report, err := cleaner.CleanOncePerBoot(ctx, &lifecycle.BootGate{KV: a.store.Gate(), Every: cleanEvery})
	line.clear()
	if report.Stopped > 0 {
		var stopped []string
		for _, stop := range report.Stops[:min(5, len(report.Stops))] {
			stopped = append(stopped, stop.Record.Name+" ("+stop.Cause.Reason+")")
		}
		if more := report.Stopped - len(stopped); more > 0 {
			stopped = append(stopped, fmt.Sprintf("%d more", more))
		}
		occasion := "stopped"
		if report.StoppedBy[lifecycle.ReasonReboot] > 0 {
			occasion = "cleaned up after a reboot: stopped"
		}
		fmt.Fprintf(os.Stderr, "agents: %s %s (\"agents resume NAME\" starts one again)\n", occasion, strings.Join(stopped, ", "))
	}
	if err != nil && ctx.Err() == nil {
		complain(fmt.Errorf("cleaning up: %w", err))
	}
}

// progressLine shows on a terminal how far a long pass has come, in one line that
// is gone afterwards. Elsewhere it shows nothing.
type progressLine struct {
	out   *os.File
	shown bool
}

func (l *progressLine) show(examined, stopped int) {
	info, err := l.out.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 || examined < 1000 {
		return
	}
	l.shown = true
	fmt.Fprintf(l.out, "\r%d agents examined, %d stopped\x1b[K", examined, stopped)
}

func (l *progressLine) clear() {
	if l.shown {
		fmt.Fprint(l.out, "\r\x1b[K")
	}
}

var names = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// checkName keeps names to what reads well in a table and can name a file.
func checkName(name string) error {
	if !names.MatchString(name) || !filepath.IsLocal(name+".log") {
		return fmt.Errorf("%q will not do as a name or a tag: use small letters, digits, and . _ - within", name)
	}
	return nil
}

var errStopped = errors.New("stopped")

// record returns the record of an agent. The error matches errStopped if there
// was one of the name that can be resumed.
func (a *app) record(ctx context.Context, name string) (lifecycle.Record, error) {
	record, err := a.store.Record(ctx, name)
	if !errors.Is(err, lifecycle.ErrNotRegistered) {
		return record, err
	}
	if _, err := a.store.Snapshot(ctx, name); err == nil {
		return record, fmt.Errorf("%q is %w (see \"agents log %[1]s\")", name, errStopped)
	}
	return record, fmt.Errorf("no agent named %q (see \"agents list\")", name)
}

// makeWay stops the record that has the name if its process is gone. What is not
// known to be gone is left alone, and the name is taken.
func (a *app) makeWay(ctx context.Context, name string) error {
	record, err := a.store.Record(ctx, name)
	if errors.Is(err, lifecycle.ErrNotRegistered) {
		return nil
	}
	if err != nil {
		return err
	}
	decision, err := a.cleaner.Decide(record)
	switch {
	case err != nil:
		return err
	case decision.Stop:
		_, err = a.cleaner.Stop(ctx, record, causeOf(decision))
		return err
	case decision.Verdict.State == liveness.Alive:
		return fmt.Errorf("%q runs already, pid %d (see \"agents list\")", name, record.Identity.PID)
	default: // it is being started, or cannot be judged
		return fmt.Errorf("%q is taken, %v (\"agents stop\" makes way, see its -h)", name, decision)
	}
}

// causeOf is the cause of a stop that the program does by itself.
func causeOf(decision lifecycle.Decision) lifecycle.Cause {
	return lifecycle.Cause{By: lifecycle.BySystem, Reason: decision.Reason, Verdict: decision.Verdict, IfUnchanged: true}
}

// caller is who stops an agent or sends a message: an agent, or else its user.
func caller() string { return cmp.Or(os.Getenv(nameVariable), "user") }
