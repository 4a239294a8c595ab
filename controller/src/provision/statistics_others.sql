-- Relations whose statistics do not come with a table: tables smaller than $1 bytes, parents with all their children, expressions of indexes,
-- materialized views; with the number of rows of small tables, unless it is 0, which before 14 may also mean unknown.
SELECT DISTINCT s.schemaname::text, s.tablename::text, s.inherited,
       CASE WHEN c.relkind = 'r' AND c.reltuples > 0 THEN c.reltuples::float8 END AS rows
FROM pg_catalog.pg_stats s
JOIN pg_catalog.pg_namespace n ON n.nspname = s.schemaname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = s.tablename
WHERE s.schemaname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND (s.inherited OR c.relkind IN ('i', 'm')
       OR (c.relkind = 'r' AND c.relpersistence = 'p' AND pg_catalog.pg_relation_size(c.oid) < $1))
ORDER BY 3, 1, 2
