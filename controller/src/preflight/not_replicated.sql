-- What logical replication does not carry, in the connected database.
SELECT (SELECT count(*) FROM pg_catalog.pg_largeobject_metadata) AS large_objects,
       (SELECT count(*) FROM pg_catalog.pg_class c WHERE c.relpersistence = 'u' AND c.relkind = 'r') AS unlogged_tables,
       ARRAY(SELECT c.oid::pg_catalog.regclass::text FROM pg_catalog.pg_class c
             WHERE c.relpersistence = 'u' AND c.relkind = 'r' ORDER BY 1 LIMIT 5) AS first_unlogged
