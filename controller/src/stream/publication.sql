-- The tables of a stream's publications: $1 carries every change, $2 inserts alone; and whether each of them is there.
SELECT COALESCE(bool_or(p.pubname = $1), false)                                    AS whole,
       COALESCE(bool_or(p.pubname = $2), false)                                    AS inserts,
       COALESCE(array_agg(r.prrelid) FILTER (WHERE r.prrelid IS NOT NULL), '{}')   AS tables
FROM pg_catalog.pg_publication p
LEFT JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
WHERE p.pubname IN ($1, $2)
