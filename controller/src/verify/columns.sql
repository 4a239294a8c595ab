-- The columns of a table ($1) that hold values of their own, in order. Before version 12 floating-point numbers have another text form
-- than since then: columns of such types, geometric ones and arrays included, come with the function that gives their binary form.
-- attgenerated came with 12: read through to_jsonb, which gives null where a column is not there.
SELECT a.attname::text AS name,
       CASE WHEN pg_catalog.current_setting('server_version_num')::integer < 120000
                 AND COALESCE(e.typname, b.typname) IN ('float4', 'float8', 'point', 'lseg', 'path', 'box', 'polygon', 'line', 'circle')
                 AND COALESCE(e.typnamespace, b.typnamespace) = 'pg_catalog'::pg_catalog.regnamespace
            THEN b.typsend::text END AS send
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_catalog.pg_type e ON e.oid = b.typelem AND b.typlen = -1
WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
  AND COALESCE(pg_catalog.to_jsonb(a) ->> 'attgenerated', '') = ''
ORDER BY a.attnum
