-- The tables that hold rows which logical replication carries: ordinary tables and leaf partitions, permanent, not an
-- extension's own. Runs on every version from 10 on, in psql as it stands.
-- attgenerated came with 12. Where pg_attribute has no such column, the name means the one of "before_12": the nearest of that name counts.
WITH RECURSIVE used AS (
    SELECT DISTINCT g.atttypid AS oid
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute g ON g.attrelid = c.oid
    WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND g.attnum > 0 AND NOT g.attisdropped
), made_of AS (
    -- What comparing a type comes down to: a domain's base type, an array's elements, a composite type's columns, however deep.
    SELECT oid, oid AS part FROM used
    UNION
    SELECT m.oid, p.part
    FROM made_of m
    JOIN pg_catalog.pg_type t ON t.oid = m.part
    CROSS JOIN LATERAL (
        SELECT t.typbasetype AS part WHERE t.typtype = 'd'
        UNION ALL SELECT t.typelem WHERE t.typelem <> 0 AND t.typlen = -1
        UNION ALL SELECT g.atttypid FROM pg_catalog.pg_attribute g
                  WHERE t.typtype = 'c' AND g.attrelid = t.typrelid AND g.attnum > 0 AND NOT g.attisdropped
    ) p
), incomparable AS (
    -- Types that rows can't be found by: something they are made of has no default btree or hash equality of its own or of a type
    -- that it is binary-coercible to. Looked for once a type, not once a column.
    SELECT m.oid
    FROM made_of m
    JOIN pg_catalog.pg_type t ON t.oid = m.part
    WHERE t.typtype = 'b' AND NOT (t.typelem <> 0 AND t.typlen = -1)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_opclass o JOIN pg_catalog.pg_am m ON m.oid = o.opcmethod
                       WHERE m.amname IN ('btree', 'hash') AND o.opcdefault
                         AND (o.opcintype = t.oid
                              OR o.opcintype IN (SELECT k.casttarget FROM pg_catalog.pg_cast k
                                                  WHERE k.castsource = t.oid AND k.castmethod = 'b')))
), locked AS (
    -- Relations that somebody has for himself, or waits to have: to ask for their size would be to wait in line behind him.
    SELECT l.relation AS oid FROM pg_catalog.pg_locks l
    WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
      AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
), generated AS (
    SELECT g.attrelid, g.attnum, g.attname::text FROM pg_catalog.pg_attribute g
    WHERE g.attrelid >= 16384 AND g.atthasdef AND pg_catalog.to_jsonb(g) ->> 'attgenerated' <> ''
), generated_key AS (
    -- Indexes with generated columns, which are not sent, among their keys: rows can't be found by them.
    SELECT i.indrelid, array_agg(i.indexrelid) AS indexes, bool_or(i.indisreplident) AS in_identity,
           array_agg(g.attname ORDER BY g.attnum) FILTER (WHERE i.indisprimary) AS in_primary_key
    FROM generated g JOIN pg_catalog.pg_index i ON i.indrelid = g.attrelid
    WHERE i.indisvalid AND g.attnum = ANY ((i.indkey::int2[])[0:COALESCE((pg_catalog.to_jsonb(i) ->> 'indnkeyatts')::integer, i.indnatts) - 1])
    GROUP BY 1
), ancestors AS (
    -- Of what a table is a partition or child, however far up.
    SELECT i.inhrelid AS oid, i.inhparent AS ancestor
    FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relkind = 'r'
    UNION
    SELECT a.oid, i.inhparent FROM ancestors a JOIN pg_catalog.pg_inherits i ON i.inhrelid = a.ancestor
), descent AS (
    SELECT a.oid, string_agg(n.nspname || '.' || c.relname, ', ' ORDER BY n.nspname::text COLLATE "C", c.relname::text COLLATE "C") AS ancestors
    FROM ancestors a JOIN pg_catalog.pg_class c ON c.oid = a.ancestor JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    GROUP BY a.oid
)
SELECT c.oid,
       n.nspname                                     AS schema,
       c.relname                                     AS name,
       pg_catalog.pg_get_userbyid(c.relowner)        AS owner,
       -- As of the last VACUUM or ANALYZE where the size can't be asked for.
       CASE WHEN c.oid IN (SELECT l.oid FROM locked l) THEN c.relpages::bigint * pg_catalog.current_setting('block_size')::bigint
            -- None for a table that has been dropped meanwhile.
            ELSE COALESCE(pg_catalog.pg_relation_size(c.oid), 0) END AS bytes,
       c.relreplident::text                          AS replica_identity,
       (SELECT count(*) FROM pg_catalog.pg_index i
         WHERE i.indrelid = c.oid AND i.indisvalid)  AS index_count,
       (SELECT count(*) > 0 FROM pg_catalog.pg_index i
         WHERE i.indrelid = c.oid AND i.indisprimary AND i.indisvalid AND i.indimmediate) AS has_primary_key,
       -- The index a replica identity names, where it names one that is usable.
       (SELECT x.relname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
         WHERE i.indrelid = c.oid AND i.indisreplident AND i.indisvalid)    AS identity_index,
       -- The narrowest unique index that could serve as one.
       (SELECT x.relname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
         WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
           AND i.indpred IS NULL AND i.indexprs IS NULL
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                            WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[]) AND NOT a.attnotnull)
           AND i.indexrelid <> ALL (COALESCE(k.indexes, '{}'))
         ORDER BY i.indnatts, x.relname LIMIT 1)     AS candidate_index,
       COALESCE(k.in_primary_key, '{}')              AS generated_in_key,
       COALESCE(k.in_identity, false)                AS identity_is_generated,
       CASE WHEN c.relreplident IN ('d', 'n', 'f') THEN a.incomparable ELSE '{}' END AS incomparable_columns,
       a.columns,
       a.fingerprint,
       COALESCE(d.ancestors, '')                     AS ancestors
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN generated_key k ON k.indrelid = c.oid
LEFT JOIN descent d ON d.oid = c.oid
CROSS JOIN LATERAL (
    SELECT COALESCE(array_agg(t.attname::text ORDER BY t.attnum) FILTER (WHERE t.generated = ''), '{}') AS columns,
           COALESCE(array_agg(t.attname::text ORDER BY t.attnum) FILTER (WHERE t.atttypid = ANY (ARRAY(SELECT oid FROM incomparable))),
                    '{}') AS incomparable,
           COALESCE(string_agg(t.attname || ' ' || pg_catalog.format_type(t.atttypid, t.atttypmod)
                               || CASE WHEN t.generated <> '' THEN ' generated' ELSE '' END, ', ' ORDER BY t.attname::text COLLATE "C"), '') AS fingerprint
    FROM (SELECT ''::"char" AS attgenerated) before_12
    CROSS JOIN LATERAL (SELECT g.attname, g.attnum, g.atttypid, g.atttypmod, attgenerated::text AS generated
                        FROM pg_catalog.pg_attribute g
                        WHERE g.attrelid = c.oid AND g.attnum > 0 AND NOT g.attisdropped) t
) a
WHERE c.relkind = 'r'
  AND c.relpersistence = 'p'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                   WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY bytes DESC, schema, name
