-- What people read: psql, Grafana, the dashboard, the CLI. The shapes are a contract; columns are added, never changed.

CREATE VIEW migrator.mappings AS
    SELECT m.mapping, m.source, m.destination, m.source_version, m.destination_version, m.status, m.phase, m.started_at, m.updated_at,
           migrator.controller_seen(m.mapping) AS controller_running, m.copy_limit_bytes_per_second, m.slowed_down_by
    FROM migrator.mapping m;
COMMENT ON VIEW migrator.mappings IS 'One row a mapping: a source instance onto a destination instance.';

CREATE VIEW migrator.databases AS
    SELECT d.*, m.source, m.destination FROM migrator.database d JOIN migrator.mapping m USING (mapping);
COMMENT ON VIEW migrator.databases IS 'One row a database of a mapping: phase, progress, lag.';

CREATE VIEW migrator.tables AS SELECT * FROM migrator.table_state;
COMMENT ON VIEW migrator.tables IS 'One row a table that holds rows: ordinary tables and the leaves of partition trees.';

CREATE VIEW migrator.sequences AS SELECT * FROM migrator.sequence_state;
COMMENT ON VIEW migrator.sequences IS 'One row a sequence: the value last carried to the destination.';

CREATE VIEW migrator.roles AS SELECT * FROM migrator.role_state;
COMMENT ON VIEW migrator.roles IS 'One row a role of the source: created, merged into one that was there, skipped, or failed.';

CREATE VIEW migrator.findings AS SELECT * FROM migrator.finding;
COMMENT ON VIEW migrator.findings IS 'What to know or do, with object, reason and fix; resolved_at tells those that no longer hold.';

CREATE VIEW migrator.events AS SELECT * FROM migrator.event;
COMMENT ON VIEW migrator.events IS 'What happened, in order.';

CREATE VIEW migrator.lag_history AS SELECT * FROM migrator.lag_sample;
COMMENT ON VIEW migrator.lag_history IS 'The lag of each database over the last day.';

CREATE VIEW migrator.side_effects AS SELECT * FROM migrator.side_effect;
COMMENT ON VIEW migrator.side_effects IS 'The ledger: every change made to a source or the destination, and whether it has been undone.';

CREATE VIEW migrator.requests AS SELECT * FROM migrator.request;
COMMENT ON VIEW migrator.requests IS 'What operators asked for, how far it is and what came of it.';

CREATE VIEW migrator.cutover_checks AS SELECT * FROM migrator.cutover_check;
COMMENT ON VIEW migrator.cutover_checks IS 'One row per fact that a cutover needs: whether it holds, and if not, what to do.';

CREATE FUNCTION migrator.status()
    RETURNS TABLE (mapping text, source text, destination text, database text, status text, phase text,
                   tables_total bigint, tables_synced bigint, tables_in_catchup bigint, tables_problematic bigint,
                   bytes_total bigint, bytes_copied bigint, lag_bytes bigint, lag interval, eta interval, updated_at timestamptz, waiting_for text)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT m.mapping, m.source, m.destination, d.database,
           COALESCE(d.status, m.status)::text,
           COALESCE(d.phase, m.phase),
           COALESCE(d.tables_total, 0), COALESCE(d.tables_synced, 0), COALESCE(d.tables_in_catchup, 0), COALESCE(d.tables_problematic, 0),
           COALESCE(d.bytes_total, 0), COALESCE(d.bytes_copied, 0), d.lag_bytes, d.lag, d.eta,
           COALESCE(d.updated_at, m.updated_at), d.waiting_for
    FROM migrator.mapping m LEFT JOIN migrator.database d ON d.mapping = m.mapping
    ORDER BY m.mapping, d.database;
END;
COMMENT ON FUNCTION migrator.status() IS 'One row per mapping and database: where it stands, how much is copied, how far behind it is.';

