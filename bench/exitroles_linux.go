package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/liveness"
)

// notifiedRole waits for exits with a Watch.
func notifiedRole(ctx context.Context, args []string) error {
	system, err := liveness.New(liveness.Options{})
	if err != nil {
		return err
	}
	watch, err := system.NewWatch()
	if err != nil {
		return err
	}
	ready := func() error { return nil }
	told := func() error { _, _, err := watch.Next(ctx); return err }
	return errors.Join(watchExits(args, watch.Add, ready, told), watch.Close())
}

// stoppedRole is a host whose Watcher stops records, in memory.
func stoppedRole(ctx context.Context, args []string) error {
	store := new(memstore.Store)
	stops, ended := make(chan struct{}, 1), make(chan error, 1)
	watcher := lifecycle.Watcher{
		Cleaner: lifecycle.Cleaner{Store: store, OnStopped: func(lifecycle.Stop) { stops <- struct{}{} }},
		Poll:    time.Hour, // nothing is found by polling
		Every:   time.Hour,
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	add := func(id liveness.Identity) error {
		_, err := store.Put(ctx, lifecycle.Record{Name: id.String(), Phase: lifecycle.Running, Identity: id})
		return err
	}
	stopped := func() error {
		select {
		case <-stops:
			return nil
		case err := <-ended:
			return err
		}
	}
	ready := func() error { // when the last record of the first pass is stopped
		last, err := liveness.Self()
		if err != nil {
			return err
		}
		last.Boot.Boot = otherBoot
		if err := add(last); err != nil {
			return err
		}
		go func() { ended <- watcher.Run(ctx) }()
		return stopped()
	}
	return watchExits(args, add, ready, stopped)
}

// watchExits does what "watch" of floor/exits.c does: told returns when one more
// death is known.
func watchExits(args []string, add func(liveness.Identity) error, ready, told func() error) error {
	watched, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	deaths, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	for range watched {
		var pid int
		if _, err := fmt.Scan(&pid); err != nil {
			return err
		}
		id, err := liveness.Capture(pid)
		if err != nil {
			return err
		}
		if err := add(id); err != nil {
			return err
		}
	}
	if err := ready(); err != nil {
		return err
	}
	fmt.Println("ready")
	times := make([]int64, deaths)
	for i := range times {
		if err := told(); err != nil {
			return err
		}
		times[i] = monotonic()
	}
	var text []byte
	for _, t := range times {
		text = fmt.Append(text, t, " ")
	}
	fmt.Println(string(text))
	_, err = io.Copy(io.Discard, os.Stdin) // until it has been looked at
	return err
}
