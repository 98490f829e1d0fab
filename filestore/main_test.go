package filestore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"testing"

	"github.com/rollcall-go/rollcall/filestore"
	"github.com/rollcall-go/rollcall/internal/proctest"
	"github.com/rollcall-go/rollcall/lifecycle"
)

// The tests run this binary again as other processes.
func TestMain(m *testing.M) {
	proctest.Main(m, map[string]func([]string){
		"read":   role(readRole),
		"killed": role(killedRole),
		"locked": role(lockedRole),
		"swap":   role(swapRole),
	})
}

func role(f func([]string) error) func([]string) {
	return func(args []string) {
		if err := f(args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// waitForStart says that the process has come up, and returns when the test lets
// all go.
func waitForStart() error {
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// swapRole claims numbers at a gate at the same moment as others, and prints
// those that it got.
func swapRole(args []string) error {
	if err := waitForStart(); err != nil {
		return err
	}
	numbers, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	for i := range numbers {
		swapped, err := filestore.Gate(args[0]).CompareAndSwap(context.Background(), fmt.Sprint(i), "", args[1])
		if err != nil {
			return err
		}
		if swapped {
			fmt.Println(i)
		}
	}
	return nil
}

// readRole reads a directory and tries to write to it.
func readRole(args []string) error {
	ctx := context.Background()
	store, err := filestore.New(ctx, args[0], filestore.Options{})
	if err != nil {
		return err
	}
	records, err := store.Records(ctx)
	if err != nil {
		return err
	}
	value, err := store.Gate().Get(ctx, "key")
	if err != nil {
		return err
	}
	fmt.Println(len(records), value)
	_, launchErr := store.Launch(ctx, lifecycle.Record{Name: "new"})
	_, swapErr := store.Gate().CompareAndSwap(ctx, "key", value, "new")
	for _, err := range []error{launchErr, swapErr} {
		fmt.Println(errors.Is(err, fs.ErrPermission), err)
	}
	return nil
}
