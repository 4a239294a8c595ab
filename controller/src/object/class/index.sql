-- Indexes that no constraint stands for.
SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, t.oid AS relation, t.relname::text AS table_name,
       pg_catalog.pg_get_indexdef(c.oid) AS definition,
       i.indisvalid OR t.relkind = 'p' AS valid, i.indisclustered AS clustered,
       parent_index.oid AS parent_index_oid, parent_index.relname::text AS parent_index_name,
       parent_namespace.nspname::text AS parent_index_schema,
       ARRAY(SELECT a.attnum FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = c.oid AND a.attstattarget >= 0 ORDER BY a.attnum) AS statistics_columns,
       ARRAY(SELECT a.attstattarget::integer FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = c.oid AND a.attstattarget >= 0 ORDER BY a.attnum) AS statistics_targets
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
LEFT JOIN pg_catalog.pg_inherits inherits ON inherits.inhrelid = c.oid
LEFT JOIN pg_catalog.pg_class parent_index ON parent_index.oid = inherits.inhparent
LEFT JOIN pg_catalog.pg_namespace parent_namespace ON parent_namespace.oid = parent_index.relnamespace
WHERE c.oid >= 16384 AND t.oid >= 16384 AND t.relkind IN ('r', 'p', 'm') AND t.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint con WHERE con.conindid = c.oid AND con.contype IN ('p', 'u', 'x'))
