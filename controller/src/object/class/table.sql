-- Tables, ordinary and partitioned, with their parents.
SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, pg_catalog.pg_get_userbyid(c.relowner)::text AS owner,
       c.relkind = 'p' AS is_partitioned, c.relispartition AS is_partition, c.relpersistence = 'u' AS unlogged,
       CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END AS partition_key,
       CASE WHEN c.relispartition THEN pg_catalog.pg_get_expr(c.relpartbound, c.oid) END AS bound,
       parent.oids AS parent_oids, parent.schemas AS parent_schemas, parent.names AS parent_names,
       CASE WHEN c.reloftype <> 0 THEN pg_catalog.format_type(c.reloftype, NULL) END AS of_type,
       c.reloptions::text[] AS options, toast.reloptions::text[] AS toast_options,
       c.relreplident::text AS replica_identity, replica_index.relname::text AS replica_index,
       c.relrowsecurity AS row_security, c.relforcerowsecurity AS force_row_security,
       CASE WHEN am.amname <> 'heap' THEN am.amname::text END AS access_method, -- since 12
       false AS with_oids -- since 12
       -- before 12: NULL::text AS access_method, c.relhasoids AS with_oids
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_class toast ON toast.oid = c.reltoastrelid
LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
LEFT JOIN pg_catalog.pg_index ri ON ri.indrelid = c.oid AND ri.indisreplident
LEFT JOIN pg_catalog.pg_class replica_index ON replica_index.oid = ri.indexrelid
LEFT JOIN LATERAL (
    SELECT pg_catalog.array_agg(p.oid ORDER BY i.inhseqno) AS oids,
           pg_catalog.array_agg(pn.nspname::text ORDER BY i.inhseqno) AS schemas,
           pg_catalog.array_agg(p.relname::text ORDER BY i.inhseqno) AS names
    FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
    JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
    WHERE i.inhrelid = c.oid
) parent ON true
WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384 AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
