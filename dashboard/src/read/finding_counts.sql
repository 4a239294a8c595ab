-- How many findings of each severity are open.
SELECT f.mapping, f.severity, count(*) AS open
FROM migrator.findings f
WHERE f.resolved_at IS NULL
GROUP BY f.mapping, f.severity
