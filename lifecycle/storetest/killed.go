package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/rollcall-go/rollcall/lifecycle"
)

// fact is something that a process knows because the store has told it. It says
// each before it does anything else.
type fact struct {
	Name, Incarnation string
	Data              string // that was set; empty is that of the launch
	Stopped           bool   // registered otherwise
}

// survivesKills kills processes while they write. What a process was told is so
// afterwards, each record is whole, and nothing that a killed process held keeps
// others out.
func survivesKills(ctx context.Context, h Harness, p processes) error {
	const n, rounds = 3, 2
	facts := map[string]fact{} // the last one, by name
	for round := range rounds {
		all, end, err := p.start(ctx, h, n)
		if err != nil {
			return err
		}
		defer end()
		if err := release(all); err != nil {
			return err
		}
		for _, child := range all {
			for left := 1 + rand.N(30); ; left-- {
				var f fact
				err := child.read(&f)
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					return err
				}
				facts[f.Name] = f
				if left == 0 {
					_ = child.Process.Kill() // and what it has said until then still counts
				}
			}
			if err := child.Wait(); err == nil || child.stderr.Len() > 0 {
				return fmt.Errorf("a process was not killed, but ended: %v\n%s", err, &child.stderr)
			}
		}
		if server, ok := h.(Server); ok {
			if err := server.Settle(ctx); err != nil {
				return fmt.Errorf("Settle: %w", err)
			}
		}
		if err := agree(ctx, h, facts); err != nil {
			return fmt.Errorf("after the kills of round %d: %w", round, err)
		}
	}
	// The next one cleans up.
	s, err := openOne(ctx, h, Options{})
	if err != nil {
		return err
	}
	records, err := s.Records(ctx)
	if err != nil {
		return fmt.Errorf("Records: %w", err)
	}
	for _, r := range records {
		if err := stop(ctx, s, r, lifecycle.Stopped); err != nil {
			return err
		}
		facts[r.Name] = fact{r.Name, r.Incarnation, facts[r.Name].Data, true}
	}
	return agree(ctx, h, facts)
}

// agree checks that a place agrees with facts.
func agree(ctx context.Context, h Harness, facts map[string]fact) error {
	s, err := openOne(ctx, h, Options{})
	if err != nil {
		return err
	}
	records, err := s.Records(ctx)
	if err != nil {
		return fmt.Errorf("Records: %w", err)
	}
	events, err := allEvents(ctx, s)
	if err != nil {
		return fmt.Errorf("Events: %w", err)
	}
	incarnations, stopped := map[string]string{}, map[string]bool{}
	data := map[string]string{}
	for _, r := range records {
		incarnations[r.Name], data[r.Name] = r.Incarnation, string(r.Data)
		if bound, err := s.Bound(ctx, "session of "+r.Name); err == nil && bound.Incarnation != r.Incarnation {
			return fmt.Errorf("the key of %q is bound to %q", r.Name, bound.Name)
		}
	}
	for _, e := range events {
		if stopped[e.Name] {
			return fmt.Errorf("a second event of %q", e.Name)
		}
		stopped[e.Name] = true
		if incarnations[e.Name] != "" {
			return fmt.Errorf("%q has an event and is registered", e.Name)
		}
		incarnations[e.Name], data[e.Name] = e.Incarnation, string(e.Snapshot.Data)
		if bound, err := s.Bound(ctx, "session of "+e.Name); !errors.Is(err, lifecycle.ErrNotRegistered) {
			return fmt.Errorf("the key of %q, which was stopped, is bound to %q, %v", e.Name, bound.Name, err)
		}
	}
	for name, f := range facts {
		if incarnations[name] != f.Incarnation {
			return fmt.Errorf("%q was registered as %q, the store has %q", name, f.Incarnation, incarnations[name])
		}
		if f.Data != "" && data[name] != f.Data {
			return fmt.Errorf("%q was given the Data %s, the store has %s", name, f.Data, data[name])
		}
		if f.Stopped && !stopped[name] {
			return fmt.Errorf("%q was stopped, and has no event", name)
		}
	}
	return nil
}

// killedPart registers records, and stops every second one, until it is killed.
func killedPart(ctx context.Context, _ int, open func(Options) (lifecycle.Registrar, error)) error {
	s, err := open(Options{})
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		r, err := s.Launch(ctx, lifecycle.Record{Name: fmt.Sprintf("worker-%d", rand.Int64())})
		if err != nil {
			return err
		}
		f := fact{Name: r.Name, Incarnation: r.Incarnation}
		if err := say(f); err != nil {
			return err
		}
		data := `{"session":"` + r.Incarnation + `"}`
		if err := s.SetData(ctx, r, json.RawMessage(data)); err != nil {
			return err
		}
		f.Data = data
		if err := say(f); err != nil {
			return err
		}
		if err := s.Bind(ctx, r, "session of "+r.Name); err != nil {
			return err
		}
		if i%2 == 0 {
			continue
		}
		if err := stop(ctx, s, r, lifecycle.Stopped); err != nil {
			return err
		}
		f.Stopped = true
		if err := say(f); err != nil {
			return err
		}
	}
}
