-- Primary keys, unique and exclusion constraints, foreign keys.
SELECT con.oid, n.nspname::text AS schema, c.relname::text AS table_name, c.oid AS relation, con.confrelid AS referenced, con.conname::text AS name,
       con.contype::text AS kind, pg_catalog.pg_get_constraintdef(con.oid) AS definition,
       con.condeferrable AS deferrable, con.condeferred AS deferred, con.convalidated AS validated,
       index.oid AS index_oid, index.relname::text AS index_name, index.reloptions::text[] AS index_options,
       coalesce(i.indisclustered, false) AS clustered,
       parent_index.oid AS parent_index_oid, parent_index.relname::text AS parent_index_name,
       parent_namespace.nspname::text AS parent_index_schema,
       con.conparentid <> 0 AS is_copy -- since 11
       -- before 11: false AS is_copy
FROM pg_catalog.pg_constraint con
JOIN pg_catalog.pg_class c ON c.oid = con.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_class index ON index.oid = con.conindid AND con.contype IN ('p', 'u', 'x')
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = index.oid
LEFT JOIN pg_catalog.pg_inherits inherits ON inherits.inhrelid = index.oid
LEFT JOIN pg_catalog.pg_class parent_index ON parent_index.oid = inherits.inhparent
LEFT JOIN pg_catalog.pg_namespace parent_namespace ON parent_namespace.oid = parent_index.relnamespace
WHERE con.oid >= 16384 AND con.contype IN ('p', 'u', 'x', 'f') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
