-- The collations that something in the connected database is sorted by, and what depends on their order. A collation of C or POSIX has no
-- version. The columns of later versions are read through to_jsonb(); the database's own collation has the OID 100.
WITH used AS (
    SELECT a.attcollation AS oid, 'index' AS kind, c.oid::pg_catalog.regclass::text AS name
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    WHERE c.relkind = 'i' AND c.oid >= 16384 AND a.attcollation <> 0
    UNION
    SELECT a.attcollation, 'materialized view', c.oid::pg_catalog.regclass::text
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    WHERE c.relkind = 'm' AND c.oid >= 16384 AND a.attcollation <> 0
    UNION
    -- Which partition a row belongs to.
    SELECT k.oid, 'partition key', p.partrelid::pg_catalog.regclass::text
    FROM pg_catalog.pg_partitioned_table p
    CROSS JOIN LATERAL pg_catalog.unnest(p.partcollation::oid[]) AS k(oid)
    WHERE p.partstrat = 'r' AND k.oid <> 0
    UNION
    SELECT a.attcollation, 'check', pg_catalog.format('%s.%I', con.conrelid::pg_catalog.regclass, con.conname)
    FROM pg_catalog.pg_constraint con
    JOIN pg_catalog.pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = ANY (con.conkey)
    WHERE con.contype = 'c' AND con.conislocal AND con.conrelid <> 0 AND con.oid >= 16384 AND a.attcollation <> 0
      AND pg_catalog.pg_get_constraintdef(con.oid) ~ '[<>]|BETWEEN'
)
SELECT CASE WHEN c.oid <> 100 THEN pg_catalog.format('%I.%I', n.nspname, c.collname) END AS name,
       c.collprovider::text AS provider,
       COALESCE(j.row ->> 'colllocale', j.row ->> 'colliculocale', c.collcollate::text) AS locale,
       c.collversion AS recorded,
       count(*) FILTER (WHERE u.kind = 'index') AS indexes,
       count(*) FILTER (WHERE u.kind = 'materialized view') AS materialized_views,
       COALESCE(pg_catalog.array_agg(u.kind || ' ' || u.name ORDER BY u.kind DESC, u.name)
                FILTER (WHERE u.kind IN ('partition key', 'check')), '{}') AS conditions
FROM used u
JOIN pg_catalog.pg_collation c ON c.oid = u.oid
JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
CROSS JOIN LATERAL (SELECT pg_catalog.to_jsonb(c)) AS j(row)
GROUP BY c.oid, c.collname, n.nspname, c.collprovider, c.collversion, c.collcollate, j.row
ORDER BY c.oid
