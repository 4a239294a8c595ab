-- Tables whose rows travel beside the stream: unlogged tables, whose changes are not in the log, and those tables of extensions
-- that an extension declares to hold its users' rows (pg_extension.extconfig), each with the condition that tells these rows.
-- Runs on every version from 10 on, in psql as it stands.
-- attgenerated came with 12: read through to_jsonb, which gives null where a column is not there.
SELECT c.oid,
       n.nspname                                AS schema,
       c.relname                                AS name,
       pg_catalog.pg_get_userbyid(c.relowner)   AS owner,
       pg_catalog.pg_relation_size(c.oid)       AS bytes,
       configuration.extension,
       coalesce(configuration.condition, '')    AS condition,
       EXISTS (SELECT FROM pg_catalog.pg_constraint k
                WHERE k.confrelid = c.oid AND k.contype = 'f' AND k.conrelid <> c.oid) AS referenced,
       a.columns,
       a.fingerprint
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN (SELECT u.oid, e.extname::text AS extension, u.condition
           FROM pg_catalog.pg_extension e, unnest(e.extconfig, e.extcondition) AS u(oid, condition)
           WHERE e.extname <> 'migrator') configuration ON configuration.oid = c.oid
CROSS JOIN LATERAL (
    SELECT coalesce(pg_catalog.array_agg(t.attname::text ORDER BY t.attnum) FILTER (WHERE t.generated = ''), '{}') AS columns,
           coalesce(pg_catalog.string_agg(t.attname || ' ' || pg_catalog.format_type(t.atttypid, t.atttypmod)
                                          || CASE WHEN t.generated <> '' THEN ' generated' ELSE '' END,
                                          ', ' ORDER BY t.attname::text COLLATE "C"), '') AS fingerprint
    FROM (SELECT g.attname, g.attnum, g.atttypid, g.atttypmod,
                 coalesce(pg_catalog.to_jsonb(g) ->> 'attgenerated', '') AS generated
          FROM pg_catalog.pg_attribute g
          WHERE g.attrelid = c.oid AND g.attnum > 0 AND NOT g.attisdropped) t
) a
WHERE c.relkind = 'r'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND (configuration.extension IS NOT NULL
       OR c.relpersistence = 'u'
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                           WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e'))
ORDER BY bytes DESC, schema, name
