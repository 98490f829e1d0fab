package main

import (
	"context"
	"database/sql"
	_ "embed"
	"io"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/google/uuid"
)

//go:embed schema.sql
var schema string

// scene fills a database as hcom does, and then ends some processes.
type scene struct {
	db       *sql.DB
	happened map[string]string // by the name of the instance
	children []*exec.Cmd
}

func newScene(ctx context.Context, path string) (*scene, error) {
	db, err := open(path)
	if err != nil {
		return nil, err
	}
	s := &scene{db: db, happened: map[string]string{}}
	if _, err := db.ExecContext(ctx, schema); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// end ends what still runs.
func (s *scene) end() {
	for _, child := range s.children {
		kill(child)
	}
	s.db.Close()
}

// instance is a row that hcom has written, and what it has bound to it.
type instance struct {
	name            string
	status, context string
	session, device string // empty: NULL
	parent          string // its name
	parentSession   string
	pid             int // 0: NULL
	process         string
	headless        bool
	ago             time.Duration // since the last sign of it
}

// insert writes an instance as it stands some time after its launch.
func (s *scene) insert(ctx context.Context, i instance) error {
	sign := time.Now().Add(-i.ago)
	created := sign.Add(-time.Hour)
	if i.context == "new" {
		created = sign
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	steps := []struct {
		statement string
		args      []any
	}{
		{`INSERT INTO instances (name, session_id, parent_session_id, parent_name, status, status_context, status_time, last_seen,
			created_at, background, origin_device_id, pid, tool, directory, launch_args)
			VALUES (?1, nullif(?2, ''), nullif(?3, ''), nullif(?4, ''), ?5, ?6, ?7, ?7, ?8, ?9, ?10, nullif(?11, 0), 'claude', '/src', '["--model","opus"]')`,
			[]any{i.name, i.session, i.parentSession, i.parent, i.status, i.context, sign.Unix(), seconds(created), i.headless, i.device, i.pid}},
		{`INSERT INTO process_bindings SELECT ?1, nullif(?2, ''), ?3, ?4 WHERE ?1 <> ''`,
			[]any{i.process, i.session, i.name, seconds(created)}},
		{`INSERT INTO session_bindings SELECT ?1, ?2, ?3 WHERE ?1 <> ''`,
			[]any{i.session, i.name, seconds(created)}},
		{`INSERT INTO notify_endpoints VALUES (?1, 'pty', 7001, ?2)`,
			[]any{i.name, seconds(created)}},
		{`INSERT INTO kv VALUES ('events_sub:of-' || ?1, json_object('id', 'of-' || ?1, 'caller', ?1, 'once', json('true'))),
			('events_sub:thread-of-' || ?1, json_object('caller', ?1, 'delivery_only', json('true'), 'auto_thread_member', json('true')))`,
			[]any{i.name}},
	}
	for _, step := range steps {
		if _, err := tx.ExecContext(ctx, step.statement, step.args...); err != nil {
			return err
		}
	}
	return tx.Commit()
}

func (s *scene) play(ctx context.Context) error {
	const earlier = 20 * 365 * 24 * time.Hour
	agents := make([]*exec.Cmd, 4)
	markers := make([]string, len(agents))
	for i := range agents {
		if i < 3 {
			markers[i] = uuid.NewString()
		}
		var err error
		if agents[i], err = s.launch(markers[i]); err != nil {
			return err
		}
	}
	kill(agents[1])
	pid := func(i int) int { return agents[i].Process.Pid }
	for _, step := range []struct {
		instance
		happened string
	}{
		{instance{name: "luna", status: "listening", session: "s-luna", pid: pid(0), process: markers[0]}, "runs"},
		{instance{name: "nova", status: "active", session: "s-nova", pid: pid(1), process: markers[1]}, "killed hard"},
		{instance{name: "nova_sub", status: "active", parent: "nova", parentSession: "s-nova"}, "a subagent of nova: it is stopped with it"},
		{instance{name: "kira", status: "listening", session: "s-kira", pid: pid(2), process: uuid.NewString()}, "its PID is that of another agent now"},
		{instance{name: "mira", status: "active", session: "s-mira", pid: pid(3), process: uuid.NewString(), headless: true}, "headless: its PID is that of a shell without the marker"},
		{instance{name: "rune", status: "listening", session: "s-rune", pid: os.Getpid(), process: uuid.NewString(), ago: earlier}, "written before a reboot; its PID is in use again"},
		{instance{name: "hook", status: "active", session: "s-hook"}, "driven by hooks: no process is tracked"},
		{instance{name: "quiet", status: "active", session: "s-quiet", ago: 2 * time.Hour}, "the same, silent for two hours"},
		{instance{name: "newcomer", status: "pending", context: "new", process: uuid.NewString()}, "is being launched right now"},
		{instance{name: "rest", status: "inactive", context: "exit:clear", session: "s-rest"}, "inactive, and may be resumed"},
		{instance{name: "phone:7F3A", status: "listening", session: "s-phone", device: "7f3a9c", pid: 4242}, "belongs to another device"},
	} {
		s.happened[step.name] = step.happened
		if err := s.insert(ctx, step.instance); err != nil {
			return err
		}
	}
	return nil
}

// childArgument makes this program be an agent that does nothing.
const childArgument = "child-of-hcomstore"

// childMain waits for the end of its input, which comes when its parent ends,
// however that happens.
func childMain() { io.Copy(io.Discard, os.Stdin) }

// launch starts an agent, with the marker if there is one.
func (s *scene) launch(marker string) (*exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, childArgument)
	// We may be an agent of hcom's ourselves.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return len(entry) > len(markerVariable) && entry[:len(markerVariable)+1] == markerVariable+"="
	})
	if marker != "" {
		cmd.Env = append(cmd.Env, markerVariable+"="+marker)
	}
	if _, err := cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.children = append(s.children, cmd)
	return cmd, nil
}

// kill is kill -9. What cannot be killed has ended.
func kill(cmd *exec.Cmd) {
	if cmd.ProcessState == nil {
		cmd.Process.Kill()
		cmd.Wait()
	}
}
