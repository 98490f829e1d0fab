package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rollcall-go/rollcall/bootid"
	"github.com/rollcall-go/rollcall/lifecycle"
	"github.com/rollcall-go/rollcall/liveness"
)

// What hcom's rows mean is all in this file.

// markerVariable is planted by hcom's launcher in the agents that it launches.
// Its value is the process_id of the row in process_bindings.
const markerVariable = "HCOM_PROCESS_ID"

// launchTime is how long hcom waits for what it has launched.
const launchTime = 2 * time.Minute

// snapshot is what hcom's resume, fork and transcript read of an instance that
// was stopped, by the names they read it.
type snapshot struct {
	Name              string  `json:"name"`
	CreatedAt         float64 `json:"created_at"`
	SessionID         *string `json:"session_id"`
	ParentName        *string `json:"parent_name"`
	ParentSessionID   *string `json:"parent_session_id"`
	Tool              string  `json:"tool"`
	Directory         string  `json:"directory"`
	TranscriptPath    string  `json:"transcript_path"`
	LaunchArgs        *string `json:"launch_args"`
	Tag               *string `json:"tag"`
	Hints             *string `json:"hints"`
	WaitTimeout       *int64  `json:"wait_timeout"`
	SubagentTimeout   *int64  `json:"subagent_timeout"`
	PID               *int64  `json:"pid"`
	LastSeen          int64   `json:"last_seen"`
	LastEventID       int64   `json:"last_event_id"`
	Background        int64   `json:"background"`
	BackgroundLogFile string  `json:"background_log_file"`
	NameAnnounced     int64   `json:"name_announced"`
	AgentID           *string `json:"agent_id"`
	OriginDeviceID    *string `json:"origin_device_id"`
}

// row is an instance together with what other rows tell about it.
type row struct {
	snapshot
	status, context      string
	statusTime, lastStop float64
	parent               string // also where only the parent's session is recorded
	bindings             int    // to processes
	process              string // one of them
	bound                float64
}

const selectInstances = `SELECT i.name, i.created_at, i.session_id, i.parent_name, i.parent_session_id,
	coalesce(i.tool, 'claude'), coalesce(i.directory, ''), coalesce(i.transcript_path, ''), nullif(i.launch_args, ''),
	i.tag, nullif(i.hints, ''), i.wait_timeout, i.subagent_timeout, i.pid, coalesce(i.last_seen, 0), coalesce(i.last_event_id, 0),
	coalesce(i.background, 0), coalesce(i.background_log_file, ''), coalesce(i.name_announced, 0), i.agent_id, nullif(i.origin_device_id, ''),
	coalesce(i.status, ''), coalesce(i.status_context, ''), coalesce(i.status_time, 0), coalesce(i.last_stop, 0),
	coalesce(nullif(i.parent_name, ''), (SELECT p.name FROM instances p WHERE p.session_id = i.parent_session_id), ''),
	(SELECT count(*) FROM process_bindings b WHERE b.instance_name = i.name),
	coalesce((SELECT max(b.process_id) FROM process_bindings b WHERE b.instance_name = i.name), ''),
	coalesce((SELECT max(b.updated_at) FROM process_bindings b WHERE b.instance_name = i.name), 0)
	FROM instances i`

// scan reads rows to their end and closes them. A row that cannot be read comes
// with an error of its own, and at least with its name if that can.
func scan(rows *sql.Rows) (all []row, errs []error, err error) {
	defer rows.Close()
	for rows.Next() {
		var r row
		errs = append(errs, rows.Scan(&r.Name, &r.CreatedAt, &r.SessionID, &r.ParentName, &r.ParentSessionID,
			&r.Tool, &r.Directory, &r.TranscriptPath, &r.LaunchArgs,
			&r.Tag, &r.Hints, &r.WaitTimeout, &r.SubagentTimeout, &r.PID, &r.LastSeen, &r.LastEventID,
			&r.Background, &r.BackgroundLogFile, &r.NameAnnounced, &r.AgentID, &r.OriginDeviceID,
			&r.status, &r.context, &r.statusTime, &r.lastStop, &r.parent, &r.bindings, &r.process, &r.bound))
		all = append(all, r)
	}
	return all, errs, rows.Err()
}

// incarnation tells the rows of one name apart: hcom writes created_at once, when
// it makes the row.
func (r *row) incarnation() string { return strconv.FormatFloat(r.CreatedAt, 'f', -1, 64) }

func (r *row) phase() lifecycle.Phase {
	switch {
	case r.context == "new" && r.SessionID == nil && (r.status == "inactive" || r.status == "pending"):
		return lifecycle.Launching
	case r.status == "inactive":
		return lifecycle.Inactive
	default:
		return lifecycle.Running
	}
}

// record is the row as the Cleaner judges it.
func (r *row) record(now moment) (lifecycle.Record, error) {
	record := lifecycle.Record{
		Name: r.Name, Incarnation: r.incarnation(), Phase: r.phase(), Identity: r.identity(), Parent: r.parent,
		CreatedAt: epoch(r.CreatedAt), Heartbeat: now.heartbeat(epoch(r.lastSign())),
	}
	if r.OriginDeviceID != nil {
		record.Owner = *r.OriginDeviceID
	}
	var err error
	record.Data, err = json.Marshal(r.snapshot)
	return record, err
}

