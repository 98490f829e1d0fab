package filestore_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/filestore"
	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/lifecycle"
)

// killsVariable is how many cleaners TestCleanersAreKilledAtAnyInstant kills.
const killsVariable = "ROLLCALL_KILLS"

// oneByOne is a store without its ability to stop in batches.
type oneByOne struct{ lifecycle.Store }

// killedRole cleans a directory once per boot. Its arguments are the directory,
// the name of the gate, "batch" or "single", the operation on the disk at which
// it kills itself, or 0, and "alone" if no other is at it.
func killedRole(args []string) error {
	at, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	disk := &deadlyDisk{Disk: filestore.OSDisk(), at: at}
	fmt.Print("b") // it begins
	ctx := context.Background()
	store, err := filestore.New(ctx, args[0], filestore.Options{}.WithDisk(disk).RewriteFrom(20_000))
	if err != nil {
		return err
	}
	cleaner := lifecycle.Cleaner{Store: store}
	if args[2] == "single" {
		cleaner.Store = oneByOne{store}
	}
	report, err := cleaner.CleanOncePerBoot(ctx, &lifecycle.BootGate{KV: store.Gate(), Name: args[1]})
	if err == nil && report.GateClosed && args[4] == "alone" {
		err = fmt.Errorf("the gate was closed before a pass was complete")
	}
	return err
}

// deadlyDisk kills its process at an operation. Of a write half is left.
type deadlyDisk struct {
	filestore.Disk
	at int
}

func (d *deadlyDisk) step(half func()) {
	if d.at--; d.at != 0 {
		return
	}
	half()
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(err)
	}
	select {}
}

func (d *deadlyDisk) OpenFile(path string, flag int) (filestore.File, error) {
	f, err := d.Disk.OpenFile(path, flag)
	return &deadlyFile{f, d}, err
}

func (d *deadlyDisk) Create(path string, like fs.FileInfo) (filestore.File, error) {
	d.step(func() {})
	f, err := d.Disk.Create(path, like)
	return &deadlyFile{f, d}, err
}

func (d *deadlyDisk) Replace(from, to string) error {
	d.step(func() {})
	err := d.Disk.Replace(from, to)
	d.step(func() {})
	return err
}

type deadlyFile struct {
	filestore.File
	disk *deadlyDisk
}

func (f *deadlyFile) WriteAt(p []byte, at int64) (int, error) {
	f.disk.step(func() { _, _ = f.File.WriteAt(p[:rand.IntN(len(p))], at) })
	n, err := f.File.WriteAt(p, at)
	f.disk.step(func() {})
	return n, err
}

// addDead adds n dead records and returns their names. Every fifth is the child
// of the one before.
func addDead(t testing.TB, store *filestore.Store, prefix string, n int) []string {
	var all []string
	for i := range n {
		record := running(numbered(prefix, i), before(t))
		if i%5 == 4 {
			record.Parent = numbered(prefix, i-1)
		}
		register(t, store, record)
		all = append(all, record.Name)
	}
	return all
}

// TestCleanersAreKilledAtAnyInstant kills cleaners: at a random time, or in the
// midst of a write. After each it looks at what is in the directory, and starts
// the next one on it until one completes its pass.
func TestCleanersAreKilledAtAnyInstant(t *testing.T) {
	t.Parallel()
	killAndCheck(t, kills(t), 1)
}

// TestSeveralCleanersAreKilledAtOnce does so to several that are at one
// directory.
func TestSeveralCleanersAreKilledAtOnce(t *testing.T) {
	t.Parallel()
	killAndCheck(t, kills(t)/2, 4)
}

// kills is how many cleaners a test kills.
func kills(t *testing.T) int {
	if proctest.Race {
		return setting(t, killsVariable, 4)
	}
	return setting(t, killsVariable, 10)
}

// deadPerRound is how many dead records there are for a pass.
const deadPerRound = 100

// killAndCheck starts some cleaners at a time until enough were killed, in one
// directory after the other.
func killAndCheck(t *testing.T, kills, together int) {
	const roundsPerDir = 5
	c := qt.New(t)
	k := &killing{T: t, longest: 20 * time.Millisecond}
	rounds, records := 0, 0
	for k.byTime+k.byWrite < kills {
		k.dir = tempDir(t)
		store := open(t, k.dir, unflushed())
		dead := fillMixed(t, store, 10)
		rows := dump(t, store)
		for n := 0; n < roundsPerDir && k.byTime+k.byWrite < kills; n++ {
			prefix := fmt.Sprintf("round%d", rounds)
			dead = append(dead, addDead(t, store, prefix, deadPerRound)...)
			maps.Copy(rows, dump(t, store))
			for completed := false; !completed; {
				completed = k.run(prefix, together)
			}
			rounds++
		}
		maps.DeleteFunc(rows, func(key, _ string) bool { return strings.HasPrefix(key, "event ") })
		assertCleaned(t, k.dir, dead, rows)
		records += len(dead)
	}
	c.Logf("%d kills, %d by time and %d in a write; %d passes completed, %d records", k.byTime+k.byWrite, k.byTime, k.byWrite, rounds, records)
	if together == 1 {
		c.Logf("%d kills before, %d within and %d after a pass", k.before, k.within, k.after)
	}
}

