package lifecycle

// The reasons for which a record is stopped: the Reason of a [Cause] and of an
// [Event]. A host stops records for reasons of its own too.
const (
	ReasonReboot        = "exit:reboot"     // its boot is over, or its PID namespace (a container)
	ReasonDied          = "exit:died"       // no process has its PID
	ReasonPIDReused     = "exit:pid_reused" // another process or a thread has its PID
	ReasonZombie        = "exit:zombie"     // it has exited and was not waited for
	ReasonHostLost      = "exit:host_lost"  // its machine is taken for lost; by a store with leases
	ReasonLaunchFailed  = "launch_failed"   // it never came up
	ReasonStale         = "stale"           // its heartbeat is too old
	ReasonInactive      = "inactive"        // it has been inactive for too long
	ReasonParentStopped = "parent_stopped"  // its parent was stopped
)

// The reasons for which a [Cleaner] leaves a record as it is. A record whose
// process could not be judged is kept for the reason of the verdict, such as
// "other_namespace".
const (
	ReasonAlive      = "alive"       // its process runs
	ReasonHeartbeat  = "heartbeat"   // no verdict, but its heartbeat is recent
	ReasonUntracked  = "untracked"   // no process is tracked, and there is no age to judge by
	ReasonLaunching  = "launching"   // it may still come up
	ReasonAtRest     = "at_rest"     // it is inactive, and may stay so
	ReasonChanged    = "changed"     // it changed while it was judged
	ReasonOtherOwner = "other_owner" // it belongs to another machine or device: skipped
)

// reasonSentences say what a reason means. The reasons that are not here are
// those of a verdict, whose sentence says more.
var reasonSentences = map[string]string{
	ReasonHeartbeat:     "its heartbeat is recent",
	ReasonUntracked:     "no process is tracked, and there is no age to judge by",
	ReasonLaunching:     "it may still come up",
	ReasonAtRest:        "it is inactive, and may stay so",
	ReasonChanged:       "it changed while it was judged",
	ReasonOtherOwner:    "it belongs to another machine or device",
	ReasonLaunchFailed:  "it never came up",
	ReasonStale:         "its heartbeat is too old",
	ReasonInactive:      "it has been inactive for too long",
	ReasonParentStopped: "its parent was stopped",
	ReasonHostLost:      "its machine is taken for lost",
}
