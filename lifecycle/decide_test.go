package lifecycle_test

import (
	"testing"
	"time"

	qt "github.com/frankban/quicktest"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/lifecycle/memstore"
	"github.com/rollcall-go/rollcall/liveness"
	"github.com/rollcall-go/rollcall/liveness/livenesstest"
)

type world = livenesstest.World

// An edit changes a record, or the world after the record was written.
type edit func(*world, *lifecycle.Record)

// Of the process that a record tracks.
func alive(w *world, r *lifecycle.Record)    { r.Identity = w.Start() }
func exited(w *world, r *lifecycle.Record)   { alive(w, r); w.Exit(r.Identity.PID) }
func unreaped(w *world, r *lifecycle.Record) { alive(w, r); w.ExitUnreaped(r.Identity.PID) }
func reused(w *world, r *lifecycle.Record)   { alive(w, r); w.Reuse(r.Identity.PID) }
func hidden(w *world, r *lifecycle.Record)   { alive(w, r); w.Deny(r.Identity.PID) }
func foreign(w *world, r *lifecycle.Record) {
	alive(w, r)
	r.Identity.Boot.Machine, r.Identity.Boot.Boot = otherMachine, otherBoot
}
func barePID(w *world, r *lifecycle.Record) { r.Identity.PID = w.Start().PID }

// Of its phase and owner.
func launching(_ *world, r *lifecycle.Record) { r.Phase = lifecycle.Launching }
func inactive(_ *world, r *lifecycle.Record)  { r.Phase = lifecycle.Inactive }
func ofLaptop(_ *world, r *lifecycle.Record)  { r.Owner = "laptop" }
func ofServer(_ *world, r *lifecycle.Record)  { r.Owner = "server" }

// Of its heartbeat.
func noBeat(_ *world, r *lifecycle.Record) { r.Heartbeat = lifecycle.Heartbeat{} }
func beatElsewhere(_ *world, r *lifecycle.Record) {
	r.Heartbeat.Boot.Machine, r.Heartbeat.Boot.Boot = otherMachine, otherBoot
}
func beatGiven(_ *world, r *lifecycle.Record)       { r.Heartbeat.Boot.Quality = bootid.Given }
func beatInTheFuture(_ *world, r *lifecycle.Record) { r.Heartbeat.Awake += 24 * time.Hour }
func beatBeforeBoot(_ *world, r *lifecycle.Record)  { r.Heartbeat.Boot.Boot = otherBoot }

// Of the world afterwards.
func reboot(w *world, _ *lifecycle.Record)           { w.Reboot() }
func restartContainer(w *world, _ *lifecycle.Record) { w.RestartContainer() }
func exclusive(w *world, _ *lifecycle.Record)        { w.ExclusiveNamespace() }
func after(d time.Duration) edit                     { return func(w *world, _ *lifecycle.Record) { w.Advance(d) } }

const (
	limit = time.Hour
	year  = 365 * 24 * time.Hour
)

