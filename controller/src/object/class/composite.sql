-- Composite types of their own (not the row types of relations); their columns are read with those of tables.
SELECT t.oid, t.typrelid AS relation, n.nspname::text AS schema, t.typname::text AS name,
       pg_catalog.pg_get_userbyid(t.typowner)::text AS owner
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
WHERE t.oid >= 16384 AND t.typtype = 'c' AND c.relkind = 'c' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
