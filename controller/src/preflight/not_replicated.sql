-- What logical replication does not carry, in the connected database.
SELECT (SELECT count(*) FROM pg_catalog.pg_largeobject_metadata) AS large_objects,
       pg_catalog.pg_relation_size('pg_catalog.pg_largeobject') AS large_object_bytes,
       pg_catalog.has_table_privilege('pg_catalog.pg_largeobject', 'SELECT') AS large_objects_readable,
       count(*) AS unlogged_tables,
       coalesce(sum(pg_catalog.pg_relation_size(c.oid)), 0)::bigint AS unlogged_bytes,
       coalesce((pg_catalog.array_agg(c.oid::pg_catalog.regclass::text ORDER BY c.oid::pg_catalog.regclass::text))[1:5], '{}') AS first_unlogged,
       pg_catalog.current_setting('server_version_num')::integer < 110000 AS without_truncate,
       current_user::text AS role
FROM pg_catalog.pg_class c
WHERE c.relpersistence = 'u' AND c.relkind = 'r'
