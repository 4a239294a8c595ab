-- Every mapping with its readiness. Ages are measured by the server that wrote the times, so that clocks need not agree.
SELECT m.mapping, m.source, m.destination, m.source_version, m.destination_version, m.status::text AS status, m.phase,
       extract(epoch FROM m.updated_at - m.started_at)::float8 AS elapsed_seconds,
       extract(epoch FROM m.updated_at)::float8 AS updated_at_seconds,
       extract(epoch FROM clock_timestamp() - m.updated_at)::float8 AS age_seconds,
       m.controller_running, m.copy_limit_bytes_per_second, m.slowed_down_by,
       COALESCE(r.ready, false) AS ready,
       COALESCE(r.blockers, '{}') AS blockers
FROM migrator.mappings m
LEFT JOIN migrator.cutover_ready() r ON r.mapping = m.mapping
ORDER BY m.mapping
