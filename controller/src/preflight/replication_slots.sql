-- Room for replication on a source; $1 is a regular expression for the names of our own slots. WAL senders of ours carry the name of
-- their slot or of the tool as application_name.
SELECT pg_catalog.current_setting('max_replication_slots')::bigint AS max_slots,
       (SELECT count(*) FROM pg_catalog.pg_replication_slots) AS slots,
       (SELECT count(*) FROM pg_catalog.pg_replication_slots WHERE slot_name::text ~ $1) AS own_slots,
       pg_catalog.current_setting('max_wal_senders')::bigint AS max_senders,
       (SELECT count(*) FROM pg_catalog.pg_stat_replication) AS senders,
       (SELECT count(*) FROM pg_catalog.pg_stat_replication r
        WHERE r.application_name ~ $1
           OR r.pid IN (SELECT s.active_pid FROM pg_catalog.pg_replication_slots s
                        WHERE s.slot_name::text ~ $1)) AS own_senders,
       pg_catalog.current_setting('max_connections')::bigint
           - pg_catalog.current_setting('superuser_reserved_connections')::bigint AS max_connections,
       (SELECT count(*) FROM pg_catalog.pg_stat_activity
        WHERE backend_type = 'client backend' AND application_name !~ '^pg[-_]migrator') AS connections,
       COALESCE(pg_catalog.current_setting('max_slot_wal_keep_size', true), '-1') AS max_slot_wal_keep_size
