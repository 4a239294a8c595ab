-- How many of the tables with the OIDs $1 have the file that the snapshot shows. The function looks at the newest catalogs, whatever the snapshot.
SELECT count(*) FROM pg_catalog.pg_class c
WHERE c.oid = ANY ($1) AND c.relfilenode IS NOT DISTINCT FROM pg_catalog.pg_relation_filenode(c.oid::regclass)
