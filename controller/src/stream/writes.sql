-- Rows written to each table since the server's statistics were reset.
SELECT c.oid, pg_catalog.pg_stat_get_tuples_inserted(c.oid) + pg_catalog.pg_stat_get_tuples_updated(c.oid)
              + pg_catalog.pg_stat_get_tuples_deleted(c.oid) AS written
FROM pg_catalog.pg_class c WHERE c.relkind = 'r' AND c.oid >= 16384
