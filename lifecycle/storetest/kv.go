package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/rollcall-go/rollcall/lifecycle"
)

var kvCases = []struct {
	name string
	run  func(context.Context, lifecycle.KV) error
}{
	{"has nothing at first", kvEmpty},
	{"swaps only what it compared", kvSwaps},
	{"lets one of many win", kvOneWins},
	{"does nothing when cancelled", kvCancelled},
}

func kvHas(ctx context.Context, kv lifecycle.KV, key, want string) error {
	got, err := kv.Get(ctx, key)
	if err != nil || got != want {
		return fmt.Errorf("Get(%q) = %q, %v, want %q", key, got, err, want)
	}
	return nil
}

func kvSwap(ctx context.Context, kv lifecycle.KV, key, old, new string, want bool) error {
	got, err := kv.CompareAndSwap(ctx, key, old, new)
	if err != nil || got != want {
		return fmt.Errorf("CompareAndSwap(%q, %q, %q) = %v, %v, want %v", key, old, new, got, err, want)
	}
	return nil
}

func kvEmpty(ctx context.Context, kv lifecycle.KV) error {
	return errors.Join(
		kvHas(ctx, kv, "a", ""),
		kvSwap(ctx, kv, "a", "something", "1", false),
		kvHas(ctx, kv, "a", ""),
	)
}

func kvSwaps(ctx context.Context, kv lifecycle.KV) error {
	long := strings.Repeat("long value ", 100)
	return errors.Join(
		kvSwap(ctx, kv, "a", "", "1", true),
		kvSwap(ctx, kv, "b", "", "other", true),
		kvSwap(ctx, kv, "a", "", "2", false),
		kvSwap(ctx, kv, "a", "2", "3", false),
		kvHas(ctx, kv, "a", "1"),
		kvSwap(ctx, kv, "a", "1", long, true),
		kvHas(ctx, kv, "a", long),
		kvSwap(ctx, kv, "a", long, long, true),
		kvHas(ctx, kv, "b", "other"),
	)
}

func kvOneWins(ctx context.Context, kv lifecycle.KV) error {
	var mu sync.Mutex
	var errs []error
	wins := 0
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			won, err := kv.CompareAndSwap(ctx, "a", "", fmt.Sprint(i))
			mu.Lock()
			defer mu.Unlock()
			if won {
				wins++
			}
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	if wins != 1 {
		errs = append(errs, fmt.Errorf("%d of 16 swaps from the same old value succeeded", wins))
	}
	return errors.Join(errs...)
}

func kvCancelled(ctx context.Context, kv lifecycle.KV) error {
	over, cancel := context.WithCancel(ctx)
	cancel()
	if swapped, err := kv.CompareAndSwap(over, "a", "", "1"); swapped || !errors.Is(err, context.Canceled) {
		return fmt.Errorf("CompareAndSwap with a cancelled context = %v, %v", swapped, err)
	}
	return kvHas(ctx, kv, "a", "")
}
