-- The tablespaces that databases and relations can be in, with their directories; none for those within the data directory.
SELECT t.spcname::text AS name, pg_catalog.pg_tablespace_location(t.oid) AS location
FROM pg_catalog.pg_tablespace t
WHERE t.spcname <> 'pg_global'
ORDER BY 1
