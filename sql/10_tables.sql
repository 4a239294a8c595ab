-- Tables of the control database, in four groups:
--   side_effect   the ledger: every change made on either side, written before it is made
--   carried_table what each table was right before it was copied, to tell what has happened to it since of which the stream tells nothing
--   request       what the operator asked for
--   the rest      a projection for people, rewritten by the controller at every tick; nothing is decided from it
-- Times are timestamptz; sizes and lags are bytes; names are the servers' own, unquoted.

CREATE TYPE migrator.status AS ENUM
    ('pending', 'in_catchup', 'synced', 'cutover_ready', 'problematic', 'complete');
COMMENT ON TYPE migrator.status IS
    'Where a mapping, database or table stands: not begun, copying or catching up, in step, ready to switch over, in need of attention, done.';

-- The ledger. A row is written before the effect and kept for good; undone_at says when the effect was taken back.
CREATE TABLE migrator.side_effect (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mapping    text        NOT NULL,
    side       text        NOT NULL CHECK (side IN ('source', 'destination')),
    database   text        NOT NULL,
    kind       text        NOT NULL CHECK (kind IN ('role', 'membership', 'database', 'publication', 'slot', 'subscription',
                                                    'replica_identity', 'write_block', 'detached', 'replay_pause',
                                                    'switched_on', 'setting')),
    object     text        NOT NULL,
    detail     jsonb       NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    undone_at  timestamptz,
    outcome    text
);
COMMENT ON TABLE migrator.side_effect IS
    'Ledger of every change pg-migrator made to a source or a destination. What it does not name is not ours and is never dropped.';
CREATE UNIQUE INDEX side_effect_open ON migrator.side_effect (mapping, side, database, kind, object) WHERE undone_at IS NULL;

CREATE TABLE migrator.carried_table (
    mapping         text    NOT NULL,
    database        text    NOT NULL,
    table_oid       oid     NOT NULL,
    schema          text    NOT NULL,
    name            text    NOT NULL,
    destination_oid oid     NOT NULL,
    file            oid     NOT NULL,
    published       text    NOT NULL,
    columns         text    NOT NULL,
    attributes      text    NOT NULL,
    doubt           text    CHECK (doubt IN ('columns', 'unknown', 'republished', 'replaced', 'forked')),
    version         integer NOT NULL DEFAULT 0,
    PRIMARY KEY (mapping, database, table_oid)
);
COMMENT ON TABLE migrator.carried_table IS
    'What a table of a source was right before it was copied, and what has happened to it since because of which changes may be missing.';
COMMENT ON COLUMN migrator.carried_table.table_oid IS 'OID on the source; destination_oid is the one of the table that it was copied into.';
COMMENT ON COLUMN migrator.carried_table.file IS 'relfilenode: TRUNCATE, which a source before version 11 does not publish, gives it another.';
COMMENT ON COLUMN migrator.carried_table.published IS 'How it is in our publication: another text means that it was not for a while, or not all of it.';
COMMENT ON COLUMN migrator.carried_table.doubt IS
    'What has happened to it. Over when it is copied anew, or has been proved equal as it was written down in this version.';
CREATE INDEX carried_table_in_doubt ON migrator.carried_table (mapping, database) WHERE doubt IS NOT NULL;

CREATE TABLE migrator.request (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mapping      text        NOT NULL,
    kind         text        NOT NULL CHECK (kind IN ('cutover', 'complete', 'pause', 'resume', 'resync', 'verify')),
    arguments    jsonb       NOT NULL DEFAULT '{}',
    requested_by text        NOT NULL DEFAULT session_user,
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at   timestamptz,
    finished_at  timestamptz,
    succeeded    boolean,
    report       jsonb,
    CHECK ((finished_at IS NULL) = (succeeded IS NULL))
);
COMMENT ON TABLE migrator.request IS 'What operators asked for, in order, and what came of it.';
-- One request of a kind at a time for a mapping: a second call while one runs is told so instead of queueing up. Copies and
-- comparisons may be asked for side by side as long as they are of different things.
CREATE UNIQUE INDEX request_open ON migrator.request
    (mapping, kind, (CASE WHEN kind IN ('resync', 'verify') THEN arguments ELSE '{}' END)) WHERE finished_at IS NULL;

