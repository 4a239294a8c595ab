-- How the workers of the enabled subscriptions with the OIDs $1 do. Their errors are counted since the statistics were reset.
SELECT s.oid, s.subbinary AS binary,
       EXISTS (SELECT FROM pg_catalog.pg_stat_subscription w
               WHERE w.subid = s.oid AND w.pid IS NOT NULL AND w.relid IS NULL) AS running,
       COALESCE(t.apply_error_count, 0) AS errors,
       COALESCE(t.confl_update_missing + t.confl_delete_missing, 0) AS missing,
       COALESCE(o.remote_lsn, '0/0') AS applied
FROM pg_catalog.pg_subscription s
LEFT JOIN pg_catalog.pg_stat_subscription_stats t ON t.subid = s.oid
LEFT JOIN pg_catalog.pg_replication_origin_status o ON o.external_id = 'pg_' || s.oid
WHERE s.oid = ANY ($1) AND s.subenabled
