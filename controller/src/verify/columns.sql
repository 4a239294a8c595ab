-- The columns of a table ($1) that hold values of their own, in order, and how each goes into a digest. Before version 12 floating-point numbers
-- have another text form than since then: columns of such types, geometric ones, arrays and ranges included, come with the function that gives
-- their binary form, and those of rows with such fields once more for each of these fields ("within" is the way to it). Not the fields of rows in arrays.
-- attgenerated came with 12: read through to_jsonb, which gives null where a column is not there.
WITH RECURSIVE held (number, path, type, send) AS (
    SELECT a.attnum, ARRAY[a.attname::text], a.atttypid, NULL::text
    FROM pg_catalog.pg_attribute a
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
      AND pg_catalog.current_setting('server_version_num')::integer < 120000
    UNION ALL
    SELECT h.number, CASE t.typtype WHEN 'c' THEN h.path || f.attname::text ELSE h.path END,
           CASE t.typtype WHEN 'd' THEN t.typbasetype WHEN 'r' THEN r.rngsubtype WHEN 'c' THEN f.atttypid ELSE t.typelem END,
           CASE WHEN t.typtype IN ('d', 'c') THEN h.send ELSE COALESCE(h.send, t.typsend::text) END
    FROM held h
    JOIN pg_catalog.pg_type t ON t.oid = h.type
    LEFT JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid
    LEFT JOIN pg_catalog.pg_attribute f ON t.typtype = 'c' AND f.attrelid = t.typrelid AND f.attnum > 0 AND NOT f.attisdropped
    LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typlen = -1
    WHERE CASE t.typtype WHEN 'd' THEN true
                         WHEN 'r' THEN true
                         -- The binary forms of rows, and of arrays of the users' types, hold OIDs of the server.
                         WHEN 'c' THEN h.send IS NULL AND f.attnum IS NOT NULL
                         ELSE e.typtype = 'b' AND e.typnamespace = 'pg_catalog'::pg_catalog.regnamespace END
), floating AS (
    SELECT h.number, h.path, COALESCE(h.send, t.typsend::text) AS send
    FROM held h JOIN pg_catalog.pg_type t ON t.oid = h.type
    WHERE t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace
      AND t.typname IN ('float4', 'float8', 'point', 'lseg', 'path', 'box', 'polygon', 'line', 'circle')
)
SELECT a.attname::text AS name, c.within, c.send
FROM pg_catalog.pg_attribute a
CROSS JOIN LATERAL (
    SELECT '{}'::text[] AS within, (SELECT f.send FROM floating f WHERE f.number = a.attnum AND pg_catalog.cardinality(f.path) = 1) AS send
    UNION ALL
    SELECT f.path[2:], f.send FROM floating f WHERE f.number = a.attnum AND pg_catalog.cardinality(f.path) > 1
) c
WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
  AND COALESCE(pg_catalog.to_jsonb(a) ->> 'attgenerated', '') = ''
ORDER BY a.attnum, c.within