CREATE TABLE migrator.mapping (
    mapping             text PRIMARY KEY,
    source              text NOT NULL,
    destination         text NOT NULL,
    source_version      integer,
    destination_version integer,
    status              migrator.status NOT NULL DEFAULT 'pending',
    phase               text NOT NULL DEFAULT 'pending',
    copy_limit_bytes_per_second bigint,
    slowed_down_by      text,
    started_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at          timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON COLUMN migrator.mapping.updated_at IS 'When the controller last looked; an old value means that no controller runs.';

CREATE TABLE migrator.database (
    mapping            text NOT NULL REFERENCES migrator.mapping ON DELETE CASCADE,
    database           text NOT NULL,
    status             migrator.status NOT NULL DEFAULT 'pending',
    phase              text NOT NULL DEFAULT 'pending',
    waiting_for        text,
    tables_total       bigint NOT NULL DEFAULT 0,
    tables_synced      bigint NOT NULL DEFAULT 0,
    tables_in_catchup  bigint NOT NULL DEFAULT 0,
    tables_problematic bigint NOT NULL DEFAULT 0,
    statements_total   bigint NOT NULL DEFAULT 0,
    statements_done    bigint NOT NULL DEFAULT 0,
    bytes_total        bigint NOT NULL DEFAULT 0,
    bytes_copied       bigint NOT NULL DEFAULT 0,
    bytes_per_second   double precision,
    source_lsn         pg_lsn,
    applied_lsn        pg_lsn,
    lag_bytes          bigint,
    lag                interval,
    wal_retained_bytes bigint,
    eta                interval,
    wal_limit_bytes    bigint,
    wal_limit_in       interval,
    updated_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (mapping, database)
);
COMMENT ON COLUMN migrator.mapping.copy_limit_bytes_per_second IS 'COPY bytes a second that all mappings of the source together may take now; null for no limit.';
COMMENT ON COLUMN migrator.mapping.slowed_down_by IS 'What about the source slows the copy down beside the setting, in words.';
COMMENT ON COLUMN migrator.database.wal_limit_bytes IS 'How much WAL the source may keep for the slot: max_slot_wal_keep_size or wal_limit, the smaller.';
COMMENT ON COLUMN migrator.database.wal_limit_in IS 'When that will be reached, if things go on as in the last minutes.';
COMMENT ON COLUMN migrator.database.waiting_for IS 'What this database waits for, in words, where it waits.';
COMMENT ON COLUMN migrator.database.lag_bytes IS 'WAL on the source that the destination has not yet confirmed as applied and flushed.';
COMMENT ON COLUMN migrator.database.lag IS 'Age of the oldest change on the source that is not yet applied.';

CREATE TABLE migrator.table_state (
    mapping      text NOT NULL,
    database     text NOT NULL,
    schema       text NOT NULL,
    name         text NOT NULL,
    status       migrator.status NOT NULL DEFAULT 'pending',
    state        text NOT NULL DEFAULT 'pending',
    bytes_total  bigint NOT NULL DEFAULT 0,
    bytes_copied bigint NOT NULL DEFAULT 0,
    rows_copied  bigint NOT NULL DEFAULT 0,
    copied_lsn   pg_lsn,
    replica_identity text,
    problem      text,
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (mapping, database, schema, name),
    FOREIGN KEY (mapping, database) REFERENCES migrator.database ON DELETE CASCADE
);
COMMENT ON COLUMN migrator.table_state.state IS 'pending, copying, copied, catchup, streaming, or failed.';
COMMENT ON COLUMN migrator.table_state.bytes_total IS 'Size of the table on the source without its indexes, as of the last look.';
COMMENT ON COLUMN migrator.table_state.bytes_copied IS 'COPY bytes moved so far; the COPY form of a table is not the size of its file.';

CREATE TABLE migrator.sequence_state (
    mapping    text NOT NULL,
    database   text NOT NULL,
    schema     text NOT NULL,
    name       text NOT NULL,
    last_value bigint NOT NULL,
    is_called  boolean NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (mapping, database, schema, name),
    FOREIGN KEY (mapping, database) REFERENCES migrator.database ON DELETE CASCADE
);
COMMENT ON COLUMN migrator.sequence_state.last_value IS 'The value last carried to the destination.';

CREATE TABLE migrator.role_state (
    mapping    text NOT NULL REFERENCES migrator.mapping ON DELETE CASCADE,
    role       text NOT NULL,
    state      text NOT NULL CHECK (state IN ('created', 'merged', 'skipped', 'failed')),
    problem    text,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (mapping, role)
);

-- What an operator should know or do. A finding that no longer holds is resolved, not deleted.
CREATE TABLE migrator.finding (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mapping     text NOT NULL,
    database    text NOT NULL DEFAULT '',
    severity    text NOT NULL CHECK (severity IN ('error', 'warning', 'info')),
    code        text NOT NULL,
    object      text NOT NULL,
    reason      text NOT NULL,
    fix         text NOT NULL,
    statement   text,
    found_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    resolved_at timestamptz
);
CREATE UNIQUE INDEX finding_open ON migrator.finding (mapping, database, code, object) WHERE resolved_at IS NULL;
COMMENT ON COLUMN migrator.finding.statement IS 'The statement that failed, where one did; never one that carries a password.';

CREATE TABLE migrator.event (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    mapping  text NOT NULL,
    database text NOT NULL DEFAULT '',
    level    text NOT NULL CHECK (level IN ('info', 'warning', 'error')),
    message  text NOT NULL
);
CREATE INDEX event_at ON migrator.event (mapping, at);

CREATE TABLE migrator.lag_sample (
    mapping   text NOT NULL,
    database  text NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    lag_bytes bigint NOT NULL,
    lag       interval,
    PRIMARY KEY (mapping, database, at)
);
COMMENT ON TABLE migrator.lag_sample IS 'One sample a tick, kept for a day.';

CREATE TABLE migrator.cutover_check (
    mapping    text NOT NULL REFERENCES migrator.mapping ON DELETE CASCADE,
    database   text NOT NULL,
    name       text NOT NULL,
    ok         boolean NOT NULL,
    detail     text NOT NULL,
    fix        text NOT NULL DEFAULT '',
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (mapping, database, name)
);

-- pg_dump of a control database carries every row: the extension makes the tables, the dump fills them. Identity sequences too,
-- so that new rows do not take the numbers of restored ones.
-- One command a relation, since each updates the extension's one catalog row.
DO $$
DECLARE
    relation regclass;
BEGIN
    FOR relation IN
        SELECT c.oid FROM pg_catalog.pg_class c
        WHERE c.relnamespace = 'migrator'::regnamespace AND c.relkind IN ('r', 'S') ORDER BY c.oid
    LOOP
        PERFORM pg_catalog.pg_extension_config_dump(relation, '');
    END LOOP;
END
$$;