// decisions is the decision table. The record begins as one of a running phase
// that tracks no process and has a heartbeat of now.
var decisions = []struct {
	name    string
	edits   []edit
	cleaner lifecycle.Cleaner
	want    string
}{
	{"another owner's is skipped", []edit{exited, ofServer}, lifecycle.Cleaner{Owner: "laptop"}, "skip other_owner"},
	{"an owner's is skipped where none is configured", []edit{exited, ofServer}, lifecycle.Cleaner{}, "skip other_owner"},
	{"another owner's failed launch is skipped", []edit{launching, ofServer, reboot}, lifecycle.Cleaner{}, "skip other_owner"},
	{"another owner's inactive is skipped", []edit{inactive, ofServer, after(year)}, lifecycle.Cleaner{InactiveAfter: limit}, "skip other_owner"},
	{"another owner's stale is skipped", []edit{ofServer, after(year)}, lifecycle.Cleaner{StaleAfter: limit}, "skip other_owner"},
	{"this owner's is judged", []edit{exited, ofLaptop}, lifecycle.Cleaner{Owner: "laptop"}, "stop exit:died"},
	{"nobody's is judged", []edit{exited}, lifecycle.Cleaner{Owner: "laptop"}, "stop exit:died"},

	{"launching, at the limit", []edit{launching, after(limit)}, lifecycle.Cleaner{LaunchTimeout: limit}, "keep launching"},
	{"launching, over the limit", []edit{launching, after(limit + 1)}, lifecycle.Cleaner{LaunchTimeout: limit}, "stop launch_failed"},
	{"launching, no limit", []edit{launching, after(year)}, lifecycle.Cleaner{StaleAfter: 1, InactiveAfter: 1}, "keep launching"},
	{"launching in an earlier boot", []edit{launching, reboot}, lifecycle.Cleaner{}, "stop launch_failed"},
	{"launching on another machine", []edit{launching, beatElsewhere, after(year)}, lifecycle.Cleaner{LaunchTimeout: limit}, "keep launching"},
	{"launching, seen from another view, recent", []edit{launching, beatGiven, after(limit)}, lifecycle.Cleaner{LaunchTimeout: limit}, "keep launching"},
	{"launching, seen from another view, old", []edit{launching, beatGiven, after(year)}, lifecycle.Cleaner{LaunchTimeout: limit}, "keep launching"},
	{"launching, seen from another view, awake time went back", []edit{launching, beatGiven, beatInTheFuture}, lifecycle.Cleaner{LaunchTimeout: year}, "stop launch_failed"},
	{"launching, no heartbeat", []edit{launching, noBeat, after(year)}, lifecycle.Cleaner{LaunchTimeout: limit}, "keep launching"},
	{"launching, awake time went back", []edit{launching, beatInTheFuture, after(limit + 1)}, lifecycle.Cleaner{LaunchTimeout: year}, "stop launch_failed"},
	{"launching is not judged by a process", []edit{launching, exited}, lifecycle.Cleaner{LaunchTimeout: limit}, "keep launching"},

	{"a process that runs", []edit{alive}, lifecycle.Cleaner{}, "keep alive"},
	{"a process that runs, old heartbeat", []edit{alive, after(year)}, lifecycle.Cleaner{StaleAfter: limit, LaunchTimeout: 1, InactiveAfter: 1}, "keep alive"},
	{"a process that runs, heartbeat of an earlier boot", []edit{alive, beatBeforeBoot}, lifecycle.Cleaner{StaleAfter: limit}, "keep alive"},
	{"a process of an earlier boot", []edit{alive, reboot}, lifecycle.Cleaner{}, "stop exit:reboot"},
	{"a process that exited", []edit{exited}, lifecycle.Cleaner{}, "stop exit:died"},
	{"a process that exited, fresh heartbeat", []edit{exited}, lifecycle.Cleaner{StaleAfter: limit}, "stop exit:died"},
	{"a PID that was reused", []edit{reused}, lifecycle.Cleaner{}, "stop exit:pid_reused"},
	{"a zombie", []edit{unreaped}, lifecycle.Cleaner{}, "stop exit:zombie"},
	{"a process of an earlier container", []edit{alive, exclusive, restartContainer}, lifecycle.Cleaner{}, "stop exit:reboot"},

	{"unreadable, no limit", []edit{hidden, after(year)}, lifecycle.Cleaner{LaunchTimeout: 1, InactiveAfter: 1}, "keep unreadable"},
	{"unreadable, no limit, heartbeat of an earlier boot", []edit{hidden, beatBeforeBoot}, lifecycle.Cleaner{}, "keep unreadable"},
	{"unreadable, at the limit", []edit{hidden, after(limit)}, lifecycle.Cleaner{StaleAfter: limit}, "keep heartbeat"},
	{"unreadable, over the limit", []edit{hidden, after(limit + 1)}, lifecycle.Cleaner{StaleAfter: limit}, "stop stale"},
	{"unreadable, heartbeat of an earlier boot", []edit{hidden, beatBeforeBoot}, lifecycle.Cleaner{StaleAfter: year}, "stop stale"},
	{"unreadable, heartbeat of another machine", []edit{hidden, beatElsewhere, after(year)}, lifecycle.Cleaner{StaleAfter: limit}, "keep unreadable"},
	{"unreadable, heartbeat of another view", []edit{hidden, beatGiven, after(limit)}, lifecycle.Cleaner{StaleAfter: limit}, "keep unreadable"},
	{"unreadable, old heartbeat of another view", []edit{hidden, beatGiven, after(year)}, lifecycle.Cleaner{StaleAfter: limit}, "keep unreadable"},
	{"unreadable, no heartbeat", []edit{hidden, noBeat, after(year)}, lifecycle.Cleaner{StaleAfter: limit}, "keep unreadable"},
	{"unreadable, awake time went back", []edit{hidden, beatInTheFuture, after(limit + 1)}, lifecycle.Cleaner{StaleAfter: year}, "stop stale"},
	{"a bare PID that somebody has", []edit{barePID}, lifecycle.Cleaner{}, "keep no_evidence"},
	{"a process of another machine", []edit{foreign, reboot}, lifecycle.Cleaner{}, "keep other_machine"},
	{"a process of another namespace", []edit{alive, restartContainer}, lifecycle.Cleaner{}, "keep other_namespace"},
	{"a process of another namespace, over the limit", []edit{alive, restartContainer, after(limit + 1)}, lifecycle.Cleaner{StaleAfter: limit}, "stop stale"},
	{"a process of another namespace, heartbeat of an earlier boot", []edit{alive, restartContainer, beatBeforeBoot}, lifecycle.Cleaner{StaleAfter: limit}, "stop stale"},
	{"a process of another namespace, heartbeat of another view", []edit{alive, restartContainer, beatGiven, after(year)}, lifecycle.Cleaner{StaleAfter: limit}, "keep other_namespace"},

	{"no process, no limit", []edit{after(year)}, lifecycle.Cleaner{LaunchTimeout: 1, InactiveAfter: 1}, "keep untracked"},
	{"no process, no limit, earlier boot", []edit{reboot}, lifecycle.Cleaner{}, "keep untracked"},
	{"no process, at the limit", []edit{after(limit)}, lifecycle.Cleaner{StaleAfter: limit}, "keep heartbeat"},
	{"no process, over the limit", []edit{after(limit + 1)}, lifecycle.Cleaner{StaleAfter: limit}, "stop stale"},
	{"no process, earlier boot", []edit{reboot}, lifecycle.Cleaner{StaleAfter: year}, "stop stale"},
	{"no process, another machine", []edit{beatElsewhere, reboot, after(year)}, lifecycle.Cleaner{StaleAfter: limit}, "keep untracked"},
	{"no process, heartbeat of another view", []edit{beatGiven, after(limit)}, lifecycle.Cleaner{StaleAfter: limit}, "keep untracked"},
	{"no process, old heartbeat of another view", []edit{beatGiven, after(year)}, lifecycle.Cleaner{StaleAfter: limit}, "keep untracked"},
	{"no process, heartbeat of another view, awake time went back", []edit{beatGiven, beatInTheFuture}, lifecycle.Cleaner{StaleAfter: year}, "stop stale"},
	{"no process, no heartbeat", []edit{noBeat, after(year)}, lifecycle.Cleaner{StaleAfter: limit}, "keep untracked"},
	{"no process, awake time went back", []edit{beatInTheFuture, after(limit + 1)}, lifecycle.Cleaner{StaleAfter: year}, "stop stale"},

	{"inactive, at the limit", []edit{inactive, after(limit)}, lifecycle.Cleaner{InactiveAfter: limit}, "keep at_rest"},
	{"inactive, over the limit", []edit{inactive, after(limit + 1)}, lifecycle.Cleaner{InactiveAfter: limit}, "stop inactive"},
	{"inactive, no limit", []edit{inactive, after(year)}, lifecycle.Cleaner{LaunchTimeout: 1, StaleAfter: 1}, "keep at_rest"},
	{"inactive, earlier boot, no limit", []edit{inactive, reboot}, lifecycle.Cleaner{}, "keep at_rest"},
	// The World has been awake for a minute when a boot begins.
	{"inactive, earlier boot, this one awake up to the limit", []edit{inactive, after(year), reboot, after(limit - time.Minute)}, lifecycle.Cleaner{InactiveAfter: limit}, "keep at_rest"},
	{"inactive, earlier boot, this one awake over the limit", []edit{inactive, reboot, after(limit - time.Minute + 1)}, lifecycle.Cleaner{InactiveAfter: limit}, "stop inactive"},
	{"inactive on another machine", []edit{inactive, beatElsewhere, after(year)}, lifecycle.Cleaner{InactiveAfter: limit}, "keep at_rest"},
	{"inactive, no heartbeat", []edit{inactive, noBeat, after(year)}, lifecycle.Cleaner{InactiveAfter: limit}, "keep at_rest"},
	{"inactive, awake time went back, this boot awake over the limit", []edit{inactive, beatInTheFuture, after(limit + 1)}, lifecycle.Cleaner{InactiveAfter: limit}, "stop inactive"},
	{"inactive is not judged by a process", []edit{inactive, exited, reboot}, lifecycle.Cleaner{}, "keep at_rest"},
}

