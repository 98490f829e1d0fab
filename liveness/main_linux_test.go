package liveness_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	qt "github.com/frankban/quicktest"
	"golang.org/x/sys/unix"

	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/liveness"
)

// The main goroutine of a role stays on the leading thread, so that the role
// can do things to it. It is on it for sure only until main is called.
func init() { //nolint:gochecknoinits // see above
	if proctest.Role() != "" {
		runtime.LockOSThread()
	}
}

func TestMain(m *testing.M) {
	if err := imitateOldKernel(os.Getenv(oldKernelVariable)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(oldKernelRefused)
	}
	proctest.Main(m, map[string]func([]string){
		"capture":        captureRole,
		"capture-other":  captureOtherRole,
		"count":          countRole,
		"check":          checkRole,
		"exec":           execRole,
		"exec-env":       execEnvRole,
		"exit259":        exit259Role,
		"exec-storm":     execStormRole,
		"grace":          graceRole,
		"group":          groupRole,
		"leader-exits":   leaderExitsRole,
		"marked":         markedRole,
		"marked-self":    markedSelfRole,
		"mount-proc":     mountProcRole,
		"named":          namedRole,
		"own-group":      ownGroupRole,
		"second-capture": secondCaptureRole,
		"second-check":   secondCheckRole,
		"spawn":          spawnRole,
		"spawn-loud":     spawnLoudRole,
		"stubborn":       stubbornRole,
		"terminal-asker": terminalAskerRole,
		"terminal-host":  terminalHostRole,
		"terminate":      terminateRole,
		"undumpable":     undumpableRole,
		"unset":          unsetRole,
		"wiped-environ":  wipedEnvironRole,
	})
}

// captureRole prints the identity of this process.
func captureRole([]string) {
	id, err := liveness.Self()
	must(err)
	fmt.Println(id)
	proctest.Hold()
}

// question is what checkRole answers.
type question struct {
	Options  liveness.Options
	Identity liveness.Identity
}

// checkRole prints the verdict on a question.
func checkRole(args []string) {
	var q question
	must(json.Unmarshal([]byte(args[0]), &q))
	system, err := liveness.New(q.Options)
	must(err)
	fmt.Println(system.Check(q.Identity))
	proctest.Hold()
}

// checkBy asks another process, which configure may put elsewhere, for its
// verdict in words.
func checkBy(t testing.TB, options liveness.Options, id liveness.Identity, configure func(*exec.Cmd)) string {
	t.Helper()
	cmd := askCommand(t, options, id)
	configure(cmd)
	child, err := proctest.TryStart(t, cmd)
	if err != nil {
		proctest.Skip(t, "no process there: %v", err)
	}
	defer child.Kill()
	return child.ReadLine(t)
}

func askCommand(t testing.TB, options liveness.Options, id liveness.Identity) *exec.Cmd {
	t.Helper()
	return proctest.Command("check", ask(t, options, id))
}

func asNobody(t testing.TB) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) { proctest.AsNobody(t, cmd) }
}

func inNamespaces(flags uintptr) func(*exec.Cmd) {
	return func(cmd *exec.Cmd) { proctest.NewNamespaces(cmd, flags) }
}

// namedRole gives this process the name of its argument.
func namedRole(args []string) {
	name, err := unix.BytePtrFromString(args[0])
	must(err)
	must(unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(name)), 0, 0, 0))
	proctest.Hold()
}

// leaderExitsRole ends the leading thread while others live.
func leaderExitsRole([]string) {
	go func() {
		proctest.Hold()
		os.Exit(0)
	}()
	_, _, errno := unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
	must(errno)
}

// execRole waits for a line and executes the role "hold", by the leading
// thread or by another.
func execRole(args []string) {
	fmt.Println("ready")
	var line string
	_, err := fmt.Scanln(&line)
	must(err)
	command := proctest.Command("hold")
	execute := func() { must(unix.Exec(command.Path, command.Args, os.Environ())) }
	if args[0] == "leader" {
		execute()
	}
	go execute()
	select {}
}

// execStormRole executes itself again and again, by the leading thread or by
// another, and then holds.
func execStormRole(args []string) {
	left, err := strconv.Atoi(args[0])
	must(err)
	if left == 0 {
		proctest.Hold()
		return
	}
	command := proctest.Command("exec-storm", strconv.Itoa(left-1), args[1])
	execute := func() { must(unix.Exec(command.Path, command.Args, os.Environ())) }
	if args[1] == "leader" {
		execute()
	}
	go execute()
	select {}
}

// mountProcRole mounts a procfs of its own PID namespace.
func mountProcRole(args []string) {
	must(unix.Mount("proc", args[0], "proc", 0, strings.Join(args[1:], ",")))
	proctest.Hold()
}

// undumpableRole makes this process's /proc entries root's.
func undumpableRole([]string) {
	must(unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
	proctest.Hold()
}

// wipedEnvironRole writes over the memory of its environment.
func wipedEnvironRole(args []string) {
	line, err := os.ReadFile("/proc/self/stat")
	must(err)
	fields := strings.Fields(string(line[strings.LastIndexByte(string(line), ')')+2:]))
	start, err := strconv.ParseInt(fields[50-3], 10, 64)
	must(err)
	end, err := strconv.ParseInt(fields[51-3], 10, 64)
	must(err)
	memory, err := os.OpenFile("/proc/self/mem", os.O_WRONLY, 0)
	must(err)
	_, err = memory.WriteAt([]byte(strings.Repeat(args[0], int(end-start))[:end-start]), start)
	must(err)
	proctest.Hold()
}

// newLiveness is liveness.New, which must not fail.
func newLiveness(t testing.TB, options liveness.Options) *liveness.System {
	t.Helper()
	system, err := liveness.New(options)
	if err != nil {
		t.Fatal(err)
	}
	return system
}

// captured returns the identity of a child.
func captured(t testing.TB, child *proctest.Child) liveness.Identity {
	t.Helper()
	id, err := liveness.CaptureProcess(child.Process)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// pidOnly is what an old row knows of a process.
func pidOnly(id liveness.Identity) liveness.Identity { return liveness.Identity{PID: id.PID} }

// withMarker is a PID and a marker.
func withMarker(id liveness.Identity, marker string) liveness.Identity {
	return liveness.Identity{PID: id.PID, Boot: id.Boot, Namespace: id.Namespace, Marker: marker}
}

// withoutUnique is what an older kernel would have recorded.
func withoutUnique(id liveness.Identity) liveness.Identity {
	id.Unique = 0
	return id
}

// wantVerdict checks a record, and what an older kernel would have recorded.
func wantVerdict(c *qt.C, id liveness.Identity, state liveness.State, reason liveness.Reason) {
	c.Helper()
	system := newLiveness(c, liveness.Options{})
	verdict := system.Check(id)
	c.Check(verdict, qt.Equals, liveness.Verdict{State: state, Reason: reason}, qt.Commentf("%v: %v", id, verdict))
	id = withoutUnique(id)
	verdict = system.Check(id)
	c.Check(verdict, qt.Equals, liveness.Verdict{State: state, Reason: reason}, qt.Commentf("%v: %v", id, verdict))
}

// otherThread returns a thread of the process that is not the leading one.
func otherThread(t testing.TB, pid int) int {
	t.Helper()
	for {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		if err != nil || len(tasks) == 0 {
			t.Fatalf("threads of %d: %v", pid, err)
		}
		for _, task := range tasks {
			if tid, err := strconv.Atoi(filepath.Base(task)); err == nil && tid != pid {
				return tid
			}
		}
	}
}