// killing is the state of killAndCheck.
type killing struct {
	*testing.T
	dir string

	mu                    sync.Mutex
	longest               time.Duration // until a kill by time, about that of a pass
	byTime, byWrite       int
	before, within, after int // of the kills, by how much of the pass was done
}

// run starts some cleaners that may be killed, and reports whether a pass was
// completed: that one may have been killed after it.
func (k *killing) run(gate string, together int) (completed bool) {
	how := "alone"
	if together > 1 {
		how = "together"
	}
	killed := make([]bool, together)
	var wg sync.WaitGroup
	for i := range together {
		mode := []string{"batch", "single"}[rand.N(2)]
		write, byTime := 0, rand.N(2) == 0
		if !byTime {
			write = 1 + rand.N(map[string]int{"batch": 25, "single": 250}[mode]) // sometimes more than there are
		}
		cmd := proctest.Command("killed", k.dir, gate, mode, strconv.Itoa(write), how)
		wg.Go(func() { killed[i] = k.kill(cmd, byTime) })
	}
	wg.Wait()
	return k.check(gate, slices.Contains(killed, true), together)
}

// kill kills a cleaner at some time, or waits for it, and reports whether it
// was killed.
func (k *killing) kill(cmd *exec.Cmd, byTime bool) (killed bool) {
	c := qt.New(k)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	c.Check(err, qt.IsNil)
	c.Check(cmd.Start(), qt.IsNil)
	_, err = io.ReadFull(stdout, make([]byte, 1))
	c.Check(err, qt.IsNil)
	k.mu.Lock()
	longest := k.longest
	k.mu.Unlock()
	began := time.Now()
	if byTime {
		time.Sleep(rand.N(longest)) // the kill is to come at any instant
		_ = cmd.Process.Kill()
	}
	_, err = io.ReadAll(stdout)
	c.Check(err, qt.IsNil)
	err = cmd.Wait()
	c.Check(stderr.String(), qt.Equals, "")
	if err != nil && runtime.GOOS != "windows" {
		c.Check(err, qt.ErrorMatches, "signal: killed")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err == nil: // as long as a pass takes, more or less
		k.longest = (3*k.longest + time.Since(began)) / 4
	case byTime:
		k.byTime++
	default:
		k.byWrite++
	}
	return err != nil
}

// check checks the directory after the end of some cleaners, and reports whether
// a pass was completed.
func (k *killing) check(gate string, killed bool, together int) (completed bool) {
	c := qt.New(k)
	store := open(k, k.dir, filestore.Options{})
	left := 0
	registered := map[string]bool{}
	for _, name := range names(k, store) {
		registered[name] = true
		if strings.HasPrefix(name, gate+"-") {
			left++
		}
		holder, err := store.Bound(k.Context(), "session of "+name)
		c.Assert(err, qt.IsNil)
		c.Assert(holder.Name, qt.Equals, name)
	}
	stops := 0
	for _, event := range events(k, store) {
		c.Assert(registered[event.Name], qt.IsFalse, qt.Commentf("%s has an event and is registered", event.Name))
		if strings.HasPrefix(event.Name, gate+"-") {
			stops++
		}
	}
	comment := qt.Commentf("%d records left", left)
	c.Assert(stops+left, qt.Equals, deadPerRound, comment)
	completed = gateIsDone(k, k.dir, gate)
	if completed {
		c.Assert(left, qt.Equals, 0, comment)
	}
	switch {
	case !killed && together == 1:
		c.Assert(completed, qt.IsTrue, comment)
	case together > 1: // who was killed at what is not known
	case left == deadPerRound:
		k.before++
	case left == 0:
		k.after++
	default:
		k.within++
	}
	return completed
}

// gateIsDone reports whether the line of a gate says that a pass was completed.
func gateIsDone(t testing.TB, dir, gate string) bool {
	for line := range strings.Lines(imageOf(t, dir)["gate"]) {
		if strings.HasPrefix(line, `"rollcall/`+gate+"/") {
			return strings.Contains(line, `" "done `)
		}
	}
	return false
}