func TestDecisionTable(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for _, test := range decisions {
		c.Run(test.name, func(c *qt.C) {
			// Wall times are for people: whatever they say, nothing changes.
			for _, wall := range []time.Duration{0, 24 * time.Hour, -24 * time.Hour} {
				w := livenesstest.New()
				w.Advance(time.Hour)
				record := newRecord(w, "a")
				for _, edit := range test.edits {
					edit(w, &record)
				}
				record.CreatedAt = record.CreatedAt.Add(wall)
				if !record.Heartbeat.IsZero() {
					record.Heartbeat.Wall = record.Heartbeat.Wall.Add(wall)
				}
				cleaner := test.cleaner
				cleaner.Store, cleaner.Liveness, cleaner.Clock = new(memstore.Store), w, w
				got, err := cleaner.Decide(record)
				c.Assert(err, qt.IsNil)
				c.Assert(got.Verb()+" "+got.Reason, qt.Equals, test.want, qt.Commentf("wall clock off by %v", wall))
			}
		})
	}
}

func TestEveryDeadVerdictStops(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for reason, want := range map[liveness.Reason]string{
		liveness.Rebooted: "exit:reboot", liveness.OtherNamespace: "exit:reboot",
		liveness.NoProcess: "exit:died", liveness.PIDReused: "exit:pid_reused",
		liveness.NotAProcess: "exit:pid_reused", liveness.Zombie: "exit:zombie",
		liveness.Reason(200): "exit:died", // of a Liveness that knows more reasons
	} {
		verdict := liveness.Verdict{State: liveness.Dead, Reason: reason}
		got, err := judgeBy(verdict, lifecycle.Cleaner{})
		c.Assert(err, qt.IsNil)
		c.Assert(got, qt.Equals, lifecycle.Decision{Stop: true, Reason: want, Verdict: verdict})
	}
}

