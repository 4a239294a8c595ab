-- Ends the sessions of the connected database that began no later than $1: users' sessions and their helpers, not the server's own workers and
-- not ours.
SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
WHERE datname = current_database() AND pid <> pg_catalog.pg_backend_pid() AND backend_start <= $1::text::timestamptz
  AND application_name NOT LIKE 'pg-migrator/%'
  AND backend_type NOT IN ('walsender', 'autovacuum worker', 'parallel worker', 'logical replication worker',
                           'logical replication apply worker', 'logical replication tablesync worker',
                           'logical replication parallel worker', 'slotsync worker')
