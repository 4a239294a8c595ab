-- Room for subscriptions on a destination; $1 is a regular expression for the names of our own.
SELECT pg_catalog.current_setting('max_logical_replication_workers')::bigint AS max_workers,
       (SELECT count(*) FROM pg_catalog.pg_subscription s
        WHERE s.subenabled AND s.subname::text !~ $1) AS other_workers,
       pg_catalog.current_setting('max_worker_processes')::bigint AS max_processes,
       -- Background workers of others that stay: neither apply workers nor those that help a query for a moment.
       (SELECT count(*) FROM pg_catalog.pg_stat_activity a
        WHERE a.backend_type NOT IN ('client backend', 'walsender', 'walwriter', 'checkpointer', 'background writer', 'archiver',
                                     'startup', 'walreceiver', 'walsummarizer', 'slotsync worker', 'autovacuum launcher',
                                     'autovacuum worker', 'io worker', 'parallel worker', 'logical replication apply worker',
                                     'logical replication parallel worker', 'logical replication tablesync worker',
                                     'standalone backend')) AS other_processes,
       pg_catalog.current_setting('max_active_replication_origins')::bigint AS max_origins,
       (SELECT count(*) FROM pg_catalog.pg_replication_origin o
        WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_subscription s
                          WHERE o.roname = 'pg_' || s.oid::text
                            AND s.subname::text ~ $1)) AS other_origins,
       pg_catalog.current_setting('max_connections')::bigint
           - pg_catalog.current_setting('superuser_reserved_connections')::bigint AS max_connections,
       (SELECT count(*) FROM pg_catalog.pg_stat_activity
        WHERE backend_type = 'client backend' AND application_name !~ '^pg[-_]migrator') AS connections
