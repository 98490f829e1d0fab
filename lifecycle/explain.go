package lifecycle

import "github.com/rollcall-go/rollcall/liveness"

// reasonSentences say for what the verdict does not: the other reasons are
// those of a verdict, which has a sentence of its own.
var reasonSentences = map[string]string{
	ReasonHeartbeat:     "its heartbeat is recent",
	ReasonNoProcess:     "no process is tracked, and there is no age to judge by",
	ReasonLaunching:     "it may still come up",
	ReasonAtRest:        "it is inactive, and may stay so",
	ReasonChanged:       "it changed while it was judged",
	ReasonOtherOwner:    "it belongs to another machine or device",
	ReasonLaunchFailed:  "it never came up",
	ReasonStale:         "its heartbeat is too old",
	ReasonInactive:      "it has been inactive for too long",
	ReasonParentStopped: "its parent was stopped",
}

// String returns in one line what is to be done with the record, the reason, and
// what that rests on, such as "stop: exit:died (dead: no process has its PID)"
// or "keep: launching (it may still come up)". A verdict of Unknown for want of
// any evidence is the zero Verdict, and not told beside another reason.
func (d Decision) String() string {
	sentence, ok := reasonSentences[d.Reason]
	switch {
	case !ok:
		sentence = d.Verdict.String()
	case d.Verdict != (liveness.Verdict{}):
		sentence = d.Verdict.String() + "; " + sentence
	}
	return d.Action.String() + ": " + d.Reason + " (" + sentence + ")"
}
