package main

import (
	"bytes"
	"os"
	"regexp"
	"runtime"
	"testing"

	qt "github.com/frankban/quicktest"
)

// The test binary is also the child that run starts.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == childArgument {
		childMain()
		return
	}
	os.Exit(m.Run())
}

func TestQuickstartDoesTheMainJob(t *testing.T) {
	c := qt.New(t)
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	c.Assert(run(t.Context(), &out), qt.IsNil)
	c.Log(out.String())

	rows := []string{
		`agent/tool +a child of agent: .* keep: heartbeat`,
		`phone +.* not asked +skip: other_owner`,
		`newcomer +.* not asked +keep: launching`,
		`gate closed, nothing examined; it cost `,
	}
	if runtime.GOOS == "linux" {
		rows = append(rows,
			`web +runs +alive: .* keep: alive`,
			`worker +killed hard +dead: no process has its PID +stop: exit:died`,
			`zombie +.* stop: exit:zombie`,
			`builder +killed.* stop: exit:(pid_reused|died)`,
			`agent +.* dead: the machine has rebooted since +stop: exit:reboot`,
			`silent +.* stop: stale`,
			`10 examined: 5 stopped .*, 4 kept .*, 1 of other owners`,
			`stopped +agent/tool +system +parent_stopped`,
			`\{"argv":\["claude","--resume"\],"dir":"/src"\}, bound to \["session:7f3a"\]`,
		)
	}
	for _, row := range rows {
		c.Check(regexp.MustCompile(row).MatchString(out.String()), qt.IsTrue, qt.Commentf("no line like %q", row))
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	c.Assert(err, qt.IsNil)
	c.Assert(left, qt.HasLen, 0)
}
