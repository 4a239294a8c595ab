-- The latest five requests of every mapping, the newest first.
SELECT m.mapping, r.kind, r.requested_by, r.succeeded, r.report,
       to_char(r.requested_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS requested_at,
       r.started_at IS NOT NULL AS started
FROM migrator.mappings m
CROSS JOIN LATERAL (SELECT q.*
                    FROM migrator.requests q
                    WHERE q.mapping = m.mapping
                    ORDER BY q.id DESC
                    LIMIT 5) r
ORDER BY m.mapping, r.id DESC
