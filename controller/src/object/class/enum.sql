-- Enumerations with their labels in order.
SELECT t.oid, n.nspname::text AS schema, t.typname::text AS name, pg_catalog.pg_get_userbyid(t.typowner)::text AS owner,
       ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder) AS labels
FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE t.oid >= 16384 AND t.typtype = 'e' AND n.nspname !~ '^pg_'
