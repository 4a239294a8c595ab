-- Columns of permanent tables that hold money, in whatever: arrays, domains, ranges, rows.
WITH RECURSIVE made_of (type, part) AS (
    SELECT t.oid, t.typelem FROM pg_catalog.pg_type t WHERE t.typelem <> 0 AND t.typlen = -1
    UNION ALL
    SELECT t.oid, t.typbasetype FROM pg_catalog.pg_type t WHERE t.typtype = 'd'
    UNION ALL
    SELECT r.rngtypid, r.rngsubtype FROM pg_catalog.pg_range r
    UNION ALL
    -- multiranges came with 14
    SELECT (pg_catalog.to_jsonb(r) ->> 'rngmultitypid')::pg_catalog.oid, r.rngsubtype FROM pg_catalog.pg_range r
    UNION ALL
    SELECT c.reltype, a.atttypid
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
    WHERE c.oid >= 16384 AND c.reltype <> 0 AND a.attnum > 0 AND NOT a.attisdropped
), money (type) AS (
    SELECT 790::pg_catalog.oid
    UNION
    SELECT m.type FROM money JOIN made_of m ON m.part = money.type
)
SELECT count(*) AS total,
       coalesce((pg_catalog.array_agg(a.attrelid::pg_catalog.regclass::text || '.' || pg_catalog.quote_ident(a.attname)
                                      ORDER BY a.attrelid::pg_catalog.regclass::text, a.attnum))[1:5], '{}') AS first
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
JOIN money ON money.type = a.atttypid
WHERE c.oid >= 16384 AND c.relkind = 'r' AND c.relpersistence = 'p' AND a.attnum > 0 AND NOT a.attisdropped
