// Does the work of a cleaning pass on a SQLite file, and prints the nanoseconds
// that it took, by the clock and of the processor:
//
//	sqlite clean FILE BOOT     stops the records that are not of this boot, with the
//	                           schema, the statements and the batches of sqlitestore
//	sqlite read FILE           reads all records
//	sqlite careless FILE N     makes a file of N records with random keys, and stops
//	                           them one by one, 1,000 in a transaction
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { page_size = 256, group_size = 64, columns = 12, write_ns = 20 * 1000 * 1000 };

static sqlite3 *db;

static void check(int ok, const char *what) {
	if (!ok) {
		fprintf(stderr, "%s: %s\n", what, sqlite3_errmsg(db));
		exit(1);
	}
}

static double now(clockid_t clock) {
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void run(const char *sql) { check(sqlite3_exec(db, sql, 0, 0, 0) == SQLITE_OK, sql); }

static sqlite3_stmt *prepare(const char *sql) {
	sqlite3_stmt *s;
	check(sqlite3_prepare_v2(db, sql, -1, &s, 0) == SQLITE_OK, sql);
	return s;
}

// prepare_many is prepare of a statement that ends in a list of n items.
static sqlite3_stmt *prepare_many(const char *start, const char *item, int n, const char *end) {
	static char sql[8192];
	strcpy(sql, start);
	for (int i = 0; i < n; i++)
		strcat(strcat(sql, i ? "," : ""), item);
	return prepare(strcat(sql, end));
}

static void done(sqlite3_stmt *s, const char *what) {
	check(sqlite3_step(s) == SQLITE_DONE, what);
	sqlite3_reset(s);
}

static void text(sqlite3_stmt *s, int i, const char *value) {
	sqlite3_bind_text(s, i, value, -1, SQLITE_TRANSIENT);
}

static const char *column(sqlite3_stmt *s, int i) {
	const char *value = (const char *)sqlite3_column_text(s, i);
	return value ? value : "";
}

#define COLUMNS "seq, name, incarnation, owner, phase, identity, created_at, beat_boot, beat_awake, beat_wall, parent, data"

struct record {
	sqlite3_int64 seq, created, awake;
	char name[64], incarnation[64], owner[8], phase[16], identity[512], boot[128], parent[8], data[256];
	char keys[256]; // as a list in JSON
};

static void scan(sqlite3_stmt *s, struct record *r) {
	r->seq = sqlite3_column_int64(s, 0);
	snprintf(r->name, sizeof r->name, "%s", column(s, 1));
	snprintf(r->incarnation, sizeof r->incarnation, "%s", column(s, 2));
	snprintf(r->owner, sizeof r->owner, "%s", column(s, 3));
	snprintf(r->phase, sizeof r->phase, "%s", column(s, 4));
	snprintf(r->identity, sizeof r->identity, "%s", column(s, 5));
	r->created = sqlite3_column_int64(s, 6);
	snprintf(r->boot, sizeof r->boot, "%s", column(s, 7));
	r->awake = sqlite3_column_int64(s, 8);
	snprintf(r->parent, sizeof r->parent, "%s", column(s, 10));
	snprintf(r->data, sizeof r->data, "%s", column(s, 11));
	r->keys[0] = 0;
}

static void snapshot(const struct record *r, char *out, size_t size) {
	char at[32];
	time_t seconds = r->created / 1000000000;
	struct tm tm;
	strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &tm));
	snprintf(out, size,
		"{\"name\":\"%s\",\"incarnation\":\"%s\",\"phase\":\"%s\",\"identity\":\"%s\",\"created_at\":\"%s\","
		"\"heartbeat\":{\"boot\":\"%s\",\"awake_ns\":%lld,\"wall\":\"0001-01-01T00:00:00Z\"},\"data\":%s,\"bindings\":[%s]}",
		r->name, r->incarnation, r->phase, r->identity, at, r->boot, r->awake, r->data, r->keys);
}

// statements are those of a group of some size.
static struct statements {
	sqlite3_stmt *found, *children, *bindings, *event, *unbind, *drop;
} statements[group_size + 1];

