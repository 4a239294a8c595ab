-- Slots that are neither ours nor a session's own.
SELECT s.slot_name::text AS name, s.plugin::text AS plugin, s.database::text AS database, s.active
FROM pg_catalog.pg_replication_slots s
WHERE NOT s.temporary AND s.slot_name::text !~ '^pg_migrator_'
ORDER BY 1