CREATE FUNCTION migrator.cutover_ready()
    RETURNS TABLE (mapping text, ready boolean, blockers text[])
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT m.mapping,
           COALESCE(c.all_ok, false) AND migrator.controller_seen(m.mapping) AND m.phase NOT IN ('cut_over', 'complete'),
           CASE WHEN m.phase = 'complete' THEN ARRAY['the mapping is complete']
                WHEN m.phase = 'cut_over' THEN ARRAY['the mapping has been cut over']
                WHEN NOT migrator.controller_seen(m.mapping)
                THEN COALESCE(c.failed, '{}') || ('no controller has looked after this mapping since ' || m.updated_at || ': start pg-migrator run')
                WHEN c.mapping IS NULL THEN ARRAY['nothing has been checked yet']
                ELSE COALESCE(c.failed, '{}') END
    FROM migrator.mapping m
    LEFT JOIN (SELECT k.mapping, bool_and(k.ok) AS all_ok,
                      array_agg(CASE WHEN k.database = '' THEN '' ELSE k.database || ': ' END || k.name || ': ' || k.detail
                                ORDER BY k.database, k.name) FILTER (WHERE NOT k.ok) AS failed
               FROM migrator.cutover_check k GROUP BY k.mapping) c ON c.mapping = m.mapping
    ORDER BY m.mapping;
END;
COMMENT ON FUNCTION migrator.cutover_ready() IS 'One row a mapping: whether every fact needed for a cutover holds, and those that do not.';

CREATE FUNCTION migrator.cutover_ready(mapping text) RETURNS boolean
    LANGUAGE sql STABLE STRICT
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT COALESCE((SELECT r.ready FROM migrator.cutover_ready() r WHERE r.mapping = cutover_ready.mapping), false);
END;
COMMENT ON FUNCTION migrator.cutover_ready(text) IS 'Whether every fact needed for a cutover of this mapping holds; false for a mapping that does not exist.';

CREATE FUNCTION migrator.cutover_instructions(mapping text) RETURNS SETOF text
    LANGUAGE sql STABLE STRICT
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT step FROM (
        SELECT 10 AS n, '' AS sort, format('1. On the destination, in this database: select * from migrator.cutover_ready() where mapping = %L; go on only when it is ready.', m.mapping) AS step
            FROM migrator.mapping m WHERE m.mapping = cutover_instructions.mapping
        UNION ALL
        SELECT 20, d.database, format('2. On the source %s, stop the writers of %s: ALTER DATABASE %I SET default_transaction_read_only = on; then end their sessions: '
                   'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %L AND pid <> pg_backend_pid() AND application_name NOT LIKE ''pg-migrator%%'' AND application_name NOT LIKE ''pg_migrator%%'';',
                   m.source, d.database, d.database, d.database)
            FROM migrator.mapping m JOIN migrator.database d ON d.mapping = m.mapping WHERE m.mapping = cutover_instructions.mapping
        UNION ALL
        SELECT 30, '', format('3. Wait for ready again: SELECT migrator.cutover_ready(%L); the lag of every database in migrator.status() must be 0 bytes.', m.mapping)
            FROM migrator.mapping m WHERE m.mapping = cutover_instructions.mapping
        UNION ALL
        SELECT 40, '', format('4. SELECT migrator.mark_complete(%L); it carries the sequences over a last time, copies again what the stream does not carry, switches '
                   'triggers on, and removes what it needed. Wait until its row in migrator.requests has finished; nobody may use the destination before.', m.mapping)
            FROM migrator.mapping m WHERE m.mapping = cutover_instructions.mapping
        UNION ALL
        SELECT 45, k.database, format('   %s, what the stream does not carry: %s.', k.database, k.detail)
            FROM migrator.cutover_check k WHERE k.mapping = cutover_instructions.mapping AND k.name = 'carried_beside'
        UNION ALL
        SELECT 50, '', format('5. Point the applications at %s. If the old server is to be written to again: ALTER DATABASE … RESET default_transaction_read_only. Instead of steps 2 to 4 the assisted way is: SELECT migrator.cutover(%L);', m.destination, m.mapping)
            FROM migrator.mapping m WHERE m.mapping = cutover_instructions.mapping
    ) steps ORDER BY n, sort;
END;
COMMENT ON FUNCTION migrator.cutover_instructions(text) IS 'The steps of a manual cutover, with the real names of this mapping.';
