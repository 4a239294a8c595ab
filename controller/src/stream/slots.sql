-- The replication slots of the names $1. Their wal_status came with 13.
SELECT slot_name::text, plugin = 'pgoutput' AND database = current_database() AS ours, active,
       confirmed_flush_lsn, restart_lsn, to_jsonb(s) ->> 'wal_status' AS wal_status
FROM pg_catalog.pg_replication_slots s WHERE slot_name = ANY ($1::text[])
