package lifecycle

import "github.com/rollcall-go/rollcall/liveness"

// Decision is what a [Cleaner] makes of one record, and why. The zero Stop keeps
// the record.
type Decision struct {
	// Stop says that the record is to be stopped. Otherwise it is left as it is.
	Stop bool
	// Reason is one of the reasons of this package, or the text of the
	// Verdict's Reason where nothing but that keeps the record.
	Reason string
	// Verdict is the answer about the process, where one was asked for.
	Verdict liveness.Verdict
}

// cause is the cause of the stop that was decided.
func (d Decision) cause() Cause {
	return Cause{By: BySystem, Reason: d.Reason, Verdict: d.Verdict, IfUnchanged: true}
}

// Verb returns "stop", "keep", or "skip" for a record of another owner.
func (d Decision) Verb() string {
	switch {
	case d.Stop:
		return "stop"
	case d.Reason == ReasonOtherOwner:
		return "skip"
	default:
		return "keep"
	}
}

// String returns in one line what is to be done with the record, the reason, and
// the evidence for it, such as "stop: exit:died (dead: no process has its PID)"
// or "keep: launching (it may still come up)".
func (d Decision) String() string {
	sentence, ok := reasonSentences[d.Reason]
	switch {
	case !ok:
		sentence = d.Verdict.String()
	case d.Verdict != (liveness.Verdict{}): // a zero one says nothing that the sentence does not
		sentence = d.Verdict.String() + "; " + sentence
	}
	return d.Verb() + ": " + d.Reason + " (" + sentence + ")"
}
