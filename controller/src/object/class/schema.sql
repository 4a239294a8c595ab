-- Schemas, with public in whatever state it is, and a row for it even when it was dropped.
SELECT n.oid, n.nspname::text AS name, pg_catalog.pg_get_userbyid(n.nspowner)::text AS owner
FROM pg_catalog.pg_namespace n
WHERE (n.oid >= 16384 OR n.oid = 2200) AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
UNION ALL
SELECT 2200, NULL, NULL
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.oid = 2200)
ORDER BY 2
