package liveness_test

import (
	"fmt"
	"os"

	"github.com/rollcall-go/rollcall/internal/proctest"
)

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
