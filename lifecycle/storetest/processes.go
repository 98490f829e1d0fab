package storetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

// processCases are those for several processes: run is the test, part what each of
// its processes does.
var processCases = []struct {
	name string
	run  func(ctx context.Context, h Harness, p processes) error
	part func(ctx context.Context, number int, open func(Options) (lifecycle.Registrar, error)) error
}{
	{"registers each name once among many processes", registersAmongProcesses, registerPart},
	{"stops each record once among many processes", cleanedByMany, cleanPart},
	{"is cleaned by one of many processes after a reboot", cleanedByOne, cleanOncePart},
	{"keeps what it has said when processes are killed", survivesKills, killedPart},
}

const (
	registrations = 12 // of names of its own, by each process
	contested     = 8  // names that all processes try to register
)

func registersAmongProcesses(ctx context.Context, h Harness, p processes) error {
	const n = 5
	all, end, err := p.start(ctx, h, n)
	if err != nil {
		return err
	}
	defer end()
	if err := release(all); err != nil { // they are the first to open the place, too
		return err
	}
	won := 0
	var names, stopped []string
	for i, child := range all {
		var wins int
		if err := child.wait(&wins); err != nil {
			return err
		}
		won += wins
		for j := range registrations {
			if name := fmt.Sprintf("worker-%d-%02d", i, j); j%2 == 0 {
				names = append(names, name)
			} else {
				stopped = append(stopped, name)
			}
		}
	}
	if won != contested {
		return fmt.Errorf("%d processes have won %d of %d names", n, won, contested)
	}
	for i := range contested {
		names = append(names, fmt.Sprintf("contested-%d", i))
	}
	slices.Sort(names)
	s, err := openOne(ctx, h, Options{})
	if err != nil {
		return err
	}
	if err := holds(ctx, subject{s}, names, stopped); err != nil {
		return err
	}
	if r, err := s.Bound(ctx, "the one key"); err != nil && !errors.Is(err, lifecycle.ErrNotRegistered) {
		return fmt.Errorf("Bound to %q: %w", r.Name, err)
	}
	return nil
}

func registerPart(ctx context.Context, number int, open func(Options) (lifecycle.Registrar, error)) error {
	s, err := open(Options{})
	if err != nil {
		return err
	}
	for i := range registrations {
		r, err := s.Launch(ctx, lifecycle.Record{Name: fmt.Sprintf("worker-%d-%02d", number, i)})
		if err == nil {
			err = errors.Join(s.Bind(ctx, r, "the one key"), s.Heartbeat(ctx, r), s.Activate(ctx, r, liveness.Identity{}))
		}
		if err == nil && i%2 == 1 {
			err = stop(ctx, s, r, lifecycle.Stopped)
		}
		if err != nil {
			return err
		}
	}
	won := 0
	for i := range contested {
		switch _, err := s.Launch(ctx, lifecycle.Record{Name: fmt.Sprintf("contested-%d", i)}); {
		case err == nil:
			won++
		case !errors.Is(err, lifecycle.ErrNameTaken):
			return err
		}
	}
	return say(won)
}

// mixed is a store with dead records and others that must be left alone.
type mixed struct {
	lifecycle.Registrar
	dead, kept []string
}

const perKind = 10 // records of each kind that is kept

// deadProcess is one that the processes find dead. That of every other is alive.
func deadProcess() liveness.Identity { return record("", "").Identity }

func fillMixed(ctx context.Context, h Harness, world *livenesstest.World) (*mixed, error) {
	s, err := openOne(ctx, h, Options{Clock: world})
	if err != nil {
		return nil, err
	}
	m := &mixed{Registrar: s}
	for i := range perKind {
		for j := range 5 {
			m.dead = append(m.dead, fmt.Sprintf("dead-%d-%d", i, j))
			if _, err := launchRunning(ctx, s, m.dead[len(m.dead)-1], deadProcess()); err != nil {
				return nil, err
			}
		}
		for kind, identity := range map[string]liveness.Identity{"alive": world.Start(), "hooked": {}} {
			r, err := launchRunning(ctx, s, fmt.Sprintf("%s-%d", kind, i), identity)
			if err != nil {
				return nil, err
			}
			m.kept = append(m.kept, r.Name)
		}
		more, err := launchAll(ctx, s, fmt.Sprintf("inactive-%d", i), fmt.Sprintf("launching-%d", i))
		if err == nil {
			err = s.Deactivate(ctx, more[0])
		}
		if err != nil {
			return nil, err
		}
		m.kept = append(m.kept, namesOf(more)...)
	}
	slices.Sort(m.dead)
	slices.Sort(m.kept)
	return m, nil
}

