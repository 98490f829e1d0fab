package postgresstore

import (
	"strings"

	"github.com/jackc/pgx/v5"
)

// statements are the store's SQL with the host's schema and prefix in it.
type statements struct {
	version, next, fence string

	insert, used, lockParent, activate, registrations, heartbeat, bind string

	page, ownPage, find, boundTo             string
	family, children, takeBindings           string
	deleteRows, insertEvents, ours           string
	events, snapshot                         string
	gateGet, gateInsert, gateUpdate, gateCut string
	gateOurs                                 string

	lease, lockEpoch, insertLease, updateLease, beat string

	machines, gone, slot, declareLost, lost, lostRecords, drained, regained string
}

func newStatements(schema, prefix string) statements {
	tables := pgx.Identifier{schema}.Sanitize() + "." + prefix
	q := func(sql string) string { return strings.ReplaceAll(sql, defaultPrefix, tables) }
	return statements{
		version: q(`SELECT version::integer FROM rollcall_schema WHERE product = $1`),
		next:    q(`UPDATE rollcall_counters SET value = value + $2 WHERE name = $1 RETURNING value, clock_timestamp()`),

		// The lock lets beats pass and keeps others from taking the lease over
		// before this transaction has ended.
		fence: q(`SELECT epoch FROM rollcall_leases WHERE owner = $1 FOR KEY SHARE`),

		// The counting comes last, after all that is waited for.
		insert: q(`WITH counted AS (INSERT INTO rollcall_registrations AS r (owner, n) VALUES ($3, 1) ON CONFLICT (owner) DO UPDATE SET n = r.n + 1)
			INSERT INTO rollcall_records (name, incarnation, owner, phase, identity, created_at, beat_boot, beat_awake, beat_wall, parent, data, epoch)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::json, $12) ON CONFLICT (name) DO NOTHING`),
		used:       q(`SELECT EXISTS (SELECT FROM rollcall_events WHERE name = $1 AND incarnation = $2)`),
		lockParent: q(`SELECT FROM rollcall_records WHERE name = $1 FOR KEY SHARE`),
		activate: q(`WITH changed AS (UPDATE rollcall_records SET phase = $3, identity = $4, beat_boot = $5, beat_awake = $6, beat_wall = $7
				WHERE name = $1 AND incarnation = $2 RETURNING owner)
			INSERT INTO rollcall_registrations AS r (owner, n) SELECT owner, 1 FROM changed ON CONFLICT (owner) DO UPDATE SET n = r.n + 1`),
		registrations: q(`SELECT coalesce(sum(n), 0)::bigint FROM rollcall_registrations WHERE owner = $1 OR $1 = ''`),
		// One round trip, and one transaction by itself.
		heartbeat: q(`WITH fence AS (SELECT epoch FROM rollcall_leases WHERE owner = $6 FOR KEY SHARE),
			allowed AS (SELECT $6 = '' OR coalesce((SELECT epoch FROM fence), 0) = $7 AS yes),
			beaten AS (UPDATE rollcall_records SET beat_boot = $3, beat_awake = $4, beat_wall = $5
				WHERE name = $1 AND incarnation = $2 AND (SELECT yes FROM allowed) RETURNING 1)
			SELECT (SELECT yes FROM allowed), EXISTS (SELECT FROM beaten)`),
		bind: q(`WITH r AS (SELECT seq FROM rollcall_records WHERE name = $1 AND incarnation = $2 FOR KEY SHARE)
			INSERT INTO rollcall_bindings (record, key) SELECT seq, $3::text FROM r ON CONFLICT (key) DO UPDATE SET record = excluded.record`),

		page:    q(`SELECT ` + columns + ` FROM rollcall_records WHERE seq > $1 ORDER BY seq LIMIT $2`),
		ownPage: q(`SELECT ` + columns + ` FROM rollcall_records WHERE seq > $1 AND owner = $3 ORDER BY owner, seq LIMIT $2`),
		find:    q(`SELECT ` + columns + ` FROM rollcall_records WHERE name = $1`),
		boundTo: q(`SELECT ` + columns + ` FROM rollcall_records
			WHERE seq = (SELECT record FROM rollcall_bindings WHERE key = $1)`),

		// The given incarnations and their descendants, locked in one order, so
		// that two who want the same do not lock each other out. UNION leaves
		// out what was seen before, and so ends a cycle of parents.
		family: q(`WITH RECURSIVE family AS (
				SELECT seq, name FROM rollcall_records WHERE (name, incarnation) IN (SELECT * FROM unnest($1::text[], $2::text[]))
				UNION SELECT r.seq, r.name FROM family AS f JOIN rollcall_records AS r ON r.parent = f.name AND r.parent <> '')
			SELECT ` + columns + ` FROM rollcall_records WHERE seq = ANY(ARRAY(SELECT seq FROM family)) ORDER BY seq FOR UPDATE`),
		children: q(`SELECT ` + columns + ` FROM rollcall_records
			WHERE parent = ANY($1::text[]) AND parent <> '' AND seq <> ALL($2::bigint[]) ORDER BY seq FOR UPDATE`),

		takeBindings: q(`DELETE FROM rollcall_bindings WHERE record = ANY($1::bigint[]) RETURNING record, key`),
		deleteRows:   q(`DELETE FROM rollcall_records WHERE seq = ANY($1::bigint[])`),
		insertEvents: q(`INSERT INTO rollcall_events (at, call, seq, name, incarnation, action, by, reason, verdict, snapshot, data)
			SELECT $1, $2, e.seq, e.name, e.incarnation, e.action, e.by, e.reason, e.verdict, e.snapshot::jsonb, e.data::json
			FROM unnest($3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[])
				AS e (seq, name, incarnation, action, by, reason, verdict, snapshot, data)`),
		ours: q(`SELECT name, incarnation, reason FROM rollcall_events
			WHERE (name, incarnation) IN (SELECT * FROM unnest($1::text[], $2::text[])) AND call = $3`),

		events: q(`SELECT seq, at, name, incarnation, action, by, reason, verdict, snapshot::text, data::text
			FROM rollcall_events WHERE seq > $1 ORDER BY seq LIMIT $2`),
		// "+ 0" keeps the planner from reading the events backwards until it
		// meets the name: there are few of a name, and many of others.
		snapshot: q(`SELECT snapshot::text, data::text FROM rollcall_events WHERE name = $1 AND action = 'stopped' ORDER BY seq + 0 DESC LIMIT 1`),

		gateGet:    q(`SELECT value FROM rollcall_gate WHERE owner = $1 AND key = $2`),
		gateInsert: q(`INSERT INTO rollcall_gate (owner, key, value, call) VALUES ($1, $2, $3, $4) ON CONFLICT (owner, key) DO NOTHING`),
		gateUpdate: q(`UPDATE rollcall_gate SET value = $3, call = $4 WHERE owner = $1 AND key = $2 AND value = $5`),
		gateCut: q(`DELETE FROM rollcall_gate WHERE owner = $1 AND seq <=
			(SELECT seq FROM rollcall_gate WHERE owner = $1 ORDER BY seq DESC OFFSET $2 LIMIT 1)`),
		gateOurs: q(`SELECT EXISTS (SELECT FROM rollcall_gate WHERE owner = $1 AND key = $2 AND call = $3)`),

		lease:     q(`SELECT epoch FROM rollcall_leases WHERE owner = $1 FOR NO KEY UPDATE`),
		lockEpoch: q(`SELECT value FROM rollcall_counters WHERE name = 'epoch' FOR UPDATE`),
		insertLease: q(`INSERT INTO rollcall_leases AS l (owner, epoch, ttl, beat_at, since)
			VALUES ($1, $2, $3, clock_timestamp(), clock_timestamp())
			ON CONFLICT (owner) DO UPDATE SET epoch = excluded.epoch, ttl = excluded.ttl, beat_at = excluded.beat_at, since = excluded.since`),
		updateLease: q(`UPDATE rollcall_leases SET ttl = $3, beat_at = clock_timestamp(), since = ` + since + ` WHERE owner = $1 AND epoch = $2`),
		beat:        q(`UPDATE rollcall_leases SET beat_at = clock_timestamp(), since = ` + since + ` WHERE owner = $1 AND epoch = $2`),

		machines: q(`SELECT owner, greatest(epoch, 0), ttl, clock_timestamp() - beat_at, lost FROM rollcall_leases ORDER BY owner`),
		gone:     q(`SELECT owner FROM rollcall_leases WHERE lost > 0 OR epoch > 0 AND clock_timestamp() > beat_at + ttl`),
		slot:     q(`SELECT FROM rollcall_slots LIMIT 1 FOR UPDATE SKIP LOCKED`),
		// Whoever has itself been beating for as long as the other has been
		// silent, and has no gap just now, may say that the other is lost. A gap
		// that it does not count, of up to half of its own TTL, is given to the
		// other, see since. Its lock waits for nobody: a machine that is
		// beating, or writing, right now is not lost.
		declareLost: q(`WITH me AS (SELECT since, ttl FROM rollcall_leases WHERE owner = $1 AND epoch = $2
				AND clock_timestamp() BETWEEN beat_at AND beat_at + ttl / 2),
			gone AS (SELECT l.owner FROM rollcall_leases AS l, me WHERE l.owner <> $1 AND l.epoch > 0
				AND clock_timestamp() > greatest(l.beat_at, me.since) + greatest(l.ttl, (l.ttl + me.ttl) / 2)
				FOR UPDATE OF l SKIP LOCKED)
			UPDATE rollcall_leases AS l SET lost = l.epoch, epoch = -1 FROM gone WHERE l.owner = gone.owner`),
		lost: q(`SELECT owner, lost FROM rollcall_leases WHERE lost > 0`),
		lostRecords: q(`SELECT ` + columns + ` FROM rollcall_records
			WHERE owner = $1 AND epoch <= $2 AND seq > $3 ORDER BY seq LIMIT $4 FOR UPDATE SKIP LOCKED`),
		drained: q(`DELETE FROM rollcall_leases WHERE owner = $1 AND lost = $2 AND epoch = -1
			AND NOT EXISTS (SELECT FROM rollcall_records WHERE owner = $1 AND epoch <= $2)`),
		regained: q(`UPDATE rollcall_leases SET lost = 0 WHERE owner = $1 AND lost = $2 AND epoch > 0
			AND NOT EXISTS (SELECT FROM rollcall_records WHERE owner = $1 AND epoch <= $2)`),
	}
}

// since is the beginning of the time in which a machine has beaten without a
// gap. A gap is more than half of its time to live: then the machine cannot say
// that it was another one which did not beat. A server whose clock was set back
// counts from then on.
const since = `CASE WHEN clock_timestamp() BETWEEN beat_at AND beat_at + ttl / 2 THEN since ELSE clock_timestamp() END`