static struct statements *of_size(int n) {
	struct statements *s = &statements[n];
	if (!s->found) {
		s->found = prepare_many("SELECT " COLUMNS " FROM rollcall_records WHERE name IN (", "?", n, ")");
		s->children = prepare_many("SELECT " COLUMNS " FROM rollcall_records WHERE parent IN (", "?", n, ") AND parent <> '' ORDER BY seq");
		s->bindings = prepare_many("SELECT record, key FROM rollcall_bindings WHERE record IN (", "?", n, ") ORDER BY record, key");
		s->event = prepare_many("INSERT INTO rollcall_events (at, name, incarnation, action, by, reason, verdict, snapshot) VALUES ",
			"(?, ?, ?, ?, ?, ?, ?, ?)", n, "");
		s->unbind = prepare_many("DELETE FROM rollcall_bindings WHERE record IN (", "?", n, ")");
		s->drop = prepare_many("DELETE FROM rollcall_records WHERE seq IN (", "?", n, ")");
	}
	return s;
}

static void stop(const struct record *given, int n) {
	static struct record found[group_size];
	struct statements *s = of_size(n);
	for (int i = 0; i < n; i++)
		text(s->found, i + 1, given[i].name);
	int rows = 0;
	while (sqlite3_step(s->found) == SQLITE_ROW)
		scan(s->found, &found[rows++]);
	sqlite3_reset(s->found);
	check(rows == n, "a record is gone");
	for (int i = 0; i < n; i++) {
		check(strcmp(found[i].incarnation, given[i].incarnation) == 0 && strcmp(found[i].identity, given[i].identity) == 0 &&
			strcmp(found[i].phase, given[i].phase) == 0 && found[i].awake == given[i].awake, "a record has changed");
		text(s->children, i + 1, found[i].name);
		sqlite3_bind_int64(s->bindings, i + 1, found[i].seq);
		sqlite3_bind_int64(s->unbind, i + 1, found[i].seq);
		sqlite3_bind_int64(s->drop, i + 1, found[i].seq);
	}
	done(s->children, "a record has children");
	for (int i = 0; sqlite3_step(s->bindings) == SQLITE_ROW;) {
		sqlite3_int64 seq = sqlite3_column_int64(s->bindings, 0);
		while (i < n && found[i].seq != seq)
			i++;
		check(i < n, "a key of nobody");
		char *keys = found[i].keys;
		size_t length = strlen(keys);
		snprintf(keys + length, sizeof found[i].keys - length, "%s\"%s\"", length ? "," : "", column(s->bindings, 1));
	}
	sqlite3_reset(s->bindings);
	for (int i = 0; i < n; i++) {
		char json[2048];
		int at = 8 * i;
		snapshot(&found[i], json, sizeof json);
		sqlite3_bind_int64(s->event, at + 1, (sqlite3_int64)now(CLOCK_REALTIME));
		text(s->event, at + 2, found[i].name);
		text(s->event, at + 3, found[i].incarnation);
		text(s->event, at + 4, "stopped");
		text(s->event, at + 5, "system");
		text(s->event, at + 6, "exit:reboot");
		text(s->event, at + 7, "dead: the machine has rebooted since");
		text(s->event, at + 8, json);
	}
	done(s->event, "event");
	done(s->unbind, "bindings");
	done(s->drop, "records");
	check(sqlite3_changes(db) == n, "not all were deleted");
}

static sqlite3_stmt *page;

static int read_page(sqlite3_int64 after, struct record *records) {
	int n = 0;
	if (!page)
		page = prepare("SELECT " COLUMNS " FROM rollcall_records WHERE seq > ? ORDER BY seq LIMIT ?");
	sqlite3_bind_int64(page, 1, after);
	sqlite3_bind_int64(page, 2, page_size);
	while (sqlite3_step(page) == SQLITE_ROW)
		scan(page, &records[n++]);
	sqlite3_reset(page);
	return n;
}

static void clean(const char *boot) {
	static struct record records[page_size];
	sqlite3_int64 after = 0;
	run("PRAGMA synchronous = EXTRA");
	for (int n; (n = read_page(after, records)) > 0;) {
		after = records[n - 1].seq;
		for (int i = 0; i < n; i++)
			check(!strstr(records[i].identity, boot), "a record is of this boot");
		for (int i = 0; i < n;) {
			run("BEGIN IMMEDIATE");
			double began = now(CLOCK_MONOTONIC);
			while (i < n && now(CLOCK_MONOTONIC) - began < write_ns) {
				int some = n - i < group_size ? n - i : group_size;
				stop(records + i, some);
				i += some;
			}
			run("COMMIT");
		}
	}
}