// clean has n processes clean the store at the same moment, and returns their
// reports. All that is not dead must be as it was.
func (m *mixed) clean(ctx context.Context, h Harness, p processes, n int) ([]report, error) {
	before, err := m.Records(ctx)
	if err != nil {
		return nil, fmt.Errorf("Records: %w", err)
	}
	all, end, err := p.start(ctx, h, n)
	if err != nil {
		return nil, err
	}
	defer end()
	if err := release(all); err != nil {
		return nil, err
	}
	reports := make([]report, n)
	for i, child := range all {
		if err := child.wait(&reports[i]); err != nil {
			return nil, err
		}
	}
	if err := holds(ctx, subject{m.Registrar}, m.kept, m.dead); err != nil {
		return nil, err
	}
	before = slices.DeleteFunc(before, func(r lifecycle.Record) bool { return slices.Contains(m.dead, r.Name) })
	for _, want := range before {
		got, err := m.Record(ctx, want.Name)
		if err := errors.Join(err, sameRecord(got, want)); err != nil {
			return nil, err
		}
	}
	events, err := allEvents(ctx, m)
	if err != nil {
		return nil, fmt.Errorf("Events: %w", err)
	}
	for _, e := range events {
		key := "session of " + e.Name
		if e.By != lifecycle.BySystem || e.Reason != lifecycle.ReasonDied || !slices.Equal(e.Snapshot.Bindings, []string{key}) {
			return nil, fmt.Errorf("%q was stopped by %q for %q with bindings %q", e.Name, e.By, e.Reason, e.Snapshot.Bindings)
		}
		if r, err := m.Bound(ctx, key); !errors.Is(err, lifecycle.ErrNotRegistered) {
			return nil, fmt.Errorf("%q is bound to %q, %v, after the stop", key, r.Name, err)
		}
	}
	return reports, nil
}

// report is the part of a [lifecycle.Report] that the test asks for.
type report struct {
	GateClosed bool
	Stopped    int
}

func cleanedByMany(ctx context.Context, h Harness, p processes) error {
	m, err := fillMixed(ctx, h, livenesstest.New())
	if err != nil {
		return err
	}
	reports, err := m.clean(ctx, h, p, 6)
	if err != nil {
		return err
	}
	total := 0
	for _, r := range reports {
		total += r.Stopped
	}
	if total != len(m.dead) {
		return fmt.Errorf("the processes say that they have stopped %d records, want %d", total, len(m.dead))
	}
	return nil
}

func cleanedByOne(ctx context.Context, h Harness, p processes) error {
	m, err := fillMixed(ctx, h, livenesstest.New())
	if err != nil {
		return err
	}
	reports, err := m.clean(ctx, h, p, 16)
	if err != nil {
		return err
	}
	passes := slices.DeleteFunc(reports, func(r report) bool { return r.GateClosed })
	if len(passes) != 1 || passes[0].Stopped != len(m.dead) {
		return fmt.Errorf("passes: %+v, want one that stops %d records", passes, len(m.dead))
	}
	return nil
}

func cleanPart(ctx context.Context, _ int, open func(Options) (lifecycle.Registrar, error)) error {
	return clean(open, func(cleaner lifecycle.Cleaner, _ *lifecycle.BootGate) (lifecycle.Report, error) {
		return cleaner.Clean(ctx)
	})
}

func cleanOncePart(ctx context.Context, _ int, open func(Options) (lifecycle.Registrar, error)) error {
	return clean(open, func(cleaner lifecycle.Cleaner, gate *lifecycle.BootGate) (lifecycle.Report, error) {
		return cleaner.CleanOncePerBoot(ctx, gate)
	})
}

func clean(open func(Options) (lifecycle.Registrar, error), pass func(lifecycle.Cleaner, *lifecycle.BootGate) (lifecycle.Report, error)) error {
	world := livenesstest.New() // the same in each process
	s, err := open(Options{Clock: world})
	if err != nil {
		return err
	}
	judge := changing{deadProcess(), func() {}}
	gate := &lifecycle.BootGate{KV: s.Gate(), Liveness: judge, Clock: world, Self: func() (liveness.Identity, error) {
		id, err := world.Self()
		id.PID, id.Unique = os.Getpid(), uint64(os.Getpid()) // of this process alone
		return id, err
	}}
	r, err := pass(lifecycle.Cleaner{Store: s, Liveness: judge, Clock: world}, gate)
	if err != nil {
		return err
	}
	return say(report{r.GateClosed, r.Stopped})
}
