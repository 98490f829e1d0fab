package liveness_test

import (
	"fmt"
	"io"
	"os"

	"github.com/rollcall-go/rollcall/internal/proctest"
)

// oldKernelVariable makes this test binary believe that it runs on an older
// kernel.
const oldKernelVariable = "ROLLCALL_TEST_OLD_KERNEL"

// exit259Role exits with that code when it is told to.
func exit259Role([]string) {
	fmt.Println("ready")
	var line string
	_, _ = fmt.Scanln(&line)
	os.Exit(259)
}

// unsetRole removes a variable from its environment.
func unsetRole(args []string) {
	if err := os.Unsetenv(args[0]); err != nil {
		fmt.Println(err)
		return
	}
	proctest.Hold()
}

func must(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// spawnRole starts a child in the role of its arguments, prints its PID when the
// child is ready, and holds.
func spawnRole(args []string) {
	cmd := proctest.Command("hold")
	if len(args) > 0 {
		cmd = proctest.Command(args[0], args[1:]...)
	}
	cmd.Stdin = os.Stdin
	ready, err := cmd.StdoutPipe()
	must(err)
	must(cmd.Start())
	_, err = ready.Read(make([]byte, 1)) // Start returns while the program is being executed
	must(err)
	fmt.Println(cmd.Process.Pid)
	proctest.Hold()
	cmd.Wait()
}

// spawnLoudRole starts a child in a role that writes to the same output, and
// is silent itself.
func spawnLoudRole(args []string) {
	cmd := proctest.Command(args[0])
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	must(cmd.Start())
	_, _ = io.Copy(io.Discard, os.Stdin)
}
