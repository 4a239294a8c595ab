-- What the working sessions of the application name $1 in the database $2 wait for, and for whom; in a few words each.
SELECT string_agg(format('pid %s waits for %s %s%s: %s', pid, lower(wait_event_type), wait_event,
                         CASE WHEN pg_catalog.cardinality(blockers) > 0 THEN ' held by pid ' || pg_catalog.array_to_string(blockers, ', ') ELSE '' END,
                         pg_catalog.left(query, 60)), '; ' ORDER BY pid)
FROM (SELECT *, pg_catalog.pg_blocking_pids(pid) AS blockers FROM pg_catalog.pg_stat_activity
      WHERE application_name = $1 AND datname = $2 AND state = 'active' AND pid <> pg_catalog.pg_backend_pid()) a
WHERE wait_event IS NOT NULL
