-- What the source keeps for each of our slots ($1), and how much it may: max_slot_wal_keep_size (since 13, in MB), -1 for no limit.
SELECT slot_name::text,
       pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn)::bigint AS kept,
       (SELECT setting::bigint * 1048576 FROM pg_catalog.pg_settings
        WHERE name = 'max_slot_wal_keep_size' AND setting <> '-1') AS keep_at_most
FROM pg_catalog.pg_replication_slots
WHERE slot_name = ANY ($1::text[]) AND restart_lsn IS NOT NULL
