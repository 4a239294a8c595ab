-- Privileges that differ from the built-in default, exploded, in the order in which they are stored.
-- The public schema is compared with nothing (a column's default), since it is born with more than a schema is made with, and with less
-- from 15 on: what it has is always spelled out, also if that is what any schema has (it was dropped and made), or nothing.
WITH object AS (
    SELECT 1259::oid AS catalog, c.oid, 0 AS column_number, c.relowner AS owner, c.relacl AS acl,
           pg_catalog.acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner) AS base
    FROM pg_catalog.pg_class c
    WHERE c.relacl IS NOT NULL AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.oid >= 16384
    UNION ALL
    SELECT 1259, a.attrelid, a.attnum, c.relowner, a.attacl, pg_catalog.acldefault('c', c.relowner)
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    WHERE a.attacl IS NOT NULL AND NOT a.attisdropped AND c.oid >= 16384
    UNION ALL
    SELECT 1255, p.oid, 0, p.proowner, p.proacl, pg_catalog.acldefault('f', p.proowner)
    FROM pg_catalog.pg_proc p WHERE p.proacl IS NOT NULL AND p.oid >= 16384
    UNION ALL
    SELECT 1247, t.oid, 0, t.typowner, t.typacl, pg_catalog.acldefault('T', t.typowner)
    FROM pg_catalog.pg_type t WHERE t.typacl IS NOT NULL AND t.oid >= 16384
    UNION ALL
    SELECT 2615, n.oid, 0, n.nspowner, coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner)),
           pg_catalog.acldefault(CASE n.nspname WHEN 'public' THEN 'c' ELSE 'n' END::"char", n.nspowner)
    FROM pg_catalog.pg_namespace n WHERE (n.nspacl IS NOT NULL OR n.nspname = 'public') AND (n.oid >= 16384 OR n.oid = 2200)
    UNION ALL
    SELECT 2612, l.oid, 0, l.lanowner, l.lanacl, pg_catalog.acldefault('l', l.lanowner)
    FROM pg_catalog.pg_language l WHERE l.lanacl IS NOT NULL AND l.oid >= 16384
    UNION ALL
    SELECT 2328, w.oid, 0, w.fdwowner, w.fdwacl, pg_catalog.acldefault('F', w.fdwowner)
    FROM pg_catalog.pg_foreign_data_wrapper w WHERE w.fdwacl IS NOT NULL AND w.oid >= 16384
    UNION ALL
    SELECT 1417, s.oid, 0, s.srvowner, s.srvacl, pg_catalog.acldefault('S', s.srvowner)
    FROM pg_catalog.pg_foreign_server s WHERE s.srvacl IS NOT NULL AND s.oid >= 16384
)
SELECT o.catalog, o.oid, o.column_number, pg_catalog.pg_get_userbyid(o.owner)::text AS owner,
       coalesce(item.grantors, '{}') AS grantors, coalesce(item.grantees, '{}') AS grantees,
       coalesce(item.privileges, '{}') AS privileges, coalesce(item.grantable, '{}') AS grantable, coalesce(item.defaults, '{}') AS defaults
FROM object o
CROSS JOIN LATERAL (
    -- grantee '' is PUBLIC; a role that is gone leaves nothing to grant to
    SELECT pg_catalog.array_agg(grantor.rolname::text ORDER BY i.is_default DESC, i.n) AS grantors,
           pg_catalog.array_agg(coalesce(grantee.rolname::text, '') ORDER BY i.is_default DESC, i.n) AS grantees,
           pg_catalog.array_agg(i.privilege ORDER BY i.is_default DESC, i.n) AS privileges,
           pg_catalog.array_agg(i.grantable ORDER BY i.is_default DESC, i.n) AS grantable,
           pg_catalog.array_agg(i.is_default ORDER BY i.is_default DESC, i.n) AS defaults
    FROM (
        SELECT true AS is_default, b.* FROM pg_catalog.aclexplode(o.base)
            WITH ORDINALITY AS b(grantor, grantee, privilege, grantable, n)
        UNION ALL
        SELECT false, a.* FROM pg_catalog.aclexplode(o.acl)
            WITH ORDINALITY AS a(grantor, grantee, privilege, grantable, n)
    ) i
    JOIN pg_catalog.pg_roles grantor ON grantor.oid = i.grantor
    LEFT JOIN pg_catalog.pg_roles grantee ON grantee.oid = i.grantee
    WHERE i.grantee = 0 OR grantee.oid IS NOT NULL
) item
WHERE item.grantors IS NOT NULL OR o.column_number = 0
ORDER BY o.catalog, o.oid, o.column_number
