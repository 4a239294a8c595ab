-- The latest $1 events of every mapping, the newest first.
SELECT m.mapping, e.database, e.level, e.message,
       to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS at
FROM migrator.mappings m
CROSS JOIN LATERAL (SELECT e.id, e.at, e.database, e.level, e.message
                    FROM migrator.events e
                    WHERE e.mapping = m.mapping
                    ORDER BY e.at DESC, e.id DESC
                    LIMIT $1) e
ORDER BY m.mapping, e.at DESC, e.id DESC
