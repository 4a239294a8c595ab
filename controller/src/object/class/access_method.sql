-- Access methods of tables and indexes.
SELECT a.oid, a.amname::text AS name, a.amtype = 't' AS is_table, a.amhandler::oid::regproc::text AS handler
FROM pg_catalog.pg_am a
WHERE a.oid >= 16384
