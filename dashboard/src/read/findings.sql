-- The open findings of every mapping, the worst first, at most $1 a mapping.
SELECT f.*
FROM (SELECT f.mapping, f.database, f.severity, f.code, f.object, f.reason, f.fix, f.statement,
             to_char(f.found_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS found_at,
             row_number() OVER (PARTITION BY f.mapping
                                ORDER BY array_position(ARRAY['error', 'warning', 'info'], f.severity), f.database, f.id) AS place
      FROM migrator.findings f
      WHERE f.resolved_at IS NULL) f
WHERE f.place <= $1
ORDER BY f.mapping, f.place