// identity is what hcom has recorded of the process: its PID, the marker, and
// times by which it was running.
//
// There is a row before its process, and hcom adopts processes that are older
// than their row, so created_at bounds the start from neither side. An upper
// bound is what was written by the process itself, and when it must have come up
// after it was launched or bound. Until that time has come, the bound lies in the
// future and proves nothing.
//
// The marker is proof against a process without it. So it is left out where the
// PID may rightly be that of one: a headless agent's is the PID of a shell, which
// sets the variable for the agent and was not given it. And of several bindings
// it is not known which is that of the PID.
func (r *row) identity() liveness.Identity {
	if r.PID == nil {
		return liveness.Identity{}
	}
	id := liveness.Identity{PID: int(*r.PID)}
	launched := max(r.CreatedAt, r.bound)
	if launched > 0 {
		launched += launchTime.Seconds()
	}
	id.NotAfter = epoch(max(launched, r.statusTime, r.lastStop, float64(r.LastSeen)))
	if r.Background == 0 && r.bindings == 1 {
		id.Marker = r.process
	}
	return id
}

// lastSign is when hcom last wrote of the instance that it is there.
func (r *row) lastSign() float64 {
	return max(r.CreatedAt, r.bound, r.statusTime, r.lastStop, float64(r.LastSeen))
}

// spares reports whether the cause does not hold for the row as it is now.
// When it last gave a sign is compared as it is stored: in the clock of heartbeats
// two conversions of one time differ.
func (r *row) spares(record lifecycle.Record, cause lifecycle.Cause) (bool, error) {
	stored, err := r.record(moment{})
	if err != nil {
		return false, err
	}
	stored.Heartbeat.Boot, stored.Heartbeat.Awake = record.Heartbeat.Boot, record.Heartbeat.Awake
	switch cause.Verdict.Reason {
	case liveness.NoProcess, liveness.Zombie:
		// These do not rest on a bound that every sign of the instance moves.
		stored.Identity.NotAfter = record.Identity.NotAfter
	}
	return !cause.Holds(record, stored), nil
}

// epoch is the time of a number of seconds; of 0 and of no possible time, none.
func epoch(seconds float64) time.Time {
	if !(seconds > 0 && seconds < math.MaxUint32) {
		return time.Time{}
	}
	return time.UnixMicro(int64(math.Round(seconds * 1e6))).UTC()
}

// moment is now, in each clock that is needed to tell how old a wall time is.
// Where the system does not tell, began is zero and nothing has an age.
type moment struct {
	wall          time.Time
	boot          bootid.ID
	awake, asleep time.Duration // of this boot
	began         time.Time     // this boot
}

// readClock reads the clocks. How long a boot has lasted, suspend included, is
// taken from Linux's /proc/uptime (proc_uptime(5)).
func readClock() moment {
	now := moment{wall: time.Now()}
	boot, errBoot := bootid.Current()
	awake, errAwake := bootid.Awake()
	text, errUptime := os.ReadFile("/proc/uptime")
	first, _, _ := strings.Cut(string(text), " ")
	uptime, err := time.ParseDuration(first + "s")
	// In a container the file may tell how long the container has been up.
	const rounding = 100 * time.Millisecond
	if errors.Join(errBoot, errAwake, errUptime, err) != nil || uptime < awake-rounding {
		return now
	}
	now.boot, now.awake, now.asleep, now.began = boot, awake, max(0, uptime-awake), now.wall.Add(-uptime)
	return now
}

// heartbeat is a wall time in the clock of heartbeats. It may have been later, if
// this boot was in suspend since, but not earlier.
func (now moment) heartbeat(wall time.Time) lifecycle.Heartbeat {
	beat := lifecycle.Heartbeat{Wall: wall}
	if now.began.IsZero() || wall.IsZero() {
		return beat
	}
	beat.Boot = now.boot
	if wall.Before(now.began.Add(-rounding)) {
		beat.Boot.Boot = earlierBoot
		return beat
	}
	age := max(0, now.wall.Sub(wall)-now.asleep)
	beat.Awake = max(0, now.awake-age)
	return beat
}

// earlierBoot is some boot before this one: it is not recorded which.
const earlierBoot = "00000000-0000-4000-8000-000000000001"

// rounding is what the times of rows are good to.
const rounding = 2 * time.Second

// judge is a [liveness.Liveness] that calls a death before this boot by its name.
// The wall time alone kills nobody: a clock that is set leaves the marker as it
// is.
type judge struct {
	*liveness.System
	began time.Time
}

func newJudge() (*judge, error) {
	system, err := liveness.New(liveness.Options{MarkerVariable: markerVariable})
	if err != nil {
		return nil, fmt.Errorf("hcomstore: %w", err)
	}
	return &judge{system, readClock().began}, nil
}

// Check implements [liveness.Liveness].
func (j *judge) Check(id liveness.Identity) liveness.Verdict {
	verdict := j.System.Check(id)
	if verdict.State == liveness.Dead && !id.NotAfter.IsZero() && id.NotAfter.Before(j.began.Add(-rounding)) {
		verdict.Reason = liveness.Rebooted
	}
	return verdict
}
