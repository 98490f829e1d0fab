package livenesstest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"syscall"

	"github.com/rollcall-go/rollcall/internal/pinned"
	"github.com/rollcall-go/rollcall/internal/signals"
	"github.com/rollcall-go/rollcall/liveness"
)

// Open implements [liveness.Opener]. A process that is not known to be alive is
// not opened: the errors are those of [liveness.Open].
//
// What is done through the [liveness.Process] is done to that process. os.Kill
// ends it. SIGTERM and os.Interrupt end it when it runs, not while it is paused,
// see [World.Pause]. SIGSTOP pauses it and SIGCONT has it go on, on systems that
// have these signals. All others are only noted. One that a signal has ended is
// waited for by its parent at once: its PID is free then.
func (w *World) Open(id liveness.Identity) (*liveness.Process, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	verdict := w.check(id)
	if id.IsZero() {
		verdict = unreadable(fmt.Errorf("%w: no process is recorded", liveness.ErrInvalid))
	}
	if err := verdict.Refusal(); err != nil {
		return nil, fmt.Errorf("livenesstest: open PID %d: %w", id.PID, err)
	}
	return liveness.NewProcess(id, &hold{world: w, process: w.processes[id.PID]}), nil
}

// Ignore has a process take no notice of these signals, and of no others: it
// takes the place of an earlier Ignore. A process that ignores SIGTERM is one
// that does not end in time. One that ignores os.Kill too ends only by
// [World.Exit] and its like: no real process ignores that, but one that waits
// for a broken disk does not end either.
func (w *World) Ignore(pid int, signals ...os.Signal) {
	w.change(pid, func(p *process) { p.ignores = slices.Clone(signals) })
}

// Pause stops a process, as SIGSTOP and Ctrl-Z do. It is alive. Of the signals
// that it gets only os.Kill takes effect, the others when it goes on.
func (w *World) Pause(pid int) {
	w.change(pid, func(p *process) { p.paused = true })
}

// Continue has a paused process go on, as SIGCONT does.
func (w *World) Continue(pid int) {
	w.change(pid, w.resume)
}

// Group makes a process the leader of a process group, and the others members of
// it. All processes are in the group of the one that judges, unless Group says
// otherwise.
func (w *World) Group(leader int, members ...int) {
	w.change(leader, func(p *process) {
		p.group = p
		for _, pid := range members {
			if member := w.processes[pid]; member != nil {
				member.group = p
			}
		}
	})
}

// Signals returns what was sent through processes that the World has opened, by
// PID, in order, whether it was ignored or not. A PID without signals has no
// entry. When PIDs start over, see [World.Reboot] and [World.RestartContainer],
// so does this.
func (w *World) Signals() map[int][]os.Signal {
	w.mu.Lock()
	defer w.mu.Unlock()
	sent := maps.Clone(w.signals)
	for pid := range sent {
		sent[pid] = slices.Clone(sent[pid])
	}
	return sent
}

// hold is a hold on one process, even when another has its PID.
type hold struct {
	world   *World
	process *process
	closed  bool
}

var _ pinned.Process = (*hold)(nil)

func (h *hold) Signal(sig os.Signal) error {
	h.world.mu.Lock()
	defer h.world.mu.Unlock()
	if err := h.refuses(sig); err != nil {
		return err
	}
	if h.reaped() {
		return liveness.ErrNoProcess
	}
	h.world.send(h.process, sig)
	return nil
}

func (h *hold) SignalGroup(sig os.Signal) error {
	h.world.mu.Lock()
	defer h.world.mu.Unlock()
	if err := h.refuses(sig); err != nil {
		return err
	}
	group := h.group()
	switch {
	case h.world.self.group == h.process:
		return pinned.ErrOwnGroup
	case !h.reaped() && h.process.group != h.process:
		return liveness.ErrNoGroup
	case len(group) == 0:
		return liveness.ErrNoProcess
	}
	for _, member := range group {
		h.world.send(member, sig)
	}
	return nil
}

// refuses returns an error if no signal, or not this one, can be sent.
func (h *hold) refuses(sig os.Signal) error {
	switch {
	case h.closed:
		return os.ErrClosed
	case sig == nil:
		return fmt.Errorf("no signal: %w", errors.ErrUnsupported)
	default:
		return nil
	}
}

// reaped reports whether the process was waited for.
func (h *hold) reaped() bool { return h.world.processes[h.process.pid] != h.process }

// group returns the processes of the group that the process leads, or has led,
// zombies included.
func (h *hold) group() []*process {
	var group []*process
	for _, p := range h.world.processes {
		if p.group == h.process {
			group = append(group, p)
		}
	}
	return group
}

func (h *hold) Wait(ctx context.Context) error {
	return h.await(ctx, func() bool { return h.process.exited })
}

func (h *hold) WaitGroup(ctx context.Context) error {
	return h.await(ctx, func() bool {
		return !slices.ContainsFunc(h.group(), func(p *process) bool { return !p.exited })
	})
}

func (h *hold) Close() error {
	h.world.mu.Lock()
	defer h.world.mu.Unlock()
	if h.closed {
		return os.ErrClosed
	}
	h.closed = true
	h.world.wake()
	return nil
}

// await returns when over reports true, or the hold is closed, or ctx is done.
func (h *hold) await(ctx context.Context, over func() bool) error {
	w := h.world
	w.mu.Lock()
	defer w.mu.Unlock()
	for !h.closed && !over() {
		if err := ctx.Err(); err != nil {
			return err
		}
		// A channel of its own: one that was made outside of a bubble of
		// testing/synctest keeps the time in it from passing.
		changed := make(chan struct{})
		w.waiting[changed] = struct{}{}
		w.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		w.mu.Lock()
		delete(w.waiting, changed)
	}
	if h.closed {
		return os.ErrClosed
	}
	return nil
}

// wake has all that wait look again.
func (w *World) wake() {
	for changed := range w.waiting {
		close(changed)
	}
	clear(w.waiting)
}

// send notes a signal to a process and delivers it.
func (w *World) send(p *process, sig os.Signal) {
	if sig == signals.Null {
		return
	}
	w.signals[p.pid] = append(w.signals[p.pid], sig)
	w.deliver(p, sig)
}

func (w *World) deliver(p *process, sig os.Signal) {
	switch {
	case p.exited:
	case sig == signals.Stop: // which a process cannot ignore
		p.paused = true
	case sig == signals.Continue: // nor what this does
		w.resume(p)
	case slices.Contains(p.ignores, sig):
	case sig == os.Kill:
		w.end(p)
	case p.paused:
		p.pending = append(p.pending, sig)
	case sig == syscall.SIGTERM, sig == os.Interrupt:
		w.end(p)
	}
}

// resume has a process go on, and take the signals that have come meanwhile.
func (w *World) resume(p *process) {
	pending := p.pending
	p.paused, p.pending = false, nil
	for _, sig := range pending {
		w.deliver(p, sig)
	}
}
