package lifecycle

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rollcall-go/rollcall/liveness"
)

// Report says what a pass of a [Cleaner] did.
type Report struct {
	// GateClosed says that there was no pass: this boot had its pass already, or
	// another process is making it. All else but GateClaimer is zero then.
	GateClosed bool
	// GateClaimer is a process that has claimed the gate and has not finished; nil
	// for none. With GateClosed it still has time. Otherwise it has overrun
	// [BootGate.ClaimTimeout], as a suspended process does, and this pass was made
	// beside it.
	GateClaimer *liveness.Identity
	// DryRun says that nothing was stopped; Stopped, StoppedBy and Stops tell
	// what would have been.
	DryRun bool

	// Examined counts the records that were read, unreadable ones included.
	// It is the sum of the five counts below.
	Examined int
	// Stopped counts the records that this pass stopped by their own verdict.
	// A descendant that the store stopped along with its parent counts as
	// what it was found to be: as Kept if it was judged before, otherwise as
	// AlreadyStopped or not at all.
	Stopped int
	// AlreadyStopped counts those that were to be stopped and had been, by
	// somebody else or along with their parent.
	AlreadyStopped int
	// Kept counts those that were left as they are.
	Kept int
	// Skipped counts those of other owners.
	Skipped int
	// Failed counts those that could not be read, judged or stopped. Clean
	// returns their errors.
	Failed int

	// NotEnded counts the processes that [Cleaner.Terminate] could not end. Their
	// records count as Stopped, or as what their parent's stop made of them.
	// Clean returns the errors.
	NotEnded int

	// StoppedBy and KeptBy count by reason.
	StoppedBy, KeptBy map[string]int

	// Stops lists what was stopped, the first 1,000 of it. Cleaner.OnStopped
	// sees all.
	Stops []Stop

	// Took is the time that the pass took, by the monotonic clock.
	Took time.Duration
}

// maxListed bounds Report.Stops and the errors of a pass, so that a pass over
// a million records does not hold them all.
const (
	maxListed = 1000
	maxErrors = 100
)

// String returns the report in one line, such as "7 examined: 3 stopped (2
// exit:died, 1 exit:reboot), 4 kept (3 alive, 1 launching) in 2ms".
func (r Report) String() string {
	if r.GateClosed {
		if r.GateClaimer == nil {
			return "gate closed, nothing examined"
		}
		return fmt.Sprintf("gate closed, PID %d is running it, nothing examined", r.GateClaimer.PID)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d examined: ", r.Examined)
	verb := "stopped"
	if r.DryRun {
		verb = "to stop"
	}
	fmt.Fprintf(&b, "%d %s%s, %d kept%s", r.Stopped, verb, counts(r.StoppedBy), r.Kept, counts(r.KeptBy))
	for _, rest := range []struct {
		n    int
		what string
	}{{r.AlreadyStopped, "already stopped"}, {r.Skipped, "of other owners"}, {r.Failed, "failed"}, {r.NotEnded, "not ended"}} {
		if rest.n > 0 {
			fmt.Fprintf(&b, ", %d %s", rest.n, rest.what)
		}
	}
	fmt.Fprintf(&b, " in %v", r.Took.Round(time.Microsecond))
	if r.GateClaimer != nil {
		fmt.Fprintf(&b, ", beside PID %d, which has claimed the gate for too long", r.GateClaimer.PID)
	}
	return b.String()
}

func counts(by map[string]int) string {
	if len(by) == 0 {
		return ""
	}
	parts := make([]string, 0, len(by))
	for _, reason := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, fmt.Sprintf("%d %s", by[reason], reason))
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// errorList joins errors, the first ones in full and the rest as a number.
type errorList struct {
	errs []error
	more int
	end  error // what ended the pass early; joined however many there are
}

func (l *errorList) add(err error) {
	if len(l.errs) < maxErrors {
		l.errs = append(l.errs, err)
	} else {
		l.more++
	}
}

func (l *errorList) join() error {
	errs := slices.Clip(l.errs)
	if l.more > 0 {
		errs = append(errs, fmt.Errorf("lifecycle: and %d more errors", l.more))
	}
	return errors.Join(append(errs, l.end)...)
}
