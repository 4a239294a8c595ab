-- Check constraints of tables and domains.
SELECT con.oid, con.conname::text AS name, pg_catalog.pg_get_constraintdef(con.oid) AS definition,
       con.convalidated AS validated, con.conislocal AS is_local, coalesce(c.relispartition, false) AS of_partition,
       con.conrelid AS relation, con.contypid AS type,
       n.nspname::text AS schema, coalesce(c.relname, t.typname)::text AS parent
FROM pg_catalog.pg_constraint con
LEFT JOIN pg_catalog.pg_class c ON c.oid = con.conrelid
LEFT JOIN pg_catalog.pg_type t ON t.oid = con.contypid
JOIN pg_catalog.pg_namespace n ON n.oid = coalesce(c.relnamespace, t.typnamespace)
WHERE con.oid >= 16384 AND con.contype = 'c'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY con.conrelid, con.contypid, con.conname
