-- Privileges on what initdb or an extension made, where they are not what initdb or the extension gave: hardening
-- (REVOKE on a built-in function) and grants on an extension's tables. The public schema is read with the other schemas.
WITH object AS (
    SELECT 1259::oid AS catalog, c.oid, 0 AS column_number, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS keyword,
           n.nspname::text AS schema, c.relname::text AS name, NULL::text AS column_name, NULL::text AS arguments, c.relowner AS owner, c.relacl AS acl,
           CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char" AS kind
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_(toast|temp)'
    UNION ALL
    SELECT 1259, c.oid, a.attnum, 'TABLE', n.nspname::text, c.relname::text, a.attname::text, NULL, c.relowner, a.attacl, 'c'::"char"
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE a.attacl IS NOT NULL AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    UNION ALL
    SELECT 1255, p.oid, 0,
           CASE WHEN p.prokind = 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, -- since 11
           -- before 11: 'FUNCTION',
           n.nspname::text, p.proname::text, NULL, pg_catalog.pg_get_function_identity_arguments(p.oid), p.proowner, p.proacl, 'f'::"char"
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    UNION ALL
    SELECT 1247, t.oid, 0, 'TYPE', n.nspname::text, t.typname::text, NULL, NULL, t.typowner, t.typacl, 'T'::"char"
    FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE t.typacl IS NOT NULL
    UNION ALL
    SELECT 2615, n.oid, 0, 'SCHEMA', NULL, n.nspname::text, NULL, NULL, n.nspowner, n.nspacl, 'n'::"char"
    FROM pg_catalog.pg_namespace n WHERE n.oid <> 2200 AND n.nspname !~ '^pg_(toast|temp)'
    UNION ALL
    SELECT 2612, l.oid, 0, 'LANGUAGE', NULL, l.lanname::text, NULL, NULL, l.lanowner, l.lanacl, 'l'::"char"
    FROM pg_catalog.pg_language l
    UNION ALL
    SELECT 2328, w.oid, 0, 'FOREIGN DATA WRAPPER', NULL, w.fdwname::text, NULL, NULL, w.fdwowner, w.fdwacl, 'F'::"char"
    FROM pg_catalog.pg_foreign_data_wrapper w
    UNION ALL
    SELECT 1417, s.oid, 0, 'FOREIGN SERVER', NULL, s.srvname::text, NULL, NULL, s.srvowner, s.srvacl, 'S'::"char"
    FROM pg_catalog.pg_foreign_server s
)
SELECT o.catalog, o.oid, o.column_number, o.keyword, o.schema, o.name, o.column_name, o.arguments,
       pg_catalog.pg_get_userbyid(o.owner)::text AS owner,
       item.grantors, item.grantees, item.privileges, item.grantable, item.defaults
FROM object o
LEFT JOIN pg_catalog.pg_init_privs i ON i.classoid = o.catalog AND i.objoid = o.oid AND i.objsubid = o.column_number
CROSS JOIN LATERAL (
    SELECT coalesce(i.initprivs, pg_catalog.acldefault(o.kind, o.owner)) AS base,
           coalesce(o.acl, pg_catalog.acldefault(o.kind, o.owner)) AS acl
) effective
CROSS JOIN LATERAL (
    SELECT pg_catalog.array_agg(grantor.rolname::text ORDER BY x.is_default DESC, x.n) AS grantors,
           pg_catalog.array_agg(coalesce(grantee.rolname::text, '') ORDER BY x.is_default DESC, x.n) AS grantees,
           pg_catalog.array_agg(x.privilege ORDER BY x.is_default DESC, x.n) AS privileges,
           pg_catalog.array_agg(x.grantable ORDER BY x.is_default DESC, x.n) AS grantable,
           pg_catalog.array_agg(x.is_default ORDER BY x.is_default DESC, x.n) AS defaults
    FROM (
        SELECT true AS is_default, b.* FROM pg_catalog.aclexplode(effective.base)
            WITH ORDINALITY AS b(grantor, grantee, privilege, grantable, n)
        UNION ALL
        SELECT false, a.* FROM pg_catalog.aclexplode(effective.acl)
            WITH ORDINALITY AS a(grantor, grantee, privilege, grantable, n)
    ) x
    JOIN pg_catalog.pg_roles grantor ON grantor.oid = x.grantor
    LEFT JOIN pg_catalog.pg_roles grantee ON grantee.oid = x.grantee
    WHERE x.grantee = 0 OR grantee.oid IS NOT NULL
) item
WHERE (o.acl IS NOT NULL OR i.initprivs IS NOT NULL)
  AND effective.base IS DISTINCT FROM effective.acl
  AND item.grantors IS NOT NULL
  AND (o.oid < 16384 AND coalesce(o.schema, o.name) <> 'information_schema'
       OR EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = o.catalog AND d.objid = o.oid AND d.objsubid = 0 AND d.deptype = 'e'))
ORDER BY 1, 2, 3
