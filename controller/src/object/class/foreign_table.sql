-- Foreign tables, with their parents.
SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, pg_catalog.pg_get_userbyid(c.relowner)::text AS owner,
       s.srvname::text AS server, s.oid AS server_oid, f.ftoptions::text[] AS foreign_options,
       CASE WHEN c.relispartition THEN pg_catalog.pg_get_expr(c.relpartbound, c.oid) END AS bound,
       parent.oids AS parent_oids, parent.schemas AS parent_schemas, parent.names AS parent_names
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_foreign_table f ON f.ftrelid = c.oid
JOIN pg_catalog.pg_foreign_server s ON s.oid = f.ftserver
LEFT JOIN LATERAL (
    SELECT pg_catalog.array_agg(p.oid ORDER BY i.inhseqno) AS oids,
           pg_catalog.array_agg(pn.nspname::text ORDER BY i.inhseqno) AS schemas,
           pg_catalog.array_agg(p.relname::text ORDER BY i.inhseqno) AS names
    FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
    JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
    WHERE i.inhrelid = c.oid
) parent ON true
WHERE c.relkind = 'f' AND c.oid >= 16384
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