func TestNoUnknownVerdictStopsWithoutStaleAfter(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	for reason := range liveness.Unreadable + 1 {
		verdict := liveness.Verdict{Reason: reason}
		got, err := judgeBy(verdict, lifecycle.Cleaner{LaunchTimeout: 1, InactiveAfter: 1})
		c.Assert(err, qt.IsNil)
		c.Assert(got, qt.Equals, lifecycle.Decision{Reason: reason.String(), Verdict: verdict})
	}
}

// judgeBy judges a record a year after its last heartbeat.
func judgeBy(verdict liveness.Verdict, cleaner lifecycle.Cleaner) (lifecycle.Decision, error) {
	w := livenesstest.New()
	record := tracking(w, "a", w.Start())
	w.Advance(year)
	cleaner.Store, cleaner.Liveness, cleaner.Clock = new(memstore.Store), always(verdict), w
	return cleaner.Decide(record)
}

func TestOutcomeString(t *testing.T) {
	t.Parallel()
	c := qt.New(t)
	c.Assert(lifecycle.Outcome(0).String(), qt.Equals, "invalid(0)")
	c.Assert(lifecycle.Stopped.String(), qt.Equals, "stopped")
	c.Assert(lifecycle.AlreadyStopped.String(), qt.Equals, "already stopped")
}
