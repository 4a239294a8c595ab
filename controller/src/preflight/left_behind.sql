-- What the connected database holds beyond what initdb put there, in words: for a database that every instance has.
WITH member AS (
    SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'
), made AS (
    SELECT 'tables, views and sequences' AS kind, pg_catalog.count(*) AS number
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname !~ '^pg_(toast|temp)'
      AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 1259 AND m.objid = c.oid)
    UNION ALL
    SELECT 'functions', pg_catalog.count(*) FROM pg_catalog.pg_proc p
    WHERE p.oid >= 16384 AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 1255 AND m.objid = p.oid)
    UNION ALL
    SELECT 'types', pg_catalog.count(*) FROM pg_catalog.pg_type t
    WHERE t.oid >= 16384 AND t.typrelid = 0 AND t.typelem = 0
      AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 1247 AND m.objid = t.oid)
    UNION ALL
    SELECT 'schemas', pg_catalog.count(*) FROM pg_catalog.pg_namespace n
    WHERE n.oid >= 16384 AND n.nspname !~ '^pg_(toast|temp)'
      AND NOT EXISTS (SELECT FROM member m WHERE m.classid = 2615 AND m.objid = n.oid)
    UNION ALL
    SELECT 'large objects', pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata
    UNION ALL
    SELECT 'default privileges', pg_catalog.count(*) FROM pg_catalog.pg_default_acl
), built_in (catalog, oid, schema, acl, usual) AS (
    SELECT 1259::oid, c.oid, n.nspname, c.relacl, pg_catalog.acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'v', 'S')
    UNION ALL
    SELECT 1255, p.oid, 'pg_catalog', p.proacl, pg_catalog.acldefault('f', p.proowner) FROM pg_catalog.pg_proc p
    UNION ALL
    SELECT 1247, t.oid, n.nspname, t.typacl, pg_catalog.acldefault('T', t.typowner)
    FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
    UNION ALL
    SELECT 2615, n.oid, n.nspname, n.nspacl, pg_catalog.acldefault('n', n.nspowner) FROM pg_catalog.pg_namespace n
    UNION ALL
    SELECT 2612, l.oid, 'pg_catalog', l.lanacl, pg_catalog.acldefault('l', l.lanowner) FROM pg_catalog.pg_language l
), changed AS (
    SELECT b.catalog, b.oid
    FROM built_in b
    LEFT JOIN pg_catalog.pg_init_privs i ON i.classoid = b.catalog AND i.objoid = b.oid AND i.objsubid = 0
    -- What initdb grants in the information schema is not noted as such.
    WHERE b.oid < 16384 AND b.schema <> 'information_schema'
      AND coalesce(b.acl, b.usual) IS DISTINCT FROM coalesce(i.initprivs, b.usual)
), here AS (
    SELECT d.oid, d.datname, d.datdba, d.datacl FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()
)
SELECT pg_catalog.array_remove(ARRAY[
           (SELECT pg_catalog.string_agg(kind || ': ' || number, ', ') FROM made WHERE number > 0),
           (SELECT 'extensions: ' || pg_catalog.string_agg(pg_catalog.quote_ident(extname), ', ' ORDER BY extname)
            FROM pg_catalog.pg_extension WHERE oid >= 16384),
           (SELECT 'other privileges on ' || pg_catalog.string_agg(CASE catalog WHEN 2615 THEN 'schema ' || oid::regnamespace::text
                                                                    WHEN 1255 THEN 'function ' || oid::regprocedure::text
                                                                    WHEN 1247 THEN 'type ' || oid::regtype::text
                                                                    WHEN 1259 THEN oid::regclass::text ELSE 'a language' END, ', ' ORDER BY catalog DESC, oid)
            FROM (SELECT catalog, oid FROM changed ORDER BY catalog DESC, oid LIMIT 5) c),
           -- Of template1 initdb takes TEMPORARY from PUBLIC.
           (SELECT 'privileges on the database'
            FROM here
            WHERE (SELECT pg_catalog.array_agg((a.grantee, a.privilege_type, a.is_grantable)::text ORDER BY a.grantee, a.privilege_type)
                   FROM pg_catalog.aclexplode(coalesce(here.datacl, pg_catalog.acldefault('d', here.datdba))) a)
                  IS DISTINCT FROM
                  (SELECT pg_catalog.array_agg((a.grantee, a.privilege_type, a.is_grantable)::text ORDER BY a.grantee, a.privilege_type)
                   FROM pg_catalog.aclexplode(pg_catalog.acldefault('d', here.datdba)) a
                   WHERE here.datname <> 'template1' OR a.grantee <> 0 OR a.privilege_type <> 'TEMPORARY')),
           (SELECT 'settings: ' || pg_catalog.string_agg(DISTINCT pg_catalog.split_part(entry, '=', 1), ', ')
            FROM here JOIN pg_catalog.pg_db_role_setting s ON s.setdatabase = here.oid CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS u(entry))
       ], NULL) AS holds
