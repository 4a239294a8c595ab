-- Who may do what: pg_monitor reads; members of migrator_operator (and superusers) act; nobody else gets anything.
-- The role belongs to the instance, so it may be there from another control database: it is used as it is.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'migrator_operator') THEN
        CREATE ROLE migrator_operator NOLOGIN;
    END IF;
END
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA migrator FROM PUBLIC;
GRANT USAGE ON SCHEMA migrator TO pg_monitor, migrator_operator;

GRANT SELECT ON migrator.mappings, migrator.databases, migrator.tables, migrator.sequences, migrator.roles, migrator.findings,
    migrator.events, migrator.lag_history, migrator.side_effects, migrator.requests, migrator.cutover_checks,
    -- The functions below run with their caller's rights, so their caller reads what they read.
    migrator.mapping, migrator.database, migrator.cutover_check
    TO pg_monitor, migrator_operator;
GRANT EXECUTE ON FUNCTION migrator.status(), migrator.cutover_ready(), migrator.cutover_ready(text), migrator.cutover_instructions(text),
    migrator.controller_seen(text) TO pg_monitor, migrator_operator;

-- Who asked and when, and what came of it, is not the operator's to write.
GRANT SELECT, INSERT (mapping, kind, arguments) ON migrator.request TO migrator_operator;
GRANT EXECUTE ON FUNCTION migrator.request(text, text, jsonb), migrator.cutover(text, interval), migrator.mark_complete(text),
    migrator.pause(text), migrator.resume(text), migrator.resync(text, text, text), migrator.verify(text, text, text) TO migrator_operator;
