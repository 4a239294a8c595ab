-- The columns by which a row of a table ($1) is known: of its replica identity's index, or of its primary key; in the index's order.
SELECT COALESCE(pg_catalog.array_agg(a.attname::text ORDER BY k.n), '{}') AS columns
FROM (SELECT i.indrelid, i.indkey FROM pg_catalog.pg_index i
      WHERE i.indrelid = $1 AND i.indisvalid AND (i.indisreplident OR i.indisprimary)
      ORDER BY i.indisreplident DESC LIMIT 1) i
CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n)
JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