static void read_all(void) {
	static struct record records[page_size];
	sqlite3_int64 after = 0;
	for (int n; (n = read_page(after, records)) > 0;)
		after = records[n - 1].seq;
}

// careless_fill makes what a program has that gave it no thought: random keys,
// and an index for each.
static void careless_fill(int n) {
	char sql[512];
	run("CREATE TABLE agents (id TEXT PRIMARY KEY, name TEXT UNIQUE, status TEXT, pid INTEGER, data TEXT);"
		"CREATE TABLE bindings (key TEXT PRIMARY KEY, agent TEXT); CREATE INDEX bindings_agent ON bindings (agent);"
		"CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER, type TEXT, agent TEXT, data TEXT); CREATE INDEX events_agent ON events (agent);");
	snprintf(sql, sizeof sql, "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %d - 1)"
		"INSERT INTO agents SELECT lower(hex(randomblob(16))), 'worker-' || lower(hex(randomblob(6))), 'running', 1000 + i,"
		"'{\"argv\":[\"sh\",\"-c\",\"exit 1\"],\"directory\":\"/srv/work\"}' FROM n", n);
	run(sql);
	run("INSERT INTO bindings SELECT lower(hex(randomblob(16))), id FROM agents; INSERT INTO bindings SELECT lower(hex(randomblob(16))), id FROM agents;");
	run("PRAGMA wal_checkpoint(TRUNCATE)");
}

static void careless_clean(void) {
	sqlite3_stmt *all = prepare("SELECT id, name, pid, data FROM agents");
	struct agent { char id[40], name[32], data[128]; int pid; } *agents = 0;
	int n = 0, room = 0;
	while (sqlite3_step(all) == SQLITE_ROW) {
		if (n == room && !(agents = realloc(agents, (room = room ? 2 * room : 1024) * sizeof *agents)))
			exit(1);
		snprintf(agents[n].id, sizeof agents[n].id, "%s", column(all, 0));
		snprintf(agents[n].name, sizeof agents[n].name, "%s", column(all, 1));
		agents[n].pid = sqlite3_column_int(all, 2);
		snprintf(agents[n].data, sizeof agents[n].data, "%s", column(all, 3));
		n++;
	}
	sqlite3_finalize(all);
	sqlite3_stmt *event = prepare("INSERT INTO events (at, type, agent, data) VALUES (?, 'life', ?, ?)"),
		*unbind = prepare("DELETE FROM bindings WHERE agent = ?"), *drop = prepare("DELETE FROM agents WHERE id = ?");
	run("PRAGMA synchronous = FULL");
	for (int i = 0; i < n; i++) {
		char json[512];
		if (i % 1000 == 0)
			run("BEGIN IMMEDIATE");
		snprintf(json, sizeof json, "{\"action\":\"stopped\",\"by\":\"system\",\"reason\":\"exit:reboot\",\"snapshot\":"
			"{\"id\":\"%s\",\"name\":\"%s\",\"pid\":%d,\"data\":%s}}", agents[i].id, agents[i].name, agents[i].pid, agents[i].data);
		sqlite3_bind_int64(event, 1, time(0));
		text(event, 2, agents[i].name);
		text(event, 3, json);
		text(unbind, 1, agents[i].id);
		text(drop, 1, agents[i].id);
		done(event, "event");
		done(unbind, "bindings");
		done(drop, "agent");
		if (i % 1000 == 999 || i == n - 1)
			run("COMMIT");
	}
}

int main(int argc, char **argv) {
	if (argc < 3) {
		fprintf(stderr, "usage: sqlite work file ...\n");
		return 1;
	}
	const char *work = argv[1];
	check(sqlite3_open(argv[2], &db) == SQLITE_OK, argv[2]);
	sqlite3_busy_timeout(db, 5000);
	run("PRAGMA journal_mode = WAL");
	if (strcmp(work, "careless") == 0)
		careless_fill(atoi(argv[3]));
	double wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	if (strcmp(work, "clean") == 0)
		clean(argv[3]);
	else if (strcmp(work, "read") == 0)
		read_all();
	else
		careless_clean();
	cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	printf("%.0f %.0f\n", now(CLOCK_MONOTONIC) - wall, cpu);
	sqlite3_close(db);
	return 0;
}
