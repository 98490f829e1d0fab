package liveness_test

import (
	"fmt"
	"os"
)

// exit259Role exits with that code when it is told to.
func exit259Role([]string) {
	fmt.Println("ready")
	var line string
	_, _ = fmt.Scanln(&line)
	os.Exit(259)
}
