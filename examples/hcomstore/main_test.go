package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"
	"github.com/google/uuid"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

// cleanArgument makes the test binary clean a database, without a gate.
const cleanArgument = "clean"

// The test binary is also the agent that a scene launches.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) == 2 && os.Args[1] == childArgument:
		childMain()
	case len(os.Args) == 3 && os.Args[1] == cleanArgument:
		cleanMain(os.Args[2])
	default:
		os.Exit(m.Run())
	}
}

func cleanMain(path string) {
	db, err := open(path)
	if err != nil {
		panic(err)
	}
	cleaner, err := newCleaner(db)
	if err != nil {
		panic(err)
	}
	fmt.Println("ready")
	if _, err := fmt.Scanln(new(string)); err != nil {
		panic(err)
	}
	report, err := cleaner.Clean(context.Background())
	if err != nil {
		panic(err)
	}
	fmt.Println(report.Stopped)
}

func TestDemonstration(t *testing.T) {
	c := qt.New(t)
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	c.Assert(demonstrate(t.Context(), &out), qt.IsNil)
	c.Log(out.String())
	rows := []string{
		`nova +killed hard +dead: .* stop: exit:died`,
		`newcomer +.* not asked +keep: launching`,
		`phone:7F3A +.* not asked +skip: other_owner`,
		`rest +.* not asked +keep: at_rest`,
		`nova +stopped +system +exit:died +claude s-nova in /src`,
		`nova_sub +stopped +system +parent_stopped`,
		`gate closed, nothing examined`,
	}
	if runtime.GOOS == "linux" {
		rows = append(rows,
			`luna +runs +alive: .* keep: alive`,
			`kira +.* dead: .* stop: exit:pid_reused`,
			`mira +.* alive: .* keep: alive`,
			`rune +.* dead: the machine has rebooted since +stop: exit:reboot`,
			`hook +.* keep: heartbeat`,
			`quiet +.* stop: stale`,
			`11 examined: 4 stopped .*, 1 of other owners`,
		)
	}
	for _, row := range rows {
		c.Check(regexp.MustCompile(row).MatchString(out.String()), qt.IsTrue, qt.Commentf("no line like %q", row))
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	c.Assert(err, qt.IsNil)
	c.Assert(left, qt.HasLen, 0)
}

// value returns the one value of a query as text.
func (s *scene) value(t testing.TB, query string, args ...any) string {
	var text string
	qt.New(t).Assert(s.db.QueryRowContext(t.Context(), query, args...).Scan(&text), qt.IsNil)
	return text
}

func (s *scene) exec(t testing.TB, statement string, args ...any) {
	_, err := s.db.ExecContext(t.Context(), statement, args...)
	qt.New(t).Assert(err, qt.IsNil)
}

// record is that of an instance, as the Cleaner gets it.
func (s *scene) record(t testing.TB, name string) lifecycle.Record {
	for record, err := range (&Store{s.db}).Candidates(t.Context()) {
		if record.Name == name {
			qt.New(t).Assert(err, qt.IsNil)
			return record
		}
	}
	t.Fatalf("there is no instance %q", name)
	return lifecycle.Record{}
}

// gone is the PID of a process that has ended.
func (s *scene) gone(t testing.TB) int {
	child, err := s.launch("")
	qt.New(t).Assert(err, qt.IsNil)
	kill(child)
	return child.Process.Pid
}

// program is this test binary in another role.
type program struct {
	stdin  io.Writer
	stdout *bufio.Reader
}

// startProgram starts one and waits until it is ready.
func startProgram(t testing.TB, args ...string) *program {
	c := qt.New(t)
	cmd := exec.Command(os.Args[0], args...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	c.Assert(err, qt.IsNil)
	stdout, err := cmd.StdoutPipe()
	c.Assert(err, qt.IsNil)
	c.Assert(cmd.Start(), qt.IsNil)
	t.Cleanup(func() { kill(cmd) })
	p := &program{stdin, bufio.NewReader(stdout)}
	c.Assert(p.line(t), qt.Equals, "ready")
	return p
}

func (p *program) line(t testing.TB) string {
	line, err := p.stdout.ReadString('\n')
	qt.New(t).Assert(err, qt.IsNil)
	return strings.TrimSuffix(line, "\n")
}

func (p *program) write(t testing.TB, line string) {
	_, err := io.WriteString(p.stdin, line+"\n")
	qt.New(t).Assert(err, qt.IsNil)
}

func TestManyProgramsStopEachInstanceOnce(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	path := filepath.Join(c.TempDir(), "hcom.db")
	s, err := newScene(c.Context(), path)
	c.Assert(err, qt.IsNil)
	defer s.end()
	pid := s.gone(t)
	const instances = 20
	for i := range instances {
		c.Assert(s.insert(c.Context(), instance{name: fmt.Sprint(i), status: "active", session: uuid.NewString(), pid: pid, process: uuid.NewString()}), qt.IsNil)
	}
	s.exec(t, `INSERT INTO kv VALUES ('config:of-hcom', 'stays')`)
	total := 0
	var programs []*program
	for range 4 {
		programs = append(programs, startProgram(t, cleanArgument, path))
	}
	for _, p := range programs {
		p.write(t, "go")
	}
	for _, p := range programs {
		n, err := strconv.Atoi(p.line(t))
		c.Assert(err, qt.IsNil)
		total += n
	}
	c.Assert(total, qt.Equals, instances)
	c.Assert(s.value(t, `SELECT count(*) || ' of ' || count(DISTINCT instance) FROM events`), qt.Equals, "20 of 20")
	c.Assert(s.value(t, `SELECT (SELECT count(*) FROM instances) || (SELECT count(*) FROM process_bindings) ||
		(SELECT count(*) FROM session_bindings) || (SELECT count(*) FROM notify_endpoints)`), qt.Equals, "0000")
	c.Assert(s.value(t, `SELECT count(*) FROM kv WHERE key LIKE 'events_sub:of-%'`), qt.Equals, "0")
	c.Assert(s.value(t, `SELECT count(*) FROM kv WHERE key LIKE 'events_sub:thread-%' OR key = 'config:of-hcom'`), qt.Equals, fmt.Sprint(instances+1))
}

func TestWhatResumeReads(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	s := newTestScene(t)
	c.Assert(s.insert(c.Context(), instance{name: "nova", status: "active", session: "s-nova", pid: s.gone(t), process: "p-nova", headless: true}), qt.IsNil)
	s.exec(t, `UPDATE instances SET tag = 'review', last_event_id = 17, transcript_path = '/t.jsonl'`)
	cleaner, err := newCleaner(s.db)
	c.Assert(err, qt.IsNil)
	_, err = cleaner.Clean(c.Context())
	c.Assert(err, qt.IsNil)
	// The keys and types that resume asks for.
	c.Assert(s.value(t, `SELECT group_concat(json_type(data, '$.snapshot.' || column1) || ' ' || json_extract(data, '$.snapshot.' || column1), ', ')
		FROM (VALUES ('tool'), ('session_id'), ('launch_args'), ('tag'), ('background'), ('last_event_id'), ('directory'), ('transcript_path'))
		JOIN events WHERE type = 'life' AND instance = 'nova' AND json_extract(data, '$.action') = 'stopped'`), qt.Equals,
		`text claude, text s-nova, text ["--model","opus"], text review, integer 1, integer 17, text /src, text /t.jsonl`)
	c.Assert(s.value(t, `SELECT json_extract(data, '$.bindings') FROM events`), qt.Equals, `["p-nova","s-nova"]`)
	c.Assert(s.value(t, `SELECT timestamp FROM events`), qt.Matches, `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00`)
}

func TestAStopIsWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	s := newTestScene(t)
	for _, i := range []instance{
		{name: "nova", status: "active", session: "s-nova", pid: s.gone(t), process: "p-nova"},
		{name: "nova_sub", status: "active", parentSession: "s-nova"}, // linked by the session alone
	} {
		c.Assert(s.insert(c.Context(), i), qt.IsNil)
	}
	const count = `SELECT count(*) || (SELECT count(*) FROM process_bindings) || (SELECT count(*) FROM session_bindings) ||
		(SELECT count(*) FROM notify_endpoints) || (SELECT count(*) FROM kv) || (SELECT count(*) FROM events) FROM instances`
	whole := s.value(t, count)
	s.exec(t, `CREATE TRIGGER refuse BEFORE INSERT ON events WHEN new.instance = 'nova' BEGIN SELECT raise(ABORT, 'refused'); END`)
	cleaner, err := newCleaner(s.db)
	c.Assert(err, qt.IsNil)
	report, err := cleaner.Clean(c.Context())
	c.Assert(err, qt.ErrorMatches, `lifecycle: stop record "nova": hcomstore: stop "nova": .*refused.*`)
	c.Assert(report.Stopped, qt.Equals, 0)
	c.Assert(s.value(t, count), qt.Equals, whole)
	s.exec(t, `DROP TRIGGER refuse`)
	report, err = cleaner.Clean(c.Context())
	c.Assert(err, qt.IsNil)
	c.Assert(report.Stopped, qt.Equals, 1)
	c.Assert(s.value(t, count), qt.Equals, "000022") // two thread memberships, two events
}

func TestAnInstanceThatWasBoundAnewIsSpared(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	s := newTestScene(t)
	c.Assert(s.insert(c.Context(), instance{name: "luna", status: "active", session: "s-luna", pid: s.gone(t), process: "p-1"}), qt.IsNil)
	read := s.record(t, "luna")
	store := &Store{s.db}
	cause := lifecycle.Cause{By: lifecycle.BySystem, Reason: lifecycle.ReasonDied, IfUnchanged: true}
	// A sign of life since may be what shows that the PID is still its own.
	s.exec(t, `UPDATE instances SET last_stop = last_seen + 600`)
	cause.Verdict = liveness.Verdict{State: liveness.Dead, Reason: liveness.PIDReused}
	_, err := store.Stop(c.Context(), read, cause)
	c.Assert(err, qt.ErrorIs, lifecycle.ErrChanged)
	s.exec(t, `UPDATE instances SET last_stop = 0`)
	s.exec(t, `INSERT INTO process_bindings VALUES ('p-2', NULL, 'luna', ?)`, seconds(time.Now()))
	cause.Verdict.Reason = liveness.NoProcess
	_, err = store.Stop(c.Context(), read, cause)
	c.Assert(err, qt.ErrorIs, lifecycle.ErrChanged)
	// Made anew by the name, it is another one.
	s.exec(t, `DELETE FROM instances; DELETE FROM notify_endpoints; DELETE FROM kv`)
	c.Assert(s.insert(c.Context(), instance{name: "luna", status: "active"}), qt.IsNil)
	outcome, err := store.Stop(c.Context(), read, cause)
	c.Assert(err, qt.IsNil)
	c.Assert(outcome, qt.Equals, lifecycle.AlreadyStopped)
}

func TestARowThatCannotBeReadKeepsNoOther(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	s := newTestScene(t)
	pid := s.gone(t)
	for _, name := range []string{"a", "b", "c"} {
		c.Assert(s.insert(c.Context(), instance{name: name, status: "active", pid: pid}), qt.IsNil)
	}
	s.exec(t, `UPDATE instances SET pid = 'none' WHERE name = 'b'`)
	s.exec(t, `UPDATE kv SET value = 'no JSON' WHERE key LIKE '%of-c'`)
	cleaner, err := newCleaner(s.db)
	c.Assert(err, qt.IsNil)
	report, err := cleaner.Clean(c.Context())
	c.Assert(err, qt.ErrorMatches, `lifecycle: read record "b": hcomstore: read instance: (.|\n)*`)
	c.Assert(report.Stopped, qt.Equals, 2)
	c.Assert(s.value(t, `SELECT name FROM instances`), qt.Equals, "b")
}

func TestAPassEndsWhereTheDatabaseIsLocked(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	s := newTestScene(t)
	pid := s.gone(t)
	for _, name := range []string{"a", "b"} {
		c.Assert(s.insert(c.Context(), instance{name: name, status: "active", pid: pid}), qt.IsNil)
	}
	tx, err := s.db.BeginTx(c.Context(), nil)
	c.Assert(err, qt.IsNil)
	defer tx.Rollback()
	conn, err := s.db.Conn(c.Context())
	c.Assert(err, qt.IsNil)
	_, err = conn.ExecContext(c.Context(), `PRAGMA busy_timeout = 1`)
	c.Assert(err, qt.IsNil)
	c.Assert(conn.Close(), qt.IsNil) // it is the one that is lent next
	cleaner, err := newCleaner(s.db)
	c.Assert(err, qt.IsNil)
	report, err := cleaner.Clean(context.WithoutCancel(c.Context()))
	c.Assert(err, qt.ErrorIs, lifecycle.ErrUnavailable)
	c.Assert(report.Examined, qt.Equals, 1)
}
