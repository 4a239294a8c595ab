-- Tables with extended statistics.
SELECT DISTINCT n.nspname::text, c.relname::text
FROM pg_catalog.pg_statistic_ext e
JOIN pg_catalog.pg_class c ON c.oid = e.stxrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
ORDER BY 1, 2
