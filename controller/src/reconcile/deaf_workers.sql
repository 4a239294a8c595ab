-- The apply workers of the subscriptions $1 that wait for a message, outside of any transaction, and have had none for $2 seconds.
SELECT w.subid, w.pid
FROM pg_catalog.pg_stat_subscription w JOIN pg_catalog.pg_stat_activity a ON a.pid = w.pid
WHERE w.subid = ANY ($1) AND w.relid IS NULL AND w.leader_pid IS NULL
  AND a.wait_event = 'LogicalApplyMain' AND a.xact_start IS NULL
  AND GREATEST(a.backend_start, w.last_msg_receipt_time) < pg_catalog.clock_timestamp() - $2::float8 * interval '1 second'
