-- The collations of the connected database's own, and those of the system that something in it is sorted by, except C and POSIX, which every
-- server has. The columns of later versions are read through to_jsonb(); before 15 the locale of ICU was in collcollate.
WITH used AS (
    SELECT a.attcollation AS oid, r.name
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c', 'i', 'I') AND c.relpersistence <> 't'
    CROSS JOIN LATERAL (SELECT pg_catalog.format('%s.%I', c.oid::pg_catalog.regclass, a.attname)) AS r (name)
    WHERE c.oid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped AND a.attcollation > 100
    UNION
    SELECT t.typcollation, t.oid::pg_catalog.regtype::text FROM pg_catalog.pg_type t WHERE t.typtype = 'd' AND t.oid >= 16384 AND t.typcollation > 100
    UNION
    SELECT r.rngcollation, r.rngtypid::pg_catalog.regtype::text FROM pg_catalog.pg_range r WHERE r.rngtypid >= 16384 AND r.rngcollation > 100
    UNION
    SELECT k.oid, p.partrelid::pg_catalog.regclass::text
    FROM pg_catalog.pg_partitioned_table p
    CROSS JOIN LATERAL pg_catalog.unnest(p.partcollation::oid[]) AS k (oid)
    WHERE k.oid > 100
)
SELECT n.nspname::text AS schema, c.collname::text AS name, pg_catalog.format('%I.%I', n.nspname, c.collname) AS object,
       n.nspname = 'pg_catalog' AS is_system, c.collprovider::text AS provider, c.collcollate::text AS collate, c.collctype::text AS ctype,
       COALESCE(j.row ->> 'colllocale', j.row ->> 'colliculocale', c.collcollate::text) AS locale, j.row ->> 'collicurules' AS rules,
       ARRAY(SELECT u.name FROM used u WHERE u.oid = c.oid ORDER BY u.name LIMIT 10) AS users,
       (SELECT count(*) FROM used u WHERE u.oid = c.oid) AS total
FROM pg_catalog.pg_collation c
JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
CROSS JOIN LATERAL (SELECT pg_catalog.to_jsonb(c)) AS j (row)
WHERE CASE WHEN n.nspname = 'pg_catalog' THEN c.oid NOT IN (100, 950, 951) AND EXISTS (SELECT FROM used u WHERE u.oid = c.oid)
           ELSE c.oid >= 16384 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' END
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
                  WHERE e.classid = 'pg_catalog.pg_collation'::pg_catalog.regclass AND e.objid = c.oid AND e.deptype = 'e')
ORDER BY c.oid
