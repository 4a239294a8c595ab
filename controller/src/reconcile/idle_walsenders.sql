-- Of the slots $1 those whose walsenders have sent all there is, and wait for more to be written.
SELECT s.slot_name::text, a.pid
FROM pg_catalog.pg_replication_slots s JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid
WHERE s.slot_name = ANY ($1::text[]) AND lower(a.wait_event) IN ('walsendermain', 'walsenderwaitforwal')
