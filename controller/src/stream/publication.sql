-- The tables of the publication $1, if there is one.
SELECT COALESCE((SELECT array_agg(prrelid) FROM pg_catalog.pg_publication_rel WHERE prpubid = p.oid), '{}') AS tables
FROM pg_catalog.pg_publication p WHERE pubname = $1
