package sqlitestore

// statements are the store's SQL with the host's prefix in it.
type statements struct {
	taken, version, stampColumns string

	insert, activate, heartbeat, bind, used string

	page, find, children, boundTo            string
	readBindings, deleteBindings, deleteRow  string
	insertEvent, events, snapshot            string
	gateGet, gateInsert, gateUpdate, gateCut string
}

// columns are what scanRow reads.
const columns = `seq, name, incarnation, owner, phase, identity, created_at, beat_boot, beat_awake, beat_wall, parent, data`

func newStatements(prefix string) statements {
	q := func(sql string) string { return withPrefix(sql, prefix) }
	return statements{
		// SQL names ignore case.
		taken: q(`SELECT name FROM sqlite_master WHERE name COLLATE NOCASE IN ('rollcall_schema',
			'rollcall_records', 'rollcall_records_parent', 'rollcall_bindings', 'rollcall_events', 'rollcall_gate')`),
		version:      q(`SELECT CAST(version AS INTEGER) FROM rollcall_schema WHERE product = ?`),
		stampColumns: q(`SELECT count(*) FROM pragma_table_info('rollcall_schema') WHERE name IN ('product', 'version')`),

		insert: q(`INSERT INTO rollcall_records (name, incarnation, owner, phase, identity, created_at, beat_boot, beat_awake, beat_wall, parent, data)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`),
		activate:  q(`UPDATE rollcall_records SET phase = ?, identity = ?, beat_boot = ?, beat_awake = ?, beat_wall = ? WHERE name = ? AND incarnation = ?`),
		heartbeat: q(`UPDATE rollcall_records SET beat_boot = ?, beat_awake = ?, beat_wall = ? WHERE name = ? AND incarnation = ?`),
		bind:      q(`INSERT INTO rollcall_bindings (record, key) SELECT seq, ? FROM rollcall_records WHERE name = ? AND incarnation = ? ON CONFLICT (key) DO UPDATE SET record = excluded.record`),
		used:      q(`SELECT count(*) FROM rollcall_events WHERE name = ? AND incarnation = ?`),

		page:     q(`SELECT ` + columns + ` FROM rollcall_records WHERE seq > ? ORDER BY seq LIMIT ?`),
		find:     q(`SELECT ` + columns + ` FROM rollcall_records WHERE name = ?`),
		children: q(`SELECT ` + columns + ` FROM rollcall_records WHERE parent = ? AND parent <> '' ORDER BY seq`),
		boundTo:  q(`SELECT ` + columns + ` FROM rollcall_records WHERE seq = (SELECT record FROM rollcall_bindings WHERE key = ?)`),

		readBindings:   q(`SELECT key FROM rollcall_bindings WHERE record = ? ORDER BY key`),
		deleteBindings: q(`DELETE FROM rollcall_bindings WHERE record = ?`),
		deleteRow:      q(`DELETE FROM rollcall_records WHERE seq = ? AND incarnation = ?`),

		insertEvent: q(`INSERT INTO rollcall_events (at, name, incarnation, action, by, reason, verdict, snapshot) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`),
		events:      q(`SELECT seq, at, name, incarnation, action, by, reason, verdict, snapshot FROM rollcall_events WHERE seq > ? ORDER BY seq LIMIT ?`),
		snapshot:    q(`SELECT snapshot FROM rollcall_events WHERE name = ? AND action = 'stopped' ORDER BY seq DESC LIMIT 1`),

		gateGet:    q(`SELECT value FROM rollcall_gate WHERE key = ?`),
		gateInsert: q(`INSERT INTO rollcall_gate (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING`),
		gateUpdate: q(`UPDATE rollcall_gate SET value = ? WHERE key = ? AND value = ?`),
		gateCut:    q(`DELETE FROM rollcall_gate WHERE seq <= (SELECT max(seq) FROM rollcall_gate) - ?`),
	}
}
