-- Every database of every mapping.
SELECT d.mapping, d.database, d.status::text AS status, d.phase, d.waiting_for,
       d.tables_total, d.tables_synced, d.tables_in_catchup, d.tables_problematic, d.statements_total, d.statements_done,
       d.bytes_total, d.bytes_copied, d.bytes_per_second, d.lag_bytes, d.wal_retained_bytes, d.wal_limit_bytes,
       extract(epoch FROM d.wal_limit_in)::float8 AS wal_limit_in_seconds,
       extract(epoch FROM d.lag)::float8 AS lag_seconds,
       extract(epoch FROM d.eta)::float8 AS eta_seconds
FROM migrator.databases d
ORDER BY d.mapping, d.database
