-- The tables of hcom (https://github.com/aannoo/hcom, schema 18) that a stop is
-- about. hcom makes them itself; here they are made for the demonstration and
-- the tests.
CREATE TABLE instances (
	name TEXT PRIMARY KEY,
	session_id TEXT UNIQUE,
	parent_session_id TEXT REFERENCES instances (session_id) ON DELETE SET NULL,
	parent_name TEXT,
	tag TEXT,
	last_event_id INTEGER DEFAULT 0,
	status TEXT DEFAULT 'active', -- active, listening, blocked, error, inactive, pending
	status_time INTEGER DEFAULT 0, -- epoch seconds, as all times but that of an event
	last_seen INTEGER DEFAULT 0,
	status_context TEXT DEFAULT '', -- 'new': launched, and has not come up yet
	status_detail TEXT DEFAULT '',
	last_stop INTEGER DEFAULT 0, -- the heartbeat
	directory TEXT,
	created_at REAL NOT NULL,
	transcript_path TEXT DEFAULT '',
	tcp_mode INTEGER DEFAULT 0,
	wait_timeout INTEGER,
	background INTEGER DEFAULT 0, -- headless: pid is that of a shell around the agent
	background_log_file TEXT DEFAULT '',
	name_announced INTEGER DEFAULT 0,
	agent_id TEXT UNIQUE,
	running_tasks TEXT DEFAULT '',
	origin_device_id TEXT DEFAULT '', -- of another device: copied from there
	hints TEXT DEFAULT '',
	subagent_timeout INTEGER,
	tool TEXT DEFAULT 'claude',
	launch_args TEXT DEFAULT '',
	terminal_preset_requested TEXT DEFAULT '',
	terminal_preset_effective TEXT DEFAULT '',
	idle_since TEXT DEFAULT '',
	pid INTEGER, -- NULL: driven by hooks, no process is tracked
	launch_context TEXT DEFAULT ''
);
CREATE TABLE events (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	timestamp TEXT NOT NULL,
	type TEXT NOT NULL,
	instance TEXT NOT NULL,
	data TEXT NOT NULL
);
CREATE TABLE process_bindings (
	process_id TEXT PRIMARY KEY, -- HCOM_PROCESS_ID of the launched agent
	session_id TEXT,
	instance_name TEXT,
	updated_at REAL NOT NULL
);
CREATE TABLE session_bindings (
	session_id TEXT PRIMARY KEY,
	instance_name TEXT NOT NULL REFERENCES instances (name) ON DELETE CASCADE,
	created_at REAL NOT NULL
);
CREATE TABLE notify_endpoints (
	instance TEXT NOT NULL,
	kind TEXT NOT NULL,
	port INTEGER NOT NULL,
	updated_at REAL NOT NULL,
	PRIMARY KEY (instance, kind)
);
CREATE TABLE kv (key TEXT PRIMARY KEY, value TEXT);
