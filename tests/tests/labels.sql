-- A statement for each object of the connected database that may have a security label, and is not an extension's: which kind of object, as the
-- documentation calls its class, and the statement. Every label is different; half of the objects have one of each provider. Runs from 10 on.
WITH labelled (class, keyword, target) AS (
    SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table' ELSE 'table' END,
           CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END,
           format('%I.%I', n.nspname, c.relname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.oid >= 16384 AND n.nspname !~ '^pg_'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    UNION ALL
    SELECT 'column', 'COLUMN', format('%I.%I.%I', n.nspname, c.relname, a.attname)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND c.oid >= 16384 AND n.nspname !~ '^pg_'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    UNION ALL
    SELECT CASE t.typtype WHEN 'd' THEN 'domain' WHEN 'e' THEN 'enum' WHEN 'c' THEN 'composite' WHEN 'r' THEN 'range' ELSE 'base type' END,
           CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, format('%I.%I', n.nspname, t.typname)
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
    WHERE t.oid >= 16384 AND t.typisdefined AND n.nspname !~ '^pg_'
      -- Not those that come with another: arrays, the rows of tables, multiranges.
      AND t.typtype IN ('b', 'd', 'e', 'c', 'r') AND (t.typrelid = 0 OR c.relkind = 'c')
      AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid)
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
    UNION ALL
    SELECT CASE k.kind WHEN 'a' THEN 'aggregate' ELSE 'function' END, CASE k.kind WHEN 'a' THEN 'AGGREGATE' WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END,
           format('%I.%I(%s)', n.nspname, p.proname, CASE WHEN k.kind = 'a' AND p.pronargs = 0 THEN '*' ELSE pg_get_function_identity_arguments(p.oid) END)
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    CROSS JOIN LATERAL (SELECT COALESCE(to_jsonb(p) ->> 'prokind', CASE WHEN to_jsonb(p) -> 'proisagg' = 'true' THEN 'a' ELSE 'f' END)) AS k (kind)
    WHERE p.oid >= 16384 AND n.nspname !~ '^pg_'
      -- Range types and multiranges have constructors, which come with them.
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype IN ('e', 'i'))
    UNION ALL
    SELECT 'schema', 'SCHEMA', quote_ident(n.nspname) FROM pg_namespace n
    WHERE (n.oid >= 16384 OR n.nspname = 'public') AND n.nspname !~ '^pg_'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
    UNION ALL
    SELECT 'language', 'LANGUAGE', quote_ident(l.lanname) FROM pg_language l
    WHERE l.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_language'::regclass AND d.objid = l.oid AND d.deptype = 'e')
    UNION ALL
    SELECT 'large object', 'LARGE OBJECT', m.oid::text FROM pg_largeobject_metadata m
    UNION ALL
    SELECT 'event trigger', 'EVENT TRIGGER', quote_ident(e.evtname) FROM pg_event_trigger e
    UNION ALL
    SELECT 'publication', 'PUBLICATION', quote_ident(p.pubname) FROM pg_publication p
    UNION ALL
    SELECT 'subscription', 'SUBSCRIPTION', quote_ident(s.subname) FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
    WHERE d.datname = current_database()
), numbered AS (
    SELECT class, keyword, target, row_number() OVER (ORDER BY keyword, target) AS place FROM labelled
)
SELECT class, format('SECURITY LABEL FOR %I ON %s %s IS %L', provider.name, keyword, target,
                     format(E'%s %s: it''s\n"secret" \\\\ ; -- \t', provider.name, place))
FROM numbered
CROSS JOIN (VALUES (1, 'It''s a "provider"'), (2, 'plain')) AS provider (number, name)
WHERE provider.number = 1 OR numbered.place % 2 = 0
ORDER BY numbered.place, provider.number
