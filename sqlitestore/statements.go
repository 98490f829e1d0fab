package sqlitestore

import "strings"

// statements are the store's SQL with the host's prefix in it.
type statements struct {
	taken, version, stampColumns string

	insert, activate, heartbeat, bind, used string

	registered, registrations string

	page, find, boundTo, children            string
	found, bindings                          string
	deleteBindings, deleteRows               string
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

		registered:    q(`UPDATE rollcall_schema SET registrations = registrations + 1 WHERE product = ?`),
		registrations: q(`SELECT registrations FROM rollcall_schema WHERE product = ?`),

		page:    q(`SELECT ` + columns + ` FROM rollcall_records WHERE seq > ? ORDER BY seq LIMIT ?`),
		find:    q(`SELECT ` + columns + ` FROM rollcall_records WHERE name = ?`),
		boundTo: q(`SELECT ` + columns + ` FROM rollcall_records WHERE seq = (SELECT record FROM rollcall_bindings WHERE key = ?)`),

		found:          q(`SELECT ` + columns + ` FROM rollcall_records WHERE name IN (?)`),
		children:       q(`SELECT ` + columns + ` FROM rollcall_records WHERE parent IN (?) AND parent <> '' ORDER BY seq`),
		bindings:       q(`SELECT record, key FROM rollcall_bindings WHERE record IN (?) ORDER BY record, key`),
		deleteBindings: q(`DELETE FROM rollcall_bindings WHERE record IN (?)`),
		deleteRows:     q(`DELETE FROM rollcall_records WHERE seq IN (?)`),

		insertEvent: q(`INSERT INTO rollcall_events (at, name, incarnation, action, by, reason, verdict, snapshot) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`),
		events:      q(`SELECT seq, at, name, incarnation, action, by, reason, verdict, snapshot FROM rollcall_events WHERE seq > ? ORDER BY seq LIMIT ?`),
		snapshot:    q(`SELECT snapshot FROM rollcall_events WHERE name = ? AND action = 'stopped' ORDER BY seq DESC LIMIT 1`),

		gateGet:    q(`SELECT value FROM rollcall_gate WHERE key = ?`),
		gateInsert: q(`INSERT INTO rollcall_gate (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING`),
		gateUpdate: q(`UPDATE rollcall_gate SET value = ? WHERE key = ? AND value = ?`),
		gateCut:    q(`DELETE FROM rollcall_gate WHERE seq <= (SELECT max(seq) FROM rollcall_gate) - ?`),
	}
}

// inList makes of a query with IN (?) one with n values, and valuesList of an
// INSERT with one row one with n rows.
func inList(query string, n int) string {
	return strings.Replace(query, "IN (?)", "IN (?"+strings.Repeat(",?", n-1)+")", 1)
}

func valuesList(query string, n int) string {
	at := strings.LastIndexByte(query, '(')
	return query + strings.Repeat(","+query[at:], n-1)
}
