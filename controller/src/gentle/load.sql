-- The load of a source apart from ours: sessions at work that do not wait for their client or sleep, and the lag of physical standbys.
-- replay_lag goes to null when a standby has caught up and nothing is written.
SELECT (SELECT count(*) FROM pg_catalog.pg_stat_activity
        WHERE state = 'active' AND backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid()
          AND application_name NOT LIKE 'pg-migrator/%'
          AND COALESCE(wait_event_type, '') NOT IN ('Client', 'Timeout', 'Activity', 'Extension')) AS active_sessions,
       COALESCE(extract(epoch FROM max(r.replay_lag)), 0)::float8 AS standby_lag,
       COALESCE(max(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), r.replay_lsn)), 0)::bigint AS standby_lag_bytes
FROM pg_catalog.pg_stat_replication r
WHERE r.state IN ('streaming', 'catchup')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_replication_slots s WHERE s.active_pid = r.pid AND s.slot_type = 'logical')
