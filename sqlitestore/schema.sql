-- Version 1. "rollcall_" stands for the prefix that the host has chosen.
-- Times are nanoseconds: *_at and *_wall since 1970 in UTC, beat_awake of
-- awake time within beat_boot.

-- registrations is another number after each registering and each change of a
-- phase, so that a reader of all records knows when there is something new.
CREATE TABLE rollcall_schema (
  product       TEXT PRIMARY KEY,
  version       INTEGER NOT NULL,
  registrations INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- The registered records. seq grows with time, so that reading and deleting
-- in its order walks through the file once.
CREATE TABLE rollcall_records (
  seq         INTEGER PRIMARY KEY,
  name        TEXT NOT NULL UNIQUE,
  incarnation TEXT NOT NULL,
  owner       TEXT NOT NULL,
  phase       TEXT NOT NULL,
  identity    TEXT NOT NULL,
  created_at  INTEGER NOT NULL,
  beat_boot   TEXT NOT NULL,
  beat_awake  INTEGER NOT NULL,
  beat_wall   INTEGER,
  parent      TEXT NOT NULL,
  data        TEXT
);

CREATE INDEX rollcall_records_parent ON rollcall_records (parent) WHERE parent <> '';

-- A key is bound to one record at a time; "record" is its seq.
CREATE TABLE rollcall_bindings (
  record INTEGER NOT NULL,
  key    TEXT NOT NULL UNIQUE,
  PRIMARY KEY (record, key)
) WITHOUT ROWID;

-- The stopped events. The unique key is what makes a second one for the same
-- incarnation impossible, whoever writes it; it also finds the newest snapshot
-- of a name.
CREATE TABLE rollcall_events (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  at          INTEGER NOT NULL,
  name        TEXT NOT NULL,
  incarnation TEXT NOT NULL,
  action      TEXT NOT NULL,
  by          TEXT NOT NULL,
  reason      TEXT NOT NULL,
  verdict     TEXT NOT NULL,
  snapshot    TEXT NOT NULL,
  UNIQUE (name, incarnation)
);

CREATE TABLE rollcall_gate (
  seq   INTEGER PRIMARY KEY,
  key   TEXT NOT NULL UNIQUE,
  value TEXT NOT NULL
);

INSERT INTO rollcall_schema (product, version) VALUES ('github.com/rollcall-go/rollcall/sqlitestore', 1);
