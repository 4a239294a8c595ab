-- How many of the tables with the OIDs $1 have the file that the snapshot shows, as many columns with values of their own, $2, as when they were
-- read, and the name $3, by which they were read. The functions look at the newest catalogs, whatever the snapshot. attgenerated came with 12.
SELECT count(*)
FROM ROWS FROM (pg_catalog.unnest($1::oid[]), pg_catalog.unnest($2::bigint[]), pg_catalog.unnest($3::text[])) AS t(oid, columns, name)
JOIN pg_catalog.pg_class c ON c.oid = t.oid
WHERE c.relfilenode IS NOT DISTINCT FROM pg_catalog.pg_relation_filenode(c.oid::regclass)
  AND c.oid = pg_catalog.to_regclass(t.name)
  AND t.columns = (SELECT count(*) FROM pg_catalog.pg_attribute a
                    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                      AND COALESCE(pg_catalog.to_jsonb(a) ->> 'attgenerated', '') = '')
