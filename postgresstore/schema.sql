-- Version 1. "rollcall_" stands for the prefix that the host has chosen.
--
-- created_at and beat_wall are nanoseconds since 1970 in UTC, by the clock of the
-- machine that wrote them. beat_awake is nanoseconds of awake time within beat_boot.
-- Columns of type timestamptz are by the clock of the server.
--
-- Keys are compared byte by byte (COLLATE "C"). The order of a locale may change,
-- which would break the indexes.

CREATE TABLE rollcall_schema (
  product text PRIMARY KEY,
  version integer NOT NULL
);

-- Numbers that are given out in the order in which transactions commit: one that
-- takes a number locks the row until it ends. "event" numbers the events, so that a
-- reader who has seen one has seen all below it; a sequence would not do that.
-- "epoch" numbers the leases.
CREATE TABLE rollcall_counters (
  name  text PRIMARY KEY,
  value bigint NOT NULL
) WITH (fillfactor = 10);

-- The registered records. epoch is that of the lease under which a record was
-- registered, or 0. data has type json, which keeps the text as it was given; jsonb
-- does not.
CREATE TABLE rollcall_records (
  seq         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name        text COLLATE "C" NOT NULL UNIQUE,
  incarnation text COLLATE "C" NOT NULL,
  owner       text COLLATE "C" NOT NULL CHECK (owner <> ''),
  epoch       bigint NOT NULL,
  phase       text NOT NULL,
  identity    text NOT NULL,
  created_at  bigint,
  beat_boot   text NOT NULL,
  beat_awake  bigint NOT NULL,
  beat_wall   bigint,
  parent      text COLLATE "C" NOT NULL,
  data        json
) WITH (fillfactor = 80);

CREATE INDEX rollcall_records_owner ON rollcall_records (owner, seq);
CREATE INDEX rollcall_records_parent ON rollcall_records (parent) WHERE parent <> '';

-- n grows with each registration, and each change of phase or process, of a record
-- of the owner.
CREATE TABLE rollcall_registrations (
  owner text COLLATE "C" PRIMARY KEY,
  n     bigint NOT NULL
) WITH (fillfactor = 30);

-- A key is bound to one record at a time; "record" is its seq.
CREATE TABLE rollcall_bindings (
  record bigint NOT NULL,
  key    text COLLATE "C" NOT NULL UNIQUE,
  PRIMARY KEY (record, key)
);

-- The stopped events. The unique key makes a second one for the same incarnation
-- impossible. snapshot has all of the record but its data, which column data keeps
-- as it was given. By its number in column call, a call whose connection was cut
-- during the commit finds out whether it wrote the event.
CREATE TABLE rollcall_events (
  seq         bigint PRIMARY KEY,
  at          timestamptz NOT NULL,
  name        text COLLATE "C" NOT NULL,
  incarnation text COLLATE "C" NOT NULL,
  action      text NOT NULL,
  by          text NOT NULL,
  reason      text NOT NULL,
  verdict     text NOT NULL,
  snapshot    jsonb NOT NULL,
  data        json,
  call        uuid NOT NULL,
  UNIQUE (name, incarnation)
);

CREATE TABLE rollcall_gate (
  owner text COLLATE "C" NOT NULL,
  key   text COLLATE "C" NOT NULL,
  value text NOT NULL,
  call  uuid NOT NULL,
  seq   bigint GENERATED ALWAYS AS IDENTITY,
  PRIMARY KEY (owner, key)
);

-- The leases, one for each machine. Once others have taken the machine for lost,
-- epoch is -1 and lost is the epoch up to which its records are to be stopped; lost
-- is 0 when none are left. since is when the machine began to beat without a gap.
CREATE TABLE rollcall_leases (
  owner   text COLLATE "C" PRIMARY KEY CHECK (owner <> ''),
  epoch   bigint NOT NULL,
  ttl     interval NOT NULL,
  beat_at timestamptz NOT NULL,
  since   timestamptz NOT NULL,
  lost    bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 30);

-- A machine that takes over locks one of these rows: no more than four do so at a
-- time.
CREATE TABLE rollcall_slots (slot integer PRIMARY KEY);

INSERT INTO rollcall_slots SELECT generate_series(1, 4);
INSERT INTO rollcall_counters (name, value) VALUES ('event', 0), ('epoch', 0);
INSERT INTO rollcall_schema (product, version) VALUES ('github.com/rollcall-go/rollcall/postgresstore', 1);
