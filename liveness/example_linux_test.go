package liveness_test

import (
	"fmt"
	"os/exec"
	"time"

	"github.com/rollcall-go/rollcall/liveness"
)

// A program starts a child and records it. Later it, or any other process,
// reads the record and asks.
func Example() {
	cmd := exec.Command("sleep", "1000")
	marker := liveness.Plant(cmd)
	if err := cmd.Start(); err != nil {
		fmt.Println(err)
		return
	}
	id, err := liveness.CaptureProcess(cmd.Process)
	if err != nil {
		fmt.Println(err)
		return
	}
	id.Marker = marker
	text := id.String() // one line for a pid file or a column

	recorded, err := liveness.Parse(text)
	if err != nil {
		fmt.Println(err)
		return
	}
	system, err := liveness.New(liveness.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(system.Check(recorded))
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	fmt.Println(system.Check(recorded))
	// Output:
	// alive: the recorded process runs
	// dead: no process has its PID
}

func ExampleSelf() {
	id, err := liveness.Self()
	if err != nil {
		fmt.Println(err)
		return
	}
	system, err := liveness.New(liveness.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(system.Check(id))

	id.Start-- // as if recorded of an earlier process with this PID
	fmt.Println(system.Check(id))
	// Output:
	// alive: the recorded process runs
	// dead: its PID belongs to another process now
}

// An old row, which has a PID and the time at which it was written, is given all
// the evidence that there is. The capture comes first: if the row is found alive
// after it, its process has had the PID all the while.
func ExampleCapture() {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		fmt.Println(err)
		return
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	row := liveness.Identity{PID: cmd.Process.Pid, NotAfter: time.Now()}

	system, err := liveness.New(liveness.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	captured, err := liveness.Capture(row.PID)
	verdict := system.Check(row)
	if err == nil && verdict.State == liveness.Alive {
		row = captured
	}
	fmt.Println(verdict)
	fmt.Println("boot known:", row.Boot.Boot != "", "start known:", row.Start != 0)
	// Output:
	// alive: the recorded process runs
	// boot known: true start known: true
}
